/* Explain: the daemon has put a reason beside each thing that is wrong, so all there is to do is to say which things those are
 * for this pod, and to look the advice up. A volume tells of one thing; its sources tell of all. */
#include "agent/explain.h"

#include <stdarg.h>

#include "agent/advice.h"
#include "agent/reason.h"
#include "common/buf.h"
#include "common/str.h"

#define LINE_MAX_BYTES ((size_t)16 * 1024)
#define NAMES_SHOWN    10
#define NAME_COMPARED  64
#define NEAR	       3 /* so many letters may be wrong */

struct explain {
	const json_t *status;
	json_t *words; /* of all findings: node, server */
	json_t *findings;
	bool failed; /* out of memory */
	bool has_problem;
};

/* What makes a finding. */
struct remark {
	const char *level, *code, *volume, *object, *since, *message;
	const char *advice; /* the code that has it; NULL: that one */
	json_t *words; /* borrowed; NULL: only the common ones */
	json_t *details; /* taken; NULL: none */
};

static const char *text_of(const json_t *obj, const char *key)
{
	return json_string_value(json_object_get(obj, key)) ?: "";
}

static bool is_true(const json_t *obj, const char *key)
{
	return json_is_true(json_object_get(obj, key));
}

static json_int_t number_of(const json_t *obj, const char *key)
{
	return json_integer_value(json_object_get(obj, key));
}

static bool is_manifests(const struct explain *x)
{
	return str_eq(text_of(json_object_get(x->status, "source"), "kind"), "manifests");
}

/* ---- words ---- */

/* "https://host:6443/prefix" -> "host:6443" */
static char *host_and_port(const char *url)
{
	const char *host = strstr(url, "://");
	bool is_https = str_starts(url, "https");
	char *text;
	size_t len;

	host = host ? host + 3 : url;
	len = strcspn(host, "/");
	text = strndup(host, len);
	/* behind a v6 address's bracket, if it is one */
	if (text && !strchr(strchr(text, ']') ?: text, ':')) {
		char *longer = str_format("%s:%d", text, is_https ? 443 : 80);

		free(text);
		text = longer;
	}
	return text;
}

static int word_set(json_t *words, const char *name, const char *value)
{
	return str_empty(value) ? 0 : json_object_set_new(words, name, json_text(value));
}

/* Kubernetes' own words of a refusal have it: 'User "system:node:n" cannot get resource ...'. NULL: these do not. */
static char *refused_user(const char *text)
{
	static const char before[] = "User \"", after[] = "\" cannot ";
	const char *begin = strstr(text, before), *end = begin ? strstr(begin, after) : NULL;

	if (!end)
		return NULL;
	begin += strlen(before);
	return strndup(begin, (size_t)(end - begin));
}

/* Who was refused, and how kubectl asks in his name: whom the refusal names, or else the node. */
static int words_of_refusal(const struct explain *x, json_t *words, const char *text)
{
	const char *node = text_of(x->status, "nodeName");
	cleanup_free char *named = refused_user(text);
	cleanup_free char *user = named ? TAKE_PTR(named) : str_format("system:node:%s", node);
	cleanup_free char *as = user ? str_format("--as=%s", user) : NULL;
	cleanup_json json_t *options = json_array();
	int r = as && options ? word_set(words, "user", user) : -ENOMEM;

	if (r == 0)
		r = json_array_append_new(options, json_text(as));
	/* of others the API server knows the groups, or has none */
	if (r == 0 && str_starts(user, "system:node:"))
		r = json_array_append_new(options, json_string("--as-group=system:nodes"));
	return r < 0 ? -ENOMEM : json_object_set(words, "as", options);
}

/* "default/web" -> ns and name; a UID is the name. */
static int words_of_ref(json_t *words, const char *ref)
{
	const char *slash = strchr(ref, '/');
	cleanup_free char *ns = slash ? strndup(ref, (size_t)(slash - ref)) : NULL;
	int r = word_set(words, "ref", ref);

	r = r ?: word_set(words, "podns", ns);
	return r ?: word_set(words, "pod", slash ? slash + 1 : NULL);
}

