/* Hook. A configuration goes through as text, so that what is in it that nobody here knows stays as it is, to the byte:
 * the mounts are put in where its array of mounts ends. Jansson has taken the same text before, so the search for that
 * place need not be strict. */
#include "agent/hook.h"

#include <inttypes.h>

#include "agent/pod_options.h"
#include "common/buf.h"
#include "common/str.h"

#define MOUNTS_MAX	1000
#define INTEGER_DIGITS	18 /* so many fit an int64_t, whatever they are */
#define POD_TEXT_MAX	512
#define PATH_BYTES_MAX	4095
#define INSERTED_MAX	((size_t)16 << 20)
#define MOUNT_ID_DIGITS 20

/* --- annotations --- */

/* What a pod's own annotations may be; a runtime that hands a pod's on has them here. */
static bool is_option(const char *key)
{
	return str_eq(key, POD_OPTION_LIVE) || str_eq(key, POD_OPTION_VOLUMES);
}

static int take_annotation(const char *key, const char *value, struct hook_request *req, struct err *e)
{
	if (str_eq(key, HOOK_POD)) {
		req->pod = value;
	} else if (str_eq(key, HOOK_CONTAINER)) {
		req->container = value;
	} else if (str_eq(key, HOOK_TIMEOUT)) {
		if (str_parse_duration(value, &req->timeout_usec) < 0 || req->timeout_usec == 0 ||
		    req->timeout_usec > HOOK_WAIT_MAX_USEC)
			return err_set(e, -EINVAL,
				       "annotation " HOOK_TIMEOUT ": '%.64s' is no duration like 30s, at most 10m",
				       value);
	} else if (!is_option(key)) {
		return err_set(e, -EINVAL,
			       "annotation %.128s is not known; there are " HOOK_POD ", " HOOK_CONTAINER
			       " and " HOOK_TIMEOUT,
			       key);
	}
	return 0;
}

/* "ns/name" */
static bool is_name_of(const char *pod, const char *ns, const char *name)
{
	size_t len = strlen(ns);

	return strncmp(pod, ns, len) == 0 && pod[len] == '/' && str_eq(pod + len + 1, name);
}

/* The names under which CRI runtimes say themselves, and over what a pod says, whose container it is. */
static const struct cri_names {
	const char *ns, *name, *uid, *container;
} CRI[] = {
	{ "io.kubernetes.cri.sandbox-namespace", "io.kubernetes.cri.sandbox-name", "io.kubernetes.cri.sandbox-uid",
	  "io.kubernetes.cri.container-name" },
	{ "io.kubernetes.pod.namespace", "io.kubernetes.pod.name", "io.kubernetes.pod.uid",
	  "io.kubernetes.container.name" },
};

/* Under the Kubernetes CRI a pod's author may write annotations, and nobody else's pod is his to name. */
static int check_cri(const json_t *annotations, const struct cri_names *cri, const struct hook_request *req,
		     struct err *e)
{
	const char *ns = json_string_value(json_object_get(annotations, cri->ns));
	const char *name = json_string_value(json_object_get(annotations, cri->name));
	const char *uid = json_string_value(json_object_get(annotations, cri->uid));
	const char *container = json_string_value(json_object_get(annotations, cri->container));

	if ((ns || name || uid) && !(ns && name && is_name_of(req->pod, ns, name)) && !(uid && str_eq(req->pod, uid)))
		return err_set(e, -EACCES,
			       "annotation " HOOK_POD " says %.128s, but this is a container of %.128s/%.128s",
			       req->pod, ns ?: "?", name ?: "?");
	if (container && !str_eq(req->container, container))
		return err_set(e, -EACCES, "annotation " HOOK_CONTAINER " says %.64s, but this is container %.128s",
			       req->container, container);
	return 0;
}

static int check_request(const json_t *annotations, const struct hook_request *req, struct err *e)
{
	int r = 0;

	if (!req->pod)
		return err_set(e, -EINVAL, "annotation " HOOK_POD " is missing beside the others: NAMESPACE/POD");
	if (!*req->pod || strlen(req->pod) > POD_TEXT_MAX)
		return err_set(e, -EINVAL, "annotation " HOOK_POD ": NAMESPACE/POD or a UID is expected");
	if (!req->container)
		return err_set(e, -EINVAL, "annotation " HOOK_CONTAINER " is missing: which container of %s is this?",
			       req->pod);
	if (!str_is_dns_label(req->container))
		return err_set(e, -EINVAL, "annotation " HOOK_CONTAINER ": '%.64s' cannot be a container's name",
			       req->container);
	for (size_t i = 0; i < ARRAY_SIZE(CRI) && r == 0; i++)
		r = check_cri(annotations, &CRI[i], req, e);
	return r;
}

