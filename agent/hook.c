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
#define PATH_BYTES_MAX	4095
#define INSERTED_MAX	((size_t)16 << 20)
#define MOUNT_ID_DIGITS 20

/* --- annotations --- */

/* What a pod's own annotations may be; a runtime that hands a pod's on has them here. */
static bool is_option(const char *key)
{
	return str_eq(key, POD_OPTION_LIVE) || str_eq(key, POD_OPTION_VOLUMES);
}

/* What is said with these annotations; NULL: it is not. */
struct words {
	const char *pod, *container;
	uint64_t timeout_usec;
	bool asked;
};

static int take_annotation(const char *key, const char *value, struct words *w, struct err *e)
{
	if (str_eq(key, HOOK_POD)) {
		w->pod = value;
	} else if (str_eq(key, HOOK_CONTAINER)) {
		w->container = value;
	} else if (str_eq(key, HOOK_TIMEOUT)) {
		if (str_parse_duration(value, &w->timeout_usec) < 0 || w->timeout_usec == 0 ||
		    w->timeout_usec > HOOK_WAIT_MAX_USEC)
			return err_set(e, -EINVAL,
				       "annotation " HOOK_TIMEOUT ": '%.64s' is no duration like 30s, at most 10m",
				       value);
	} else if (!is_option(key)) {
		return err_set(e, -EINVAL,
			       "annotation %.128s is not known; there are " HOOK_POD ", " HOOK_CONTAINER
			       " and " HOOK_TIMEOUT,
			       key);
	}
	w->asked |= !is_option(key);
	return 0;
}

/* Without an end within it a text would be another one here than in the daemon. */
static bool is_text(const json_t *value)
{
	return json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value);
}

static int read_words(json_t *annotations, struct words *ret, struct err *e)
{
	struct words w = { .pod = NULL };
	const char *key;
	json_t *value;
	int r;

	json_object_foreach (annotations, key, value) {
		if (!str_starts(key, POD_OPTION_PREFIX))
			continue;
		if (!is_text(value))
			return err_set(e, -EINVAL, "annotation %.128s is no text", key);
		r = take_annotation(key, json_string_value(value), &w, e);
		if (r < 0)
			return r;
	}
	*ret = w;
	return 0;
}

/* --- whose container a CRI says it is --- */

/* containerd has names of its own (its pkg/cri/annotations); CRI-O hands on the labels that the kubelet gives each
 * container, after the pod's annotations, which so cannot replace them. What CRI-O has under names of its own beside the
 * type may be a pod's annotation, and is not read. */
static const struct cri_names {
	const char *ns, *name, *uid, *container, *type, *sandbox;
} CRI[] = {
	{ "io.kubernetes.cri.sandbox-namespace", "io.kubernetes.cri.sandbox-name", "io.kubernetes.cri.sandbox-uid",
	  "io.kubernetes.cri.container-name", "io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id" },
	{ "io.kubernetes.pod.namespace", "io.kubernetes.pod.name", "io.kubernetes.pod.uid",
	  "io.kubernetes.container.name", "io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID" },
};

/* podman says so, and has a type and a sandbox for each container of its pods, which are not Kubernetes' */
#define MANAGER	       "io.container.manager"
#define MANAGER_PODMAN "libpod"

struct cri {
	const char *ns, *name, *uid, *container;
	const struct cri_names *names; /* NULL: no CRI */
};

static const char *annotation(const json_t *annotations, const char *key)
{
	return json_string_value(json_object_get(annotations, key));
}

static bool is_podman(const json_t *annotations)
{
	return str_eq(annotation(annotations, MANAGER), MANAGER_PODMAN);
}

/* No more than its word: who could forge it, an image of podman's or a pod's author, must not get a container started
 * without its Secrets. Each container has a name there, and a sandbox none, or POD. */
static bool is_sandbox(const json_t *annotations)
{
	bool said = false;

	for (size_t i = 0; i < ARRAY_SIZE(CRI); i++) {
		if (str_is_dns_label(annotation(annotations, CRI[i].container) ?: ""))
			return false;
		said |= str_eq(annotation(annotations, CRI[i].type), "sandbox");
	}
	return said && !is_podman(annotations);
}

/* The first of them that is there; NULL: this CRI is not the one. */
static const char *find_cri(const json_t *annotations, const struct cri_names *n)
{
	const char *const keys[] = { n->ns, n->name, n->uid, n->container, n->type, n->sandbox };
	bool by_podman = is_podman(annotations);

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (by_podman && (keys[i] == n->type || keys[i] == n->sandbox))
			continue;
		if (json_object_get(annotations, keys[i]))
			return keys[i];
	}
	return NULL;
}

