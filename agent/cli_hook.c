/* secretlet hook: an OCI hook. createRuntime gets the container's state, and mounts into the namespace in which its init
 * waits; precreate, of podman, gets config.json and answers with another one. Both wait until the pod is ready.
 * Whatever goes wrong ends with an exit status other than 0, and the runtime starts no container: one without its Secrets
 * is worse than none.
 *
 * Reasons go to stderr, and to the system's log as well: podman shows the stderr of some hooks and not of others. The work
 * is done in a child, see hook_watch.c. */

#include "agent/cli.h"

#include <fcntl.h>

#include "agent/hook.h"
#include "agent/hook_image.h"
#include "agent/hook_mount.h"
#include "agent/hook_watch.h"
#include "common/file.h"

#define REQUEST_USEC (10 * USEC_PER_SEC)
#define GRACE_USEC   (15 * USEC_PER_SEC) /* beside the wait, for all that reads files */

struct hook {
	struct hook_watch *watch;
	struct options options; /* args[0]: the pod, once it is known */
	char *args[1];
	json_t *answer; /* the daemon's list of mounts */
	struct hook_mount *mounts; /* borrowed from it */
	size_t n_mounts;
};

static void hook_deinit(struct hook *h)
{
	free(h->mounts);
	json_decref(h->answer);
}
#define cleanup_hook cleanup(hook_deinit)

static int fetch(struct hook *h, const char *path, struct err *e)
{
	cleanup_client_reply struct client_reply reply = { .status = 0 };
	int r;

	r = client_get(h->options.runtime_dir, path, REQUEST_USEC, &reply, e);
	if (r < 0)
		return r;
	if (reply.status != 200)
		return err_set(e, -ENOENT, "%s", cli_str(reply.json, "error"));
	h->answer = TAKE_PTR(reply.json);
	return hook_mounts_read(h->answer, &h->mounts, &h->n_mounts, e);
}

/* Waits for the pod, and asks for the container's mounts. */
static int fetch_mounts(struct hook *h, struct hook_request *req)
{
	cleanup_client_reply struct client_reply reply = { .status = 0 };
	cleanup_free char *path = NULL, *suffix = NULL, *ref = strdup(hook_request_ref(req));
	struct err e = ERR_INIT;
	int r;

	if (!ref || str_printf(&suffix, "/containers/%s/mounts", req->container) < 0)
		return cli_fail_memory();
	h->args[0] = ref;
	h->options.args = h->args;
	if (req->timeout_usec > 0)
		h->options.timeout_usec = req->timeout_usec;
	hook_watch_limit(h->watch, h->options.timeout_usec + GRACE_USEC);
	hook_watch_doing(h->watch, "wait for pod %s", req->pod);
	r = client_pod_path(ref, suffix, &path, &e);
	if (r >= 0)
		r = cli_wait_for(&h->options, &reply, &e);
	if (r < 0) {
		err_wrap(&e, r, "hook: pod %s", req->pod);
		return cli_fail(cli_request_status(r), &e);
	}
	h->args[0] = req->pod;
	if (reply.status != 200) {
		cli_wait_say(&h->options, &reply);
		err_set(&e, -ETIMEDOUT,
			"hook: the container is not started, pod %s is not ready: see `secretlet volumes %s`", req->pod,
			req->pod);
		return cli_fail(CLI_FAILED, &e);
	}
	hook_watch_doing(h->watch, "ask for the mounts of pod %s, container %s", req->pod, req->container);
	r = hook_request_check(req, reply.json, &e);
	if (r >= 0)
		r = fetch(h, path, &e);
	if (r < 0) {
		err_wrap(&e, r, "hook: pod %s, container %s", req->pod, req->container);
		return cli_fail(CLI_FAILED, &e);
	}
	return CLI_OK;
}

/* --- createRuntime --- */

static int config_read(const struct hook_state *state, json_t **ret_config, char **ret_rootfs, struct err *e)
{
	cleanup_json json_t *config = NULL;
	cleanup_free char *path = NULL, *text = NULL;
	size_t len = 0;
	int r;

	path = str_format("%s/config.json", state->bundle);
	if (!path)
		return err_set(e, -ENOMEM, "out of memory");
	r = file_read(AT_FDCWD, path, HOOK_CONFIG_MAX, &text, &len, e);
	if (r < 0)
		return r;
	r = hook_config_parse(text, len, &config, e);
	if (r >= 0)
		r = hook_config_rootfs(config, state->bundle, ret_rootfs, e);
	if (r < 0)
		return err_wrap(e, r, "%s", path);
	*ret_config = TAKE_PTR(config);
	return 0;
}

/* All are opened before the first one is mounted, and before the namespace is another one. Those that are mounted when
 * another one fails are taken back: who keeps the namespace, or uses it for more than this container, has all or none. */
static int place_all(const struct hook *h, const struct hook_target *t, const char *rootfs, struct err *e)
{
	cleanup_free int *mounts = calloc(MAX(h->n_mounts, (size_t)1), sizeof(*mounts));
	cleanup_fd int root = -1;
	size_t n = 0, placed = 0;
	int r = mounts ? 0 : err_set(e, -ENOMEM, "out of memory");

	for (; r == 0 && n < h->n_mounts; n++) {
		hook_watch_doing(h->watch, "open %s", h->mounts[n].source);
		r = hook_source_open(t, h->mounts[n].source, &mounts[n], e);
		if (r < 0)
			break;
	}
	if (r == 0)
		r = hook_target_enter(t, e);
	if (r == 0) {
		hook_watch_doing(h->watch, "open %s", rootfs);
		root = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
		r = root < 0 ? err_set(e, -errno, "open the root filesystem %s: %m", rootfs) : 0;
	}
	for (; r == 0 && placed < n; placed++) {
		hook_watch_doing(h->watch, "mount on %s", h->mounts[placed].destination);
		r = hook_target_place(t, root, mounts[placed], h->mounts[placed].destination, e);
		if (r < 0)
			break;
	}
	for (; r < 0 && placed > 0; placed--)
		hook_target_take_back(t, mounts[placed - 1]);
	for (size_t i = 0; i < n; i++)
		close_fd(mounts[i]);
	return r;
}