int hook_request_read(const json_t *doc, struct hook_request *ret, struct err *e)
{
	json_t *annotations = json_object_get(doc, "annotations"), *value;
	struct hook_request req = { .pod = NULL };
	bool asked = false;
	const char *key;
	int r;

	if (!json_is_object(doc))
		return err_set(e, -EINVAL, "what came on the standard input is no JSON object");
	if (annotations && !json_is_object(annotations) && !json_is_null(annotations))
		return err_set(e, -EINVAL, "annotations is no object");
	json_object_foreach (annotations, key, value) {
		if (!str_starts(key, POD_OPTION_PREFIX))
			continue;
		if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
			return err_set(e, -EINVAL, "annotation %.128s is no text", key);
		r = take_annotation(key, json_string_value(value), &req, e);
		if (r < 0)
			return r;
		asked |= !is_option(key);
	}
	if (!asked)
		return HOOK_NOT_ASKED;
	r = check_request(annotations, &req, e);
	if (r < 0)
		return r;
	*ret = req;
	return 0;
}

/* --- state and configuration --- */

/* A text that a path or a name can be; NULL: it is none. */
static const char *get_text(const json_t *obj, const char *key)
{
	const json_t *value = json_object_get(obj, key);
	const char *s = json_string_value(value);

	return s && *s && strlen(s) == json_string_length(value) && strlen(s) <= PATH_BYTES_MAX ? s : NULL;
}

int hook_state_read(const json_t *state, struct hook_state *ret, struct err *e)
{
	const char *id = get_text(state, "id"), *status = get_text(state, "status"),
		   *bundle = get_text(state, "bundle");
	int64_t pid = json_integer_value(json_object_get(state, "pid"));

	if (!id)
		return err_set(e, -EINVAL, "the state has no id: is this an OCI hook's standard input?");
	/* crun says created where the specification has creating */
	if (!str_eq(status, "creating") && !str_eq(status, "created"))
		return err_set(e, -EINVAL, "container %.128s is %.32s: it has to be one that is being created", id,
			       status ?: "of no status");
	if (!bundle || bundle[0] != '/')
		return err_set(e, -EINVAL, "container %.128s: the state's bundle is no absolute path", id);
	if (pid <= 1 || pid > INT32_MAX)
		return err_set(
			e, -EINVAL,
			"container %.128s: the state has no pid of this process's namespace: this is for createRuntime",
			id);
	*ret = (struct hook_state){ .id = id, .bundle = bundle, .pid = (pid_t)pid };
	return 0;
}

/* Bytes of the string literal that starts at text[0] == '"', both quotes included; what is left if it does not end. */
static size_t literal_len(const char *text, size_t len)
{
	for (size_t i = 1; i < len; i++) {
		if (text[i] == '\\')
			i++;
		else if (text[i] == '"')
			return i + 1;
	}
	return len;
}

/* Of an integer that is too large for jansson only the first digit is left, with white space where the others were. */
static void shorten_integers(char *text, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t n = 0, sign = text[i] == '-';
		bool is_integer = true;

		if (text[i] == '"') {
			i += literal_len(text + i, len - i);
			continue;
		}
		while (i + sign + n < len && strchr("0123456789+-.eE", text[i + sign + n]) && text[i + sign + n]) {
			is_integer &= text[i + sign + n] >= '0' && text[i + sign + n] <= '9';
			n++;
		}
		if (is_integer && n > INTEGER_DIGITS)
			memset(text + i + sign + 1, ' ', n - 1);
		i += MAX(n + sign, (size_t)1);
	}
}

int hook_config_parse(const char *text, size_t len, json_t **ret_config, struct err *e)
{
	cleanup_json json_t *config = NULL;
	cleanup_free char *copy = NULL;
	int r;

	copy = malloc(len + 1);
	if (!copy)
		return err_set(e, -ENOMEM, "out of memory");
	memcpy(copy, text, len);
	copy[len] = '\0';
	shorten_integers(copy, len);
	r = json_parse(copy, len, &config, e);
	if (r < 0)
		return r;
	if (!json_is_object(config))
		return err_set(e, -EINVAL, "it is no object");
	*ret_config = TAKE_PTR(config);
	return 0;
}