static int common_words(struct explain *x, const char *ref)
{
	const json_t *source = json_object_get(x->status, "source");
	const char *location = text_of(source, "location");
	cleanup_free char *hostport = host_and_port(location);
	int r;

	r = word_set(x->words, "node", text_of(x->status, "nodeName"));
	r = r ?: word_set(x->words, "podsDir", text_of(x->status, "podsDir"));
	r = r ?: word_set(x->words, "location", location);
	r = r ?: word_set(x->words, "server", location);
	r = r ?: word_set(x->words, "hostport", hostport);
	return r ?: words_of_ref(x->words, ref);
}

int explain_new(const json_t *status, const char *ref, struct explain **ret_x)
{
	cleanup(explain_freep) struct explain *x = calloc(1, sizeof(*x));

	if (!x)
		return -ENOMEM;
	x->status = status;
	x->words = json_object();
	x->findings = json_array();
	if (!x->words || !x->findings || common_words(x, ref) < 0)
		return -ENOMEM;
	*ret_x = TAKE_PTR(x);
	return 0;
}

void explain_free(struct explain *x)
{
	if (!x)
		return;
	json_decref(x->words);
	json_decref(x->findings);
	free(x);
}

bool explain_has_problem(const struct explain *x)
{
	return x->has_problem;
}

int explain_findings(struct explain *x, json_t **ret_findings)
{
	if (x->failed)
		return -ENOMEM;
	*ret_findings = json_incref(x->findings);
	return 0;
}

/* ---- a finding ---- */

static json_t *make_commands(const char *const *commands, size_t n, const json_t *words)
{
	cleanup_json json_t *all = json_array();

	for (size_t i = 0; i < n && commands[i]; i++) {
		cleanup_free char *command = advice_expand(commands[i], words, true);

		if (!command || json_array_append_new(all, json_text(command)) < 0)
			return NULL;
	}
	return TAKE_PTR(all);
}

static json_t *text_or_null(const char *text)
{
	return str_empty(text) ? json_null() : json_text(text);
}

/* words: all of them. */
static json_t *make_finding(const struct explain *x, const struct remark *f, const json_t *words)
{
	const struct advice *a = advice_find(f->advice ?: f->code) ?: advice_find("Other");
	bool instead = is_manifests(x) && (a->manifests_text || a->manifests_commands[0]);
	cleanup_free char *text =
		advice_expand(instead && a->manifests_text ? a->manifests_text : a->text, words, false);
	json_t *commands;

	/* where the text is the same, commands for an API server's objects are of no use */
	if (instead)
		commands = make_commands(a->manifests_commands, ARRAY_SIZE(a->manifests_commands), words);
	else
		commands = make_commands(a->commands, ARRAY_SIZE(a->commands), words);
	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:O?}", "level", f->level, "code", f->code, "volume",
			 text_or_null(f->volume), "object", text_or_null(f->object), "since", text_or_null(f->since),
			 "message", json_text(f->message), "advice", text ? json_text(text) : NULL, "commands",
			 commands, "details", f->details);
}

static void remark_add(struct explain *x, const struct remark *f)
{
	cleanup_json json_t *words = json_copy(x->words), *details = f->details, *finding = NULL;
	struct remark full = *f;

	if (!details)
		full.details = details = json_array();
	if (words && details && (!f->words || json_object_update(words, f->words) == 0))
		finding = make_finding(x, &full, words);
	if (!finding || json_array_append(x->findings, finding) < 0)
		x->failed = true;
	x->has_problem |= str_eq(f->level, "problem");
}

void explain_add(struct explain *x, const char *code, const char *object, const char *message)
{
	remark_add(x, &(struct remark){ .level = "problem", .code = code, .object = object, .message = message });
}