static int read_cri(const json_t *annotations, const struct cri_names *n, struct cri *ret, struct err *e)
{
	const char *found = find_cri(annotations, n);
	const struct {
		const char *key, **value;
	} wanted[] = { { n->ns, &ret->ns }, { n->name, &ret->name }, { n->container, &ret->container } };

	if (!found)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		const json_t *value = json_object_get(annotations, wanted[i].key);

		if (!value)
			return err_set(
				e, -EINVAL,
				"annotation %s is missing beside %s: whose container is this? The CRI has to say",
				wanted[i].key, found);
		if (!is_text(value) || !json_string_length(value))
			return err_set(e, -EINVAL, "annotation %s is no name", wanted[i].key);
		*wanted[i].value = json_string_value(value);
	}
	if (!str_is_dns_label(ret->container))
		return err_set(e, -EINVAL, "annotation %s: '%.64s' cannot be a container's name", n->container,
			       ret->container);
	ret->uid = annotation(annotations, n->uid);
	if (str_empty(ret->uid))
		ret->uid = NULL;
	ret->names = n;
	return 0;
}

/* Where two say it, and one of them may be a pod's own annotation, they say the same. */
static int check_same(const struct cri *a, const struct cri *b, struct err *e)
{
	const struct {
		const char *a_key, *b_key, *a, *b;
	} pairs[] = {
		{ a->names->ns, b->names->ns, a->ns, b->ns },
		{ a->names->name, b->names->name, a->name, b->name },
		{ a->names->uid, b->names->uid, a->uid ?: b->uid, b->uid ?: a->uid },
		{ a->names->container, b->names->container, a->container, b->container },
	};

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
		if (!str_eq(pairs[i].a ?: "", pairs[i].b ?: ""))
			return err_set(e, -EACCES, "annotation %s says %.128s, but %s says %.128s", pairs[i].a_key,
				       pairs[i].a, pairs[i].b_key, pairs[i].b);
	return 0;
}

static int find_pod(const json_t *annotations, struct cri *ret, struct err *e)
{
	struct cri all = { .names = NULL };
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(CRI); i++) {
		struct cri one = { .names = NULL };

		r = read_cri(annotations, &CRI[i], &one, e);
		if (r >= 0 && one.names && all.names)
			r = check_same(&all, &one, e);
		if (r < 0)
			return r;
		if (!all.names)
			all = one;
		else if (!all.uid)
			all.uid = one.uid;
	}
	*ret = all;
	return 0;
}

/* "ns/name" */
static bool is_name_of(const char *pod, const char *ns, const char *name)
{
	size_t len = strlen(ns);

	return strncmp(pod, ns, len) == 0 && pod[len] == '/' && str_eq(pod + len + 1, name);
}

/* Under the Kubernetes CRI a pod's author may write annotations, and nobody else's pod is his to name. They reach all of
 * the pod's containers, so which one this is can be the CRI's word alone. */
static int take_cri(const struct words *w, const struct cri *cri, struct hook_request *req, struct err *e)
{
	if (!str_eq(w->pod, HOOK_POD_SELF) && !is_name_of(w->pod, cri->ns, cri->name) &&
	    !(cri->uid && str_eq(w->pod, cri->uid)))
		return err_set(e, -EACCES,
			       "annotation " HOOK_POD " says %.128s, but this is a container of %.128s/%.128s", w->pod,
			       cri->ns, cri->name);
	if (snprintf(req->pod, sizeof(req->pod), "%s/%s", cri->ns, cri->name) > HOOK_POD_MAX)
		return err_set(e, -EINVAL, "annotation %s: it is too long", cri->names->name);
	req->ns = cri->ns;
	req->name = cri->name;
	req->uid = cri->uid;
	req->container = cri->container;
	return 0;
}

static int take_words(const struct words *w, struct hook_request *req, struct err *e)
{
	if (str_eq(w->pod, HOOK_POD_SELF))
		return err_set(e, -EINVAL,
			       "annotation " HOOK_POD " says " HOOK_POD_SELF
			       ", but no CRI says which pod this is: NAMESPACE/POD is expected");
	if (!w->container)
		return err_set(e, -EINVAL, "annotation " HOOK_CONTAINER " is missing: which container of %s is this?",
			       w->pod);
	if (!str_is_dns_label(w->container))
		return err_set(e, -EINVAL, "annotation " HOOK_CONTAINER ": '%.64s' cannot be a container's name",
			       w->container);
	snprintf(req->pod, sizeof(req->pod), "%s", w->pod);
	req->container = w->container;
	return 0;
}

int hook_request_read(const json_t *doc, struct hook_request *ret, struct err *e)
{
	json_t *annotations = json_object_get(doc, "annotations");
	struct hook_request req = { .container = NULL };
	struct words w = { .pod = NULL };
	struct cri cri = { .names = NULL };
	int r;

	if (!json_is_object(doc))
		return err_set(e, -EINVAL, "what came on the standard input is no JSON object");
	if (annotations && !json_is_object(annotations) && !json_is_null(annotations))
		return err_set(e, -EINVAL, "annotations is no object");
	if (is_sandbox(annotations))
		return HOOK_NOT_ASKED;
	r = read_words(annotations, &w, e);
	if (r < 0)
		return r;
	if (!w.asked)
		return HOOK_NOT_ASKED;
	if (!w.pod)
		return err_set(e, -EINVAL, "annotation " HOOK_POD " is missing beside the others: NAMESPACE/POD");
	if (!*w.pod || strlen(w.pod) > HOOK_POD_MAX)
		return err_set(e, -EINVAL, "annotation " HOOK_POD ": NAMESPACE/POD or a UID is expected");
	r = find_pod(annotations, &cri, e);
	if (r >= 0)
		r = cri.names ? take_cri(&w, &cri, &req, e) : take_words(&w, &req, e);
	if (r < 0)
		return r;
	req.timeout_usec = w.timeout_usec;
	*ret = req;
	return 0;
}