int hook_config_rootfs(const json_t *config, const char *bundle, char **ret_path, struct err *e)
{
	const char *path = get_text(json_object_get(config, "root"), "path");
	char *joined;

	if (!path)
		return err_set(e, -EINVAL, "it has no root.path");
	joined = path[0] == '/' ? strdup(path) : str_format("%s/%s", bundle, path);
	if (!joined)
		return err_set(e, -ENOMEM, "out of memory");
	*ret_path = joined;
	return 0;
}

/* --- mounts --- */

/* Without doubled and trailing slashes the rest is plain. */
static bool is_plain(const char *path)
{
	size_t len = strlen(path);

	return path[0] == '/' && len > 1 && !strstr(path, "//") && path[len - 1] != '/' && !str_has_dotdot(path) &&
	       !strstr(path, "/./") && !(len >= 2 && str_eq(path + len - 2, "/."));
}

static int mount_read(const json_t *mount, struct hook_mount *ret, struct err *e)
{
	const char *destination = get_text(mount, "destination"), *source = get_text(mount, "source");

	if (!destination || !source || !str_eq(get_text(mount, "type"), "bind"))
		return err_set(e, -EPROTO, "the daemon's answer is no list of bind mounts: is it of another version?");
	if (destination[0] != '/' || str_has_dotdot(destination) || str_eq(destination, "/"))
		return err_set(e, -EINVAL,
			       "mountPath %.256s: it must be absolute, without '..', and not the root folder",
			       destination);
	if (!is_plain(source))
		return err_set(e, -EPROTO, "the daemon's answer has a source that is no plain path: %.256s", source);
	*ret = (struct hook_mount){ .destination = destination, .source = source };
	return 0;
}

/* Slashes and dots that say nothing are skipped. */
static const char *next_element(const char *path, size_t *ret_len)
{
	for (;;) {
		path += strspn(path, "/");
		*ret_len = strcspn(path, "/");
		if (*ret_len != 1 || path[0] != '.')
			return path;
		path++;
	}
}

/* `inner` is a place inside of `outer`, and not the same one. */
static bool is_beneath(const char *inner, const char *outer)
{
	for (;;) {
		size_t inner_len, outer_len;

		inner = next_element(inner, &inner_len);
		outer = next_element(outer, &outer_len);
		if (outer_len == 0)
			return inner_len > 0;
		if (inner_len != outer_len || memcmp(inner, outer, inner_len) != 0)
			return false;
		inner += inner_len;
		outer += outer_len;
	}
}

/* How deep a path is. */
static size_t n_elements(const char *path)
{
	size_t n = 0, len;

	for (path = next_element(path, &len); len > 0; path = next_element(path + len, &len))
		n++;
	return n;
}

/* Outer ones first, else as they came. */
static void sort_mounts(struct hook_mount *mounts, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		struct hook_mount m = mounts[i];
		size_t depth = n_elements(m.destination), at = i;

		for (; at > 0 && n_elements(mounts[at - 1].destination) > depth; at--)
			mounts[at] = mounts[at - 1];
		mounts[at] = m;
	}
}

int hook_mounts_read(const json_t *answer, struct hook_mount **ret, size_t *ret_n, struct err *e)
{
	cleanup_free struct hook_mount *mounts = NULL;
	size_t n = json_array_size(answer);
	int r;

	if (!json_is_array(answer) || n > MOUNTS_MAX)
		return err_set(e, -EPROTO, "the daemon's answer is no list of mounts, or has more than %d", MOUNTS_MAX);
	mounts = calloc(MAX(n, (size_t)1), sizeof(*mounts));
	if (!mounts)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		r = mount_read(json_array_get(answer, i), &mounts[i], e);
		if (r < 0)
			return r;
	}
	sort_mounts(mounts, n);
	*ret = TAKE_PTR(mounts);
	*ret_n = n;
	return 0;
}