/* A line of a finding's details. */
static void detail(struct explain *x, json_t *details, const char *fmt, ...) attr_printf(3, 4);
static void detail(struct explain *x, json_t *details, const char *fmt, ...)
{
	char text[2 * ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (json_array_append_new(details, json_text(text)) < 0)
		x->failed = true;
}

/* ---- names ---- */

/* "a, b and 3 more"; "nothing" */
static char *list_names(const json_t *names)
{
	cleanup_buf struct buf out = BUF_INIT(LINE_MAX_BYTES);
	size_t n = json_array_size(names);
	int r = n == 0 ? buf_add_str(&out, "nothing") : 0;

	for (size_t i = 0; i < MIN(n, (size_t)NAMES_SHOWN) && r == 0; i++)
		r = buf_printf(&out, "%s%s", i ? ", " : "", json_string_value(json_array_get(names, i)) ?: "?");
	if (r == 0 && n > NAMES_SHOWN)
		r = buf_printf(&out, " and %zu more", n - NAMES_SHOWN);
	return r < 0 ? NULL : buf_take(&out);
}

/* How many letters must be put in, left out or changed, to make one of the other. */
static size_t distance(const char *a, const char *b)
{
	size_t row[NAME_COMPARED + 1], n = strnlen(b, NAME_COMPARED);

	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 0; a[i]; i++) {
		size_t diagonal = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < n; j++) {
			size_t changed = diagonal + (a[i] != b[j]);

			diagonal = row[j + 1];
			row[j + 1] = MIN(MIN(row[j], row[j + 1]) + 1, changed);
		}
	}
	return row[n];
}

/* The name that was meant, maybe. NULL: none is like it. */
static const char *nearest(const json_t *names, const char *name)
{
	const char *best = NULL;
	size_t best_distance = NEAR + 1, i;
	const json_t *one;

	json_array_foreach (names, i, one) {
		const char *text = json_string_value(one) ?: "";
		size_t d = distance(name, text);

		if (d < best_distance && d < strlen(name)) {
			best = text;
			best_distance = d;
		}
	}
	return best;
}

/* ---- one volume ---- */

static const char *kind_of_source(const json_t *source)
{
	static const char *const names[][2] = { { "secret", "Secret" },
						{ "configMap", "ConfigMap" },
						{ "serviceAccountToken", "token" },
						{ "downwardAPI", "pod" } };
	const char *type = text_of(source, "type");

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq(names[i][0], type))
			return names[i][1];
	return type;
}

static char *object_of_source(const json_t *pod, const json_t *source)
{
	const char *kind = kind_of_source(source), *ns = text_of(pod, "namespace");

	if (str_eq(kind, "pod"))
		return str_format("pod %s/%s", ns, text_of(pod, "name"));
	if (str_eq(kind, "token"))
		return str_format("token of pod %s/%s", ns, text_of(pod, "name"));
	return str_format("%s %s/%s", kind, ns, text_of(source, "name"));
}

/* "--from-file=user=FILE" for each key that is asked for: a value has no business on a command line. */
static json_t *from_files(const json_t *keys)
{
	cleanup_json json_t *words = json_array();
	const json_t *key;
	size_t i;

	json_array_foreach (keys, i, key) {
		cleanup_free char *word = str_format("--from-file=%s=FILE", json_string_value(key) ?: "KEY");

		if (!word || json_array_append_new(words, json_text(word)) < 0)
			return NULL;
	}
	if (json_array_size(words) == 0 && json_array_append_new(words, json_string("--from-file=KEY=FILE")) < 0)
		return NULL;
	return TAKE_PTR(words);
}

static json_t *words_of_source(const struct explain *x, const json_t *pod, const json_t *source)
{
	const char *kind = kind_of_source(source);
	const json_t *asked = json_object_get(source, "asked");
	cleanup_free char *missing = list_names(json_object_get(source, "missing"));
	cleanup_free char *available = list_names(json_object_get(source, "available"));
	cleanup_free char *lower = str_eq(kind, "Secret") ? strdup("secret") : strdup("configmap");
	cleanup_json json_t *words = json_object();
	int r = words && missing && available && lower ? 0 : -ENOMEM;

	r = r ?: word_set(words, "podns", text_of(pod, "namespace"));
	r = r ?: word_set(words, "pod", text_of(pod, "name"));
	r = r ?: word_set(words, "ns", text_of(pod, "namespace"));
	r = r ?: word_set(words, "name", str_eq(kind, "token") ? "token" : text_of(source, "name"));
	r = r ?: word_set(words, "Kind", kind);
	r = r ?: word_set(words, "kind", lower);
	r = r
		    ?: word_set(words, "kinds",
				str_eq(kind, "token")	 ? "serviceaccounts"
				: str_eq(kind, "Secret") ? "secrets"
							 : "configmaps");
	r = r ?: word_set(words, "account", text_of(source, "serviceAccount"));
	r = r ?: words_of_refusal(x, words, text_of(source, "error"));
	r = r ?: word_set(words, "missing", missing);
	r = r ?: word_set(words, "available", available);
	r = r ?: json_object_set_new(words, "files", from_files(asked));
	return r < 0 ? NULL : TAKE_PTR(words);
}