static int create_runtime(struct hook *h, const json_t *state_json, struct hook_request *req)
{
	cleanup_hook_target struct hook_target target = HOOK_TARGET_INIT;
	cleanup_json json_t *config = NULL;
	cleanup_free char *rootfs = NULL;
	struct hook_state state;
	struct err e = ERR_INIT;
	int r;

	r = hook_state_read(state_json, &state, &e);
	if (r >= 0)
		r = hook_target_open(state.pid, &target, &e);
	if (r >= 0)
		r = config_read(&state, &config, &rootfs, &e);
	if (r < 0) {
		err_wrap(&e, r, "hook");
		return cli_fail(CLI_FAILED, &e);
	}
	r = fetch_mounts(h, req);
	if (r != CLI_OK)
		return r;
	r = hook_mounts_check(config, h->mounts, h->n_mounts, &e);
	if (r >= 0)
		r = place_all(h, &target, rootfs, &e);
	if (r < 0) {
		err_wrap(&e, r, "hook: container %.128s, pod %s", state.id, req->pod);
		return cli_fail(CLI_FAILED, &e);
	}
	return CLI_OK;
}

/* --- precreate --- */

static int answer(const char *text, size_t len)
{
	struct err e = ERR_INIT;
	int r = file_write_all(STDOUT_FILENO, text, len);

	if (r == 0)
		return CLI_OK;
	err_set(&e, r, "hook: write: %s", strerrordesc_np(-r));
	return cli_fail(CLI_FAILED, &e);
}

/* What can be known before the runtime mounts them. */
static int check_all(const struct hook *h, const json_t *config, struct err *e)
{
	cleanup_hook_image struct hook_image image = HOOK_IMAGE_INIT;
	int r;

	r = hook_mounts_check(config, h->mounts, h->n_mounts, e);
	if (r >= 0)
		r = hook_image_open(config, &image, e);
	for (size_t i = 0; r >= 0 && i < h->n_mounts; i++) {
		bool is_dir = false;

		hook_watch_doing(h->watch, "open %s", h->mounts[i].source);
		r = hook_source_check(h->mounts[i].source, &is_dir, e);
		if (r < 0)
			break;
		hook_watch_doing(h->watch, "look for %s in the image", h->mounts[i].destination);
		r = hook_image_check(&image, &h->mounts[i], is_dir, e);
	}
	return r;
}

static int precreate(struct hook *h, const char *text, size_t len, const json_t *config, struct hook_request *req)
{
	cleanup_free char *changed = NULL;
	struct err e = ERR_INIT;
	size_t changed_len = 0;
	int r;

	r = fetch_mounts(h, req);
	if (r != CLI_OK)
		return r;
	r = check_all(h, config, &e);
	if (r >= 0)
		r = hook_config_add(text, len, config, h->mounts, h->n_mounts, &changed, &changed_len, &e);
	if (r < 0) {
		err_wrap(&e, r, "hook: pod %s, container %s", req->pod, req->container);
		return cli_fail(CLI_FAILED, &e);
	}
	return answer(changed, changed_len);
}

/* What is no stage, or one at which nothing can be mounted. */
static int refuse_stage(const char *stage)
{
	struct err e = ERR_INIT;

	err_set(&e, -EINVAL,
		"secretlet: hook: '%.64s' is no stage for it: createRuntime (or the older prestart), or precreate of "
		"podman",
		stage);
	hook_watch_tell(err_text(&e));
	return CLI_USAGE;
}

static int run(struct hook_watch *w, void *arg)
{
	const struct options *o = arg;
	bool is_precreate = str_eq(o->args[0], "precreate");
	cleanup_hook struct hook h = { .watch = w, .options = *o };
	cleanup_json json_t *doc = NULL;
	cleanup_free char *text = NULL;
	struct hook_request req = { .container = NULL };
	struct err e = ERR_INIT;
	size_t len = 0;
	int r;

	hook_watch_doing(w, "read the %s on the standard input", is_precreate ? "configuration" : "state");
	r = file_read_fd(STDIN_FILENO, "the standard input", is_precreate ? HOOK_CONFIG_MAX : HOOK_STATE_MAX, &text,
			 &len, &e);
	if (r >= 0)
		r = is_precreate ? hook_config_parse(text, len, &doc, &e) : json_parse(text, len, &doc, &e);
	if (r >= 0)
		r = hook_request_read(doc, &req, &e);
	if (r < 0) {
		err_wrap(&e, r, "hook: the %s on the standard input", is_precreate ? "configuration" : "state");
		return cli_fail(CLI_FAILED, &e);
	}
	if (r == HOOK_NOT_ASKED)
		return is_precreate ? answer(text, len) : CLI_OK;
	return is_precreate ? precreate(&h, text, len, doc, &req) : create_runtime(&h, doc, &req);
}

int cli_hook(const struct options *o, char *const *words)
{
	const char *stage = o->args[0];
	struct options options = *o;

	if (!str_eq(stage, "precreate") && !str_eq(stage, "createRuntime") && !str_eq(stage, "prestart"))
		return refuse_stage(stage);
	/* a container's configuration may have values in its environment, which `secretlet env` has given */
	cli_hide_memory();
	return hook_watch_run(run, &options, GRACE_USEC);
}