int hook_mounts_check(const json_t *config, const struct hook_mount *mounts, size_t n, struct err *e)
{
	const json_t *others = json_object_get(config, "mounts"), *other;
	size_t i, j;

	for (i = 0; i < n; i++) {
		const char *hidden = NULL;

		json_array_foreach (others, j, other) {
			const char *destination = json_string_value(json_object_get(other, "destination"));

			if (destination && is_beneath(destination, mounts[i].destination))
				hidden = destination;
		}
		if (hidden)
			return err_set(e, -EINVAL, "mountPath %.200s would hide what is mounted on %.200s",
				       mounts[i].destination, hidden);
	}
	return 0;
}

/* Where the array that is the member `mounts` ends, and whether it has elements; false: not found. */
static bool find_mounts_end(const char *text, size_t len, size_t *ret_end, bool *ret_empty)
{
	static const char KEY[] = "\"mounts\"";
	bool is_key = false, inside = false, empty = true;
	size_t depth = 0;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (inside && depth == 2 && c == ']') {
			*ret_end = i;
			*ret_empty = empty;
			return true;
		}
		if (inside && !strchr(" \t\r\n", c))
			empty = false;
		if (c == '"') {
			size_t n = literal_len(text + i, len - i);

			/* a value can look like it; then no array comes */
			is_key = depth == 1 && n == strlen(KEY) && memcmp(text + i, KEY, n) == 0;
			i += n - 1;
		} else if (c == '{' || c == '[') {
			depth++;
			inside |= is_key && depth == 2 && c == '[';
		} else if (c == '}' || c == ']') {
			depth--;
		} else if (c == ',') {
			is_key = false;
		}
	}
	return false;
}

static int add_mount(struct buf *b, const struct hook_mount *m)
{
	cleanup_json json_t *mount =
		json_pack("{s:s, s:s, s:s, s:[s,s,s,s,s,s]}", "destination", m->destination, "type", "bind", "source",
			  m->source, "options", "rbind", "rprivate", "ro", "nosuid", "nodev", "noexec");
	cleanup_free char *text = mount ? json_dumps(mount, JSON_COMPACT) : NULL;

	return text ? buf_add_str(b, text) : -ENOMEM;
}

int hook_config_add(const char *text, size_t len, const json_t *config, const struct hook_mount *mounts, size_t n,
		    char **ret_text, size_t *ret_len, struct err *e)
{
	const json_t *others = json_object_get(config, "mounts");
	cleanup_buf struct buf b = BUF_INIT(len + INSERTED_MAX);
	size_t at = 0;
	bool empty = true;
	int r;

	if (others && !json_is_array(others))
		return err_set(e, -EINVAL, "mounts is no array");
	if (others && !find_mounts_end(text, len, &at, &empty))
		return err_set(e, -EINVAL, "mounts is spelt in a way that is not understood");
	if (!others)
		at = (size_t)((const char *)memchr(text, '{', len) - text) + 1;
	r = buf_add(&b, text, at);
	if (r >= 0 && !others)
		r = buf_add_str(&b, "\"mounts\":[");
	for (size_t i = 0; i < n && r >= 0; i++) {
		if (i > 0 || !empty)
			r = buf_add_str(&b, ",");
		if (r >= 0)
			r = add_mount(&b, &mounts[i]);
	}
	if (r >= 0 && !others)
		r = buf_add_str(&b, json_object_size(config) > 0 ? "]," : "]");
	if (r >= 0)
		r = buf_add(&b, text + at, len - at);
	*ret_len = b.len;
	*ret_text = r < 0 ? NULL : buf_take(&b);
	return *ret_text ? 0 : err_set(e, r < 0 ? r : -ENOMEM, "out of memory");
}

/* --- mountinfo --- */

/* "36 35 98:0 /root /mount/point opts [optional...] - fstype source superopts" */
int hook_mountinfo_find(const char *text, uint64_t id, struct hook_mountinfo *ret)
{
	char wanted[MOUNT_ID_DIGITS + 2];

	snprintf(wanted, sizeof(wanted), "%" PRIu64 " ", id);
	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		size_t len = strcspn(line, "\n");
		const char *dash = memmem(line, len, " - ", 3), *shared;

		if (!str_starts(line, wanted) || !dash)
			continue;
		/* white space in paths is escaped, so the first one is that of an optional field */
		shared = memmem(line, (size_t)(dash - line), " shared:", strlen(" shared:"));
		ret->shared = shared != NULL;
		snprintf(ret->fstype, sizeof(ret->fstype), "%.*s", (int)strcspn(dash + 3, " \n"), dash + 3);
		return 0;
	}
	return -ENOENT;
}