static json_t *words_of_pod(const json_t *pod)
{
	cleanup_json json_t *words = json_object();
	int r = words ? 0 : -ENOMEM;

	r = r ?: word_set(words, "podns", text_of(pod, "namespace"));
	r = r ?: word_set(words, "pod", text_of(pod, "name"));
	r = r ?: word_set(words, "ns", text_of(pod, "namespace"));
	r = r ?: word_set(words, "phase", text_of(pod, "phase"));
	return r < 0 ? NULL : TAKE_PTR(words);
}

/* What is wrong with one source, by itself. code NULL: nothing is. */
struct trouble {
	const char *level, *code, *since;
	char message[2 * ERR_TEXT_MAX];
};

static struct trouble trouble_of_source(const json_t *source)
{
	const char *state = text_of(source, "state"), *reason = text_of(source, "reason"),
		   *kind = kind_of_source(source);
	const char *name = text_of(source, "name"), *synced = text_of(source, "synced");
	const json_t *missing = json_object_get(source, "missing");
	struct trouble t = { .level = "problem", .since = synced };
	bool optional = is_true(source, "optional");

	if (*reason) {
		t.code = reason;
		t.since = text_of(source, "errorSince");
		snprintf(t.message, sizeof(t.message), "%s", text_of(source, "error"));
	} else if (str_eq(state, "unknown")) {
		t.code = reason_name(REASON_NOT_FETCHED);
		snprintf(t.message, sizeof(t.message), "%s \"%s\" has not been fetched yet", kind, name);
	} else if (str_eq(state, "absent") && str_eq(kind, "token")) {
		t.code = reason_name(REASON_NO_TOKENS);
		snprintf(t.message, sizeof(t.message), "there is nobody who makes tokens");
	} else if (str_eq(state, "absent")) {
		t.level = optional ? "note" : t.level;
		t.code = optional		  ? "OptionalNotFound"
			 : str_eq(kind, "Secret") ? reason_name(REASON_SECRET_NOT_FOUND)
						  : reason_name(REASON_CONFIG_MAP_NOT_FOUND);
		snprintf(t.message, sizeof(t.message), "%s \"%s\" not found", kind, name);
	} else if (json_array_size(missing) > 0) {
		cleanup_free char *names = list_names(missing);

		t.level = optional ? "note" : t.level;
		t.code = optional ? "OptionalKeyNotFound" : reason_name(REASON_KEY_NOT_FOUND);
		snprintf(t.message, sizeof(t.message), "%s \"%s\" has no key %s", kind, name, names ?: "?");
	}
	return t;
}

/* Returns whether the reason of the volume was among them. */
static bool explain_sources(struct explain *x, const json_t *pod, const json_t *volume)
{
	const char *reason = text_of(volume, "reason");
	const json_t *source;
	bool said = false;
	size_t i;

	json_array_foreach (json_object_get(volume, "sources"), i, source) {
		cleanup_json json_t *words = words_of_source(x, pod, source);
		cleanup_free char *object = object_of_source(pod, source);
		struct trouble t = trouble_of_source(source);

		x->failed |= !words || !object;
		if (!t.code || !words || !object)
			continue;
		said |= str_eq(t.code, reason);
		remark_add(x, &(struct remark){ .level = t.level,
						.code = t.code,
						.volume = text_of(volume, "name"),
						.object = object,
						.since = t.since,
						.message = t.message,
						.words = words });
	}
	return said;
}

