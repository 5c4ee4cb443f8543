/* secretlet run, and the processes that it starts: configuration, then the keeper, the agent, the publisher, audit or the
 * signaller. */

#include "agent/cli.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "agent/agent.h"
#include "agent/audit.h"
#include "agent/cache_io.h"
#include "agent/config_path.h"
#include "agent/keeper.h"
#include "agent/signaller.h"
#include "common/file.h"
#include "common/log.h"
#include "common/str.h"
#include "fusefs/publisher.h"

static int replace(char **s, const char *value)
{
	char *copy;

	if (!value)
		return 0;
	copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free(*s);
	*s = copy;
	return 0;
}

/* A source on the command line replaces the file's, of whichever kind that is. */
static int override_source(struct config *c, const struct options *o)
{
	int r;

	if (o->kubeconfig || o->manifests) {
		free(TAKE_PTR(c->kubeconfig));
		free(TAKE_PTR(c->manifests_dir));
	}
	r = replace(&c->kubeconfig, o->kubeconfig);
	if (r < 0)
		return r;
	return replace(&c->manifests_dir, o->manifests);
}

static int override(struct config *c, const struct options *o)
{
	int r;

	r = override_source(c, o);
	if (r >= 0)
		r = replace(&c->node_name, o->node_name);
	if (r >= 0)
		r = replace(&c->pods_dir, o->pods_dir);
	if (r >= 0 && o->has_runtime_dir)
		r = replace(&c->runtime_dir, o->runtime_dir);
	if (r >= 0)
		r = replace(&c->user, o->user);
	if (r >= 0 && o->has_log_level)
		c->log_level = o->log_level;
	return r;
}

/* What the command line says over it, defaults, checks. */
static int finish(struct config **take_c, const struct options *o, struct config **ret_c, struct err *e)
{
	cleanup_config struct config *c = TAKE_PTR(*take_c);
	int r;

	r = override(c, o);
	if (r < 0)
		return err_set(e, r, "out of memory");
	r = config_finish(c, e);
	if (r < 0)
		return r;
	*ret_c = TAKE_PTR(c);
	return 0;
}

/* *ret_text is NULL when there is no file and none was asked for. */
static int read_config(const struct options *o, char **ret_text, size_t *ret_len, struct err *e)
{
	int r = file_read(AT_FDCWD, o->config ?: CONFIG_DEFAULT_PATH, CONFIG_BYTES_MAX, ret_text, ret_len, e);

	if (r != -ENOENT || o->config)
		return r;
	*ret_text = NULL;
	*ret_len = 0;
	*e = ERR_INIT;
	return 0;
}

static int parse_config(void *userdata, const char *path, const char *text, size_t len, struct config **ret_c,
			struct err *e)
{
	cleanup_config struct config *c = NULL;
	int r;

	r = config_new(&c);
	if (r < 0)
		return err_set(e, r, "out of memory");
	r = text ? config_parse(c, path, text, len, e) : 0;
	return r < 0 ? r : finish(&c, userdata, ret_c, e);
}

/* What the keeper has read is what each of its agents gets: a file that is being edited when an agent dies must not
 * change the next one. */
