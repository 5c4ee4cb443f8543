/* Reload: the agent may not open the file, the keeper does it. A configuration that is wrong changes nothing at all. One
 * that differs in what cannot be changed while the daemon runs is taken for the rest, and those fields are named. */
#include "agent/reload.h"

#include "agent/config_path.h"
#include "common/file.h"
#include "common/log.h"
#include "common/str.h"

struct reload {
	struct files *files;
	const struct config *config; /* of the start */
	struct source *source;
	char *path;
	struct source_tuning tuning; /* of the last one that was taken */
	reload_parse_fn parse;
	void *parse_userdata;
	reload_done_fn done;
	void *userdata;
	bool runs;
	bool again; /* asked for meanwhile: the file may have been opened before it was changed */
};

static void apply(struct reload *r, const struct config *c)
{
	char names[256] = "";

	r->tuning = c->tuning;
	source_tune(r->source, &c->tuning);
	source_reread(r->source);
	log_info(LOG_F({ "file", r->path }, { "strategy", source_strategy_name(c->tuning.strategy) }),
		 "configuration read again");
	if (config_differences(r->config, c, CONFIG_TAKES_RESTART, names, sizeof(names)) > 0)
		log_warning(LOG_F({ "file", r->path }), "kept as at the start, a restart changes it: %s", names);
	if (config_differences(r->config, c, CONFIG_TAKES_MOUNT, names, sizeof(names)) > 0)
		log_warning(LOG_F({ "file", r->path }),
			    "kept as the mount has it; to change it, stop the daemon, start it, and then the "
			    "containers again: %s",
			    names);
	log_set_level(c->log_level); /* what was said here is for the level that the reader knows */
}

static int take(struct reload *r, int fd, struct err *e)
{
	cleanup_config struct config *c = NULL;
	cleanup_free char *text = NULL;
	size_t len;
	int k;

	k = file_read_fd(fd, r->path, CONFIG_BYTES_MAX, &text, &len, e);
	if (k == 0)
		k = r->parse(r->parse_userdata, r->path, text, len, &c, e);
	if (k < 0)
		return k;
	assert(c);
	apply(r, c);
	return (int)c->log_level;
}

static void on_opened(void *userdata, int fd, int r_open)
{
	cleanup_fd int owned = fd;
	struct reload *r = userdata;
	struct err e = ERR_INIT;
	int k = r_open;

	r->runs = false;
	if (k == 0)
		k = take(r, owned, &e);
	else
		err_set(&e, k, "open %s: %s", r->path, strerror(-k));
	if (k < 0)
		log_error(NULL, "reload refused, everything stays as it is: %s", err_text(&e));
	if (r->again) {
		r->again = false;
		reload_begin(r, r->source);
		return;
	}
	r->done(r->userdata, k, &r->tuning);
}

void reload_begin(struct reload *r, struct source *source)
{
	int k;

	r->again = r->runs;
	if (r->runs)
		return;
	r->source = source;
	k = files_open(r->files, r->path, on_opened, r);
	r->runs = k == 0;
	if (r->runs)
		return;
	log_error(NULL, "reload refused, everything stays as it is: open %s: %s", r->path, strerror(-k));
	r->done(r->userdata, k, &r->tuning);
}

static int absolute(const char *path, char **ret)
{
	cleanup_free char *cwd = NULL;

	if (*path != '/') {
		cwd = getcwd(NULL, 0);
		if (!cwd)
			return -errno;
	}
	*ret = cwd ? file_join(cwd, path) : strdup(path);
	return *ret ? 0 : -ENOMEM;
}

int reload_new(struct files *files, const struct config *c, reload_parse_fn parse, void *parse_userdata,
	       reload_done_fn done, void *userdata, struct reload **ret_r)
{
	cleanup(reload_freep) struct reload *r = calloc(1, sizeof(*r));
	int k;

	if (!r)
		return -ENOMEM;
	r->files = files;
	r->config = c;
	r->parse = parse;
	r->parse_userdata = parse_userdata;
	r->done = done;
	r->userdata = userdata;
	k = absolute(c->path ? c->path : CONFIG_DEFAULT_PATH, &r->path);
	if (k == 0)
		k = files_allow_file(files, r->path);
	if (k < 0)
		return k;
	*ret_r = TAKE_PTR(r);
	return 0;
}

void reload_free(struct reload *r)
{
	if (!r)
		return;
	if (r->runs)
		files_cancel(r->files, r);
	free(r->path);
	free(r);
}