const char *hook_request_ref(const struct hook_request *req)
{
	return req->uid ?: req->pod;
}

int hook_request_check(const struct hook_request *req, const json_t *pod, struct err *e)
{
	const char *ns = json_string_value(json_object_get(pod, "namespace")),
		   *name = json_string_value(json_object_get(pod, "name"));

	if (req->ns && (!str_eq(ns, req->ns) || !str_eq(name, req->name)))
		return err_set(e, -EACCES, "the pod with UID %.64s is %.128s/%.128s, and not %.128s/%.128s",
			       req->uid ?: "?", ns ?: "?", name ?: "?", req->ns, req->name);
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

/* How deep a path is. */
static size_t n_elements(const char *path)
{
	size_t n = 0, len;

	for (path = next_element(path, &len); len > 0; path = next_element(path + len, &len))
		n++;
	return n;
}

/* `inner` is a place inside of `outer`, or the same one. */
static bool is_within(const char *inner, const char *outer)
{
	for (;;) {
		size_t inner_len, outer_len;

		inner = next_element(inner, &inner_len);
		outer = next_element(outer, &outer_len);
		if (outer_len == 0)
			return true;
		if (inner_len != outer_len || memcmp(inner, outer, inner_len) != 0)
			return false;
		inner += inner_len;
		outer += outer_len;
	}
}

static bool is_beneath(const char *inner, const char *outer)
{
	return is_within(inner, outer) && n_elements(inner) > n_elements(outer);
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

static int check_hidden(const json_t *others, const char *place, const char *destination, struct err *e)
{
	const char *hidden = NULL;
	const json_t *other;
	size_t i;

	json_array_foreach (others, i, other) {
		const char *inner = json_string_value(json_object_get(other, "destination"));

		if (inner && is_beneath(inner, place))
			hidden = inner;
	}
	return hidden ? err_set(e, -EINVAL, "mountPath %.200s would hide what is mounted on %.200s", destination,
				hidden)
		      : 0;
}

int hook_mounts_check(const json_t *config, const struct hook_mount *mounts, size_t n, struct err *e)
{
	const json_t *others = json_object_get(config, "mounts");
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = check_hidden(others, mounts[i].destination, mounts[i].destination, e);
	return r;
}

static bool is_shared(const json_t *mount)
{
	const json_t *option;
	bool shared = false;
	size_t i;

	json_array_foreach (json_object_get(mount, "options"), i, option)
		shared |= str_eq(json_string_value(option), "shared") || str_eq(json_string_value(option), "rshared");
	return shared;
}

int hook_place_check(const json_t *others, const char *place, const char *destination, struct err *e)
{
	const json_t *other, *cover = NULL;
	const char *type;
	size_t i;
	int r;

	if (n_elements(place) == 0)
		return err_set(e, -EINVAL, "mountPath %.256s: in the image it is a link to the root folder",
			       destination);
	r = check_hidden(others, place, destination, e);
	if (r < 0)
		return r;
	json_array_foreach (others, i, other) {
		const char *outer = json_string_value(json_object_get(other, "destination"));

		if (outer && is_within(place, outer))
			cover = other; /* a later one is mounted over the earlier */
	}
	type = json_string_value(json_object_get(cover, "type"));
	if (str_eq(type, "proc") || str_eq(type, "sysfs") || is_within(place, "/proc") || is_within(place, "/sys"))
		return err_set(e, -EINVAL, "mountPath %.256s: in the container it leads into /proc or /sys",
			       destination);
	if (is_shared(cover))
		return err_set(
			e, -EINVAL,
			"mountPath %.256s: in the container it leads into a shared mount: what is mounted there is "
			"seen outside of it; make that volume rslave",
			destination);
	return cover ? HOOK_COVERED : 0;
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

/* What follows `path` in a field of mountinfo, where white space and the backslash are octal; NULL: another path. */
static const char *skip_path(const char *field, const char *path)
{
	for (; *path; path++) {
		unsigned c = (unsigned char)*field;
		int n = 1;

		if (c == '\\' && sscanf(field, "\\%3o%n", &c, &n) != 1)
			return NULL;
		if (c != (unsigned char)*path)
			return NULL;
		field += n;
	}
	return field;
}

const char *hook_mountinfo_beneath(const char *text, const char *path)
{
	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		const char *field = line;

		for (int i = 0; field && i < 4; i++) {
			field += strcspn(field, " \n");
			field = *field == ' ' ? field + 1 : NULL;
		}
		field = field ? skip_path(field, path) : NULL;
		if (field && field[0] == '/' && !strchr(" \n", field[1]))
			return field + 1;
	}
	return NULL;
}