static int keep_config(const char *text, size_t len, int *ret_fd, struct err *e)
{
	cleanup_fd int fd = memfd_create("secretlet-config", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r = fd < 0 ? -errno : file_write_all(fd, text, len);

	if (r == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		r = -errno;
	if (r < 0)
		return err_set(e, r, "keep the configuration: %s", strerror(-r));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* An empty one is none. */
static int read_kept_config(char **ret_text, size_t *ret_len, struct err *e)
{
	int r;

	if (lseek(KEEPER_FD_CONFIG, 0, SEEK_SET) < 0)
		return err_set(e, -errno, "the keeper's configuration: %m");
	r = file_read_fd(KEEPER_FD_CONFIG, "the keeper's configuration", CONFIG_BYTES_MAX, ret_text, ret_len, e);
	if (r == 0 && *ret_len == 0)
		free(TAKE_PTR(*ret_text));
	return r;
}

/* Whether it is the configuration that has to be changed: a lack of memory or of files, and a disk's error, may pass. */
static bool is_wrong(int r)
{
	static const int wrong[] = { EINVAL, EBADMSG, ERANGE, E2BIG,   EFBIG, ENOENT,
				     EACCES, EPERM,   EISDIR, ENOTDIR, ELOOP, ENAMETOOLONG };

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		if (r == -wrong[i])
			return true;
	return false;
}

/* A daemon's process begins: log, signals, configuration. ret_kept: the keeper's, which keeps what it has read. */
static int begin(const char *program, const struct options *o, struct config **ret_c, int *ret_kept)
{
	cleanup_free char *text = NULL;
	struct err e = ERR_INIT;
	bool wrong;
	size_t len;
	int r;

	log_init(program, o->has_log_level ? o->log_level : LOG_LEVEL_INFO);
	signal(SIGPIPE, SIG_IGN);
	r = ret_kept ? read_config(o, &text, &len, &e) : read_kept_config(&text, &len, &e);
	if (r == 0)
		r = parse_config((void *)(uintptr_t)o, o->config ?: CONFIG_DEFAULT_PATH, text, len, ret_c, &e);
	wrong = ret_kept && is_wrong(r);
	if (r == 0 && ret_kept)
		r = keep_config(text, len, ret_kept, &e);
	if (r < 0) {
		log_error(NULL, "%s", err_text(&e));
		return wrong ? CLI_CONFIG : CLI_FAILED;
	}
	assert(*ret_c);
	log_set_level((*ret_c)->log_level);
	return CLI_OK;
}

int cli_run(const struct options *o, char *const *words)
{
	cleanup_config struct config *c = NULL;
	cleanup_fd int kept = -1;
	int r = begin("keeper", o, &c, &kept);

	if (r != CLI_OK)
		return r;
	/* the keeper has the arena, the connection and the private mount: no other root may look into it */
	cli_hide_memory();
	static_assert(KEEPER_LATER == CLI_LATER);
	return keeper_run(c, kept, words);
}

static bool is_socket(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static int refuse_person(void)
{
	fputs("secretlet: this command is started by secretlet run only\n", stderr);
	return CLI_USAGE;
}

int cli_internal_agent(const struct options *o, char *const *words)
{
	cleanup_config struct config *c = NULL;
	int r;

	if (!is_socket(KEEPER_FD_LINK) || !is_open(KEEPER_FD_FUSE) || !is_socket(KEEPER_FD_CONTROL) ||
	    !is_open(KEEPER_FD_ARENA) || !is_open(KEEPER_FD_CONFIG))
		return refuse_person();
	r = begin("agent", o, &c, NULL);
	if (r != CLI_OK)
		return r;
	return agent_run(c, parse_config, (void *)(uintptr_t)o);
}

int cli_internal_publisher(const struct options *o, char *const *words)
{
	if (!is_socket(KEEPER_FD_LINK) || !is_open(KEEPER_FD_FUSE))
		return refuse_person();
	log_init("publisher", LOG_LEVEL_INFO);
	signal(SIGPIPE, SIG_IGN);
	return publisher_run(KEEPER_FD_LINK, KEEPER_FD_FUSE);
}

/* args: the folder, the agent's user, the pods dir. */
int cli_internal_cache(const struct options *o, char *const *words)
{
	struct sandbox_user user;
	struct err e = ERR_INIT;

	if (!is_socket(KEEPER_FD_LINK))
		return refuse_person();
	log_init("cache", LOG_LEVEL_INFO);
	signal(SIGPIPE, SIG_IGN);
	if (sandbox_begin(&e) < 0 || sandbox_find_user(o->args[1], o->args[2], &user, &e) < 0) {
		log_error(NULL, "offline cache: %s", err_text(&e));
		return CLI_FAILED;
	}
	cache_io_run(o->args[0], &user);
}

int cli_internal_audit(const struct options *o, char *const *words)
{
	cleanup_config struct config *c = NULL;
	int reason, r;

	for (reason = 0; reason < AUDIT_REASONS_N; reason++)
		if (str_eq(o->args[0], audit_reason_name((enum audit_reason)reason)))
			break;
	if (reason == AUDIT_REASONS_N || !is_socket(KEEPER_FD_LINK) || !is_open(KEEPER_FD_FUSE) ||
	    !is_open(KEEPER_FD_AUDIT_GROUP) || !is_open(KEEPER_FD_AUDIT_COUNTS) || !is_open(KEEPER_FD_CONFIG))
		return refuse_person();
	r = begin("audit", o, &c, NULL);
	if (r != CLI_OK)
		return r;
	return c->audit_log ? audit_run(c, (enum audit_reason)reason) : CLI_FAILED;
}

int cli_internal_signaller(const struct options *o, char *const *words)
{
	uint64_t device;

	if (!is_socket(KEEPER_FD_LINK) || str_parse_u64(o->args[0], UINT64_MAX, &device) < 0)
		return refuse_person();
	log_init("signaller", LOG_LEVEL_INFO);
	signal(SIGPIPE, SIG_IGN);
	return signaller_run((dev_t)device);
}