static void detail_shown(struct explain *x, json_t *details, const json_t *pod, const json_t *volume)
{
	const json_t *source;
	size_t i;

	json_array_foreach (json_object_get(volume, "sources"), i, source) {
		cleanup_free char *object = object_of_source(pod, source);
		cleanup_free char *keys = list_names(json_object_get(source, "keys"));
		const char *shown = text_of(source, "resourceVersion"), *known = text_of(source, "knownVersion");
		bool is_object = *text_of(source, "name");

		if (!object || !keys) {
			x->failed = true;
			return;
		}
		if (is_object && !*shown)
			detail(x, details, "of %s: nothing", object);
		else
			detail(x, details, "of %s%s%s%s: %s", object, *shown ? ", revision " : "", shown,
			       *known && *shown && !str_eq(shown, known) ? " (there is a newer one)" : "", keys);
	}
}

static void detail_mounts(struct explain *x, json_t *details, const json_t *pod, const json_t *volume)
{
	const char *name = text_of(volume, "name");
	const json_t *container, *mount;
	size_t i, j;

	json_array_foreach (json_object_get(pod, "containers"), i, container)
		json_array_foreach (json_object_get(container, "mounts"), j, mount) {
			const char *sub_path = text_of(mount, "subPath");

			if (str_eq(text_of(mount, "volume"), name))
				detail(x, details, "container %s has it at %s%s%s", text_of(container, "name"),
				       text_of(mount, "mountPath"), *sub_path ? ", of it " : "", sub_path);
		}
}

static void detail_updates(struct explain *x, json_t *details, const json_t *volume)
{
	const json_t *source, *status_source = json_object_get(x->status, "source");
	const char *strategy = text_of(status_source, "strategy");
	bool has_objects = false, has_tokens = false;
	size_t i;

	json_array_foreach (json_object_get(volume, "sources"), i, source) {
		has_objects |= *text_of(source, "name") != 0;
		has_tokens |= str_eq(kind_of_source(source), "token");
		if (is_true(source, "immutable"))
			detail(x, details,
			       "%s %s is immutable: it changes only by being deleted and made again, which is noticed",
			       kind_of_source(source), text_of(source, "name"));
	}
	if (is_manifests(x))
		detail(x, details, "updates: as soon as a file in %s changes", text_of(status_source, "location"));
	else if (has_objects && str_eq(strategy, "Watch"))
		detail(x, details, "updates: at once, by a watch of each object");
	else if (has_objects && str_eq(strategy, "Cache"))
		detail(x, details, "updates: when what is cached is too old (strategy Cache, secretCacheTTL)");
	else if (has_objects && str_eq(strategy, "Get"))
		detail(x, details, "updates: with each sync (strategy Get, syncFrequency)");
	if (has_tokens)
		detail(x, details, "the token is replaced before it expires");
}

/* What can be read now, and how it got there. */
static void explain_shown(struct explain *x, const json_t *pod, const json_t *volume, json_t *words)
{
	const char *revision = text_of(volume, "resourceVersion"), *live = text_of(volume, "live");
	bool is_whole = !*text_of(volume, "reason");
	cleanup_json json_t *details = json_array();
	cleanup_free char *message = NULL;

	if (details) {
		detail_shown(x, details, pod, volume);
		detail(x, details, "is at %s", text_of(volume, "path"));
		detail_mounts(x, details, pod, volume);
		if (*live)
			detail(x, details, "live: %s has the same files, which follow updates through subPath, too",
			       live);
		detail_updates(x, details, volume);
	}
	message = str_format("%s: %lld file%s, %lld bytes%s%s", is_whole ? "shown" : "the last good content is shown",
			     (long long)number_of(volume, "files"), number_of(volume, "files") == 1 ? "" : "s",
			     (long long)number_of(volume, "bytes"), *revision ? ", revision " : "", revision);
	if (!details || !message) {
		x->failed = true;
		return;
	}
	remark_add(x, &(struct remark){ .level = "ok",
					.code = is_whole ? "Ready" : "LastGoodShown",
					.volume = text_of(volume, "name"),
					.object = text_of(volume, "name"),
					.since = text_of(volume, "updated"),
					.message = message,
					.words = words,
					.details = json_incref(details) });
}

static void explain_volume(struct explain *x, const json_t *pod, const json_t *volume)
{
	const char *state = text_of(volume, "state"), *reason = text_of(volume, "reason");
	const char *name = text_of(volume, "name"), *cached = text_of(volume, "cached");
	cleanup_json json_t *words = words_of_pod(pod);
	bool said;

	x->failed |= !words;
	if (str_eq(state, "ready"))
		explain_shown(x, pod, volume, words);
	said = explain_sources(x, pod, volume);
	if (*reason && !said)
		remark_add(x, &(struct remark){ .level = "problem",
						.code = reason,
						.volume = name,
						.object = name,
						.since = text_of(volume, "errorSince"),
						.message = text_of(volume, "error"),
						.words = words });
	else if (str_eq(state, "publishing"))
		remark_add(x, &(struct remark){ .level = "problem",
						.code = "Publishing",
						.volume = name,
						.object = name,
						.since = text_of(pod, "since"),
						.message = "it is being put into the tree" });
	if (*cached)
		remark_add(x, &(struct remark){ .level = "problem",
						.code = "FromOfflineCache",
						.volume = name,
						.object = name,
						.since = cached,
						.message = "what is shown is from the offline cache" });
}

/* ---- the pod ---- */

static void explain_mistakes(struct explain *x, const json_t *pod, const json_t *words)
{
	const json_t *mistake;
	size_t i;

	json_array_foreach (json_object_get(pod, "mistakes"), i, mistake) {
		const char *annotation = text_of(mistake, "annotation");
		cleanup_free char *object = NULL;
		json_int_t line = number_of(mistake, "line");

		if (line > 0)
			object = str_format("annotation %s:%lld:%lld", annotation, (long long)line,
					    (long long)number_of(mistake, "column"));
		else
			object = str_format("annotation %s", annotation);
		x->failed |= !object;
		remark_add(x, &(struct remark){ .level = "problem",
						.code = "AnnotationInvalid",
						.object = object,
						.message = text_of(mistake, "error"),
						.words = (json_t *)(uintptr_t)words });
	}
}

static const json_t *find_volume(const json_t *pod, const char *name)
{
	const json_t *volume;
	size_t i;

	json_array_foreach (json_object_get(pod, "volumes"), i, volume)
		if (str_eq(text_of(volume, "name"), name))
			return volume;
	return NULL;
}

static json_t *names_of(const json_t *array, const char *ns_key)
{
	cleanup_json json_t *names = json_array();
	const json_t *one;
	size_t i;

	json_array_foreach (array, i, one) {
		const char *ns = ns_key ? text_of(one, ns_key) : "";
		cleanup_free char *name = str_format("%s%s%s", ns, *ns ? "/" : "", text_of(one, "name"));

		if (!name || json_array_append_new(names, json_text(name)) < 0)
			return NULL;
	}
	return TAKE_PTR(names);
}

static void explain_unknown_volume(struct explain *x, const json_t *pod, const char *volume, json_t *words)
{
	cleanup_json json_t *names = names_of(json_object_get(pod, "volumes"), NULL);
	cleanup_free char *list = names ? list_names(names) : NULL, *message = NULL, *object = NULL;
	const char *near = nearest(names, volume);

	object = str_format("volume %s", volume);
	message = str_format("the pod has no volume %s that is secretlet's%s%s%s", volume, near ? "; is it " : "",
			     near ?: "", near ? "?" : "");
	if (!list || !message || !object || word_set(words, "volumes", list) < 0) {
		x->failed = true;
		return;
	}
	remark_add(x, &(struct remark){ .level = "problem",
					.code = "VolumeUnknown",
					.object = object,
					.message = message,
					.words = words });
}

static const struct {
	const char *member, *level, *code, *message;
} pod_states[] = {
	{ "finished", "problem", "PodFinished", "it has finished, its volumes are gone" },
	{ "deleting", "note", "PodTerminating", "it is being deleted" },
	{ "postponed", "problem", "PodPostponed", "its newest revision could not be set up" },
};

static void explain_pod_state(struct explain *x, const json_t *pod, const char *object, json_t *words)
{
	for (size_t i = 0; i < ARRAY_SIZE(pod_states); i++)
		if (is_true(pod, pod_states[i].member))
			remark_add(x, &(struct remark){ .level = pod_states[i].level,
							.code = pod_states[i].code,
							.object = object,
							.message = pod_states[i].message,
							.words = words });
	if (json_array_size(json_object_get(pod, "volumes")) == 0 && !is_true(pod, "finished"))
		remark_add(x, &(struct remark){ .level = "note",
						.code = "NoVolumes",
						.object = object,
						.message = "it has no volume that secretlet shows",
						.words = words });
}

/* The words for a manifest that is refused. */
static int words_of_refused(const struct explain *x, const json_t *refused, json_t *words)
{
	const char *file = text_of(refused, "file"), *dir = text_of(json_object_get(x->status, "source"), "location");
	cleanup_free char *path = *file == '/' ? strdup(file) : str_format("%s/%s", dir, file);

	return path ? word_set(words, "file", path) : -ENOMEM;
}

static void explain_refused(struct explain *x, const char *code, const json_t *refused, const char *object,
			    json_t *words)
{
	if (words_of_refused(x, refused, words) < 0) {
		x->failed = true;
		return;
	}
	remark_add(x, &(struct remark){ .level = "problem",
					.code = code,
					.object = object,
					.message = text_of(refused, "error"),
					.words = words });
}

void explain_pod(struct explain *x, const json_t *pod, const char *volume)
{
	cleanup_free char *object = str_format("pod %s/%s", text_of(pod, "namespace"), text_of(pod, "name"));
	cleanup_json json_t *words = words_of_pod(pod);
	const json_t *one;
	size_t i;

	if (!object || !words) {
		x->failed = true;
		return;
	}
	explain_pod_state(x, pod, object, words);
	json_array_foreach (json_object_get(pod, "refused"), i, one)
		explain_refused(x, "PodRevisionRefused", one, object, words);
	if (volume && !find_volume(pod, volume) && !is_true(pod, "finished"))
		explain_unknown_volume(x, pod, volume, words);
	json_array_foreach (json_object_get(pod, "volumes"), i, one)
		if (!volume || str_eq(text_of(one, "name"), volume))
			explain_volume(x, pod, one);
	explain_mistakes(x, pod, words);
}

/* Returns whether it is there and refused. */
static bool explain_refused_pod(struct explain *x, const json_t *answer)
{
	const char *ref = text_of(x->words, "ref");
	cleanup_free char *object = str_format("pod %s", ref);
	cleanup_json json_t *words = json_object();
	const json_t *one;
	bool found = false;
	size_t i;

	if (!object || !words) {
		x->failed = true;
		return false;
	}
	json_array_foreach (json_object_get(answer, "refused"), i, one) {
		cleanup_free char *name = str_format("%s/%s", text_of(one, "namespace"), text_of(one, "name"));

		if (!str_eq(name, ref) && !str_eq(text_of(one, "uid"), ref))
			continue;
		explain_refused(x, "PodRefused", one, object, words);
		found = true;
	}
	return found;
}

/* Manifests that may have it, and nobody can say. */
static json_t *unreadable_manifests(const json_t *pods)
{
	cleanup_json json_t *lines = json_array();
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(pods, "refused"), i, one)
		if (!*text_of(one, "name") && json_array_append_new(lines, json_text(text_of(one, "error"))) < 0)
			return NULL;
	return TAKE_PTR(lines);
}

void explain_unknown_pod(struct explain *x, const json_t *answer, const json_t *pods)
{
	const char *ref = text_of(x->words, "ref");
	cleanup_json json_t *names = names_of(json_object_get(pods, "pods"), "namespace"), *words = json_object();
	cleanup_free char *list = names ? list_names(names) : NULL, *known = NULL, *message = NULL, *object = NULL;
	const char *near = nearest(names, ref);

	/* then that is what is wrong, and explain_daemon() says it */
	if (!is_true(json_object_get(x->status, "source"), "podsSynced") || explain_refused_pod(x, answer))
		return;
	known = json_array_size(names) ? str_format("Known here: %s.", list ?: "") : strdup("No pod is known here.");
	object = str_format("pod %s", ref);
	message = str_format("no pod %s is known here%s%s%s", ref, near ? "; is it " : "", near ?: "", near ? "?" : "");
	if (!words || !list || !known || !message || !object || word_set(words, "known", known) < 0) {
		x->failed = true;
		return;
	}
	remark_add(x, &(struct remark){ .level = "problem",
					.code = "PodUnknown",
					.object = object,
					.message = message,
					.words = words,
					.details = unreadable_manifests(pods) });
}

/* ---- the daemon ---- */

static void explain_source(struct explain *x)
{
	const json_t *source = json_object_get(x->status, "source");
	const char *reason = text_of(source, "reason"), *since = text_of(source, "errorSince");
	const char *error = text_of(source, "lastError"), *location = text_of(source, "location");
	bool connected = is_true(source, "connected"), synced = is_true(source, "podsSynced");
	cleanup_json json_t *words = json_object();

	if (!words || words_of_refusal(x, words, error) < 0) {
		x->failed = true;
		return;
	}
	if (!synced)
		remark_add(x, &(struct remark){ .level = "problem",
						.code = "PodsNotKnown",
						.object = location,
						.message = "the pods of this node are not known yet" });
	if (*reason)
		remark_add(x, &(struct remark){
				      .level = "problem",
				      .code = reason,
				      .advice = str_eq(reason, reason_name(REASON_FORBIDDEN)) ? "ForbiddenPods" : NULL,
				      .words = words,
				      .object = location,
				      .since = *since ? since : text_of(source, "lastContact"),
				      .message = error });
	else if (!connected)
		remark_add(x, &(struct remark){ .level = "problem",
						.code = "Disconnected",
						.object = location,
						.since = text_of(source, "lastContact"),
						.message = "no connection at the moment" });
}

static void explain_publisher(struct explain *x)
{
	const json_t *publisher = json_object_get(x->status, "publisher");
	char message[ERR_TEXT_MAX];

	snprintf(message, sizeof(message), "one order takes %lld s already",
		 (long long)number_of(publisher, "unansweredSeconds"));
	if (!is_true(publisher, "attached"))
		explain_add(x, "PublisherNotRunning", "publisher", "no publisher is running");
	else if (is_true(publisher, "hangs"))
		explain_add(x, "PublisherHangs", "publisher", message);
	if (number_of(publisher, "aside") > 0) {
		snprintf(message, sizeof(message), "%lld that cannot be killed",
			 (long long)number_of(publisher, "aside"));
		explain_add(x, "PublishersAside", "publisher", message);
	}
}

/* One that has just been started, or has just ended, has a moment. */
static bool is_gone(const json_t *process)
{
	return !is_true(process, "running") && !is_true(process, "starting");
}

static void explain_missing(struct explain *x)
{
	const json_t *missing = json_object_get(json_object_get(x->status, "fuse"), "missing");
	cleanup_free char *names = json_array_size(missing) ? list_names(missing) : NULL;

	if (names)
		remark_add(x, &(struct remark){
				      .level = "note", .code = "KernelLacks", .object = "kernel", .message = names });
}

void explain_daemon(struct explain *x)
{
	const json_t *offline = json_object_get(x->status, "offlineCache"),
		     *audit = json_object_get(x->status, "audit");
	const json_t *signals = json_object_get(x->status, "signals");

	explain_source(x);
	explain_publisher(x);
	if (!is_true(json_object_get(x->status, "secretMemory"), "locked"))
		explain_add(x, "MemoryNotLocked", "daemon", "secret memory is not locked");
	if (*text_of(offline, "error"))
		explain_add(x, "OfflineCacheFailed", text_of(offline, "dir"), text_of(offline, "error"));
	if (audit && (is_gone(audit) || *text_of(audit, "error")))
		explain_add(x, "AuditNotRunning", text_of(audit, "log"),
			    is_gone(audit) ? "no audit process is running" : text_of(audit, "error"));
	if (is_true(signals, "enabled") && is_gone(signals))
		explain_add(x, "SignalsNotRunning", "signaller",
			    "containers get no signals: their process is not running");
	explain_missing(x);
}
