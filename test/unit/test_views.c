/* Views: kubelet-parity of secret_test.go (payloads) and nested_volumes_test.go (nested mount points). */
#include "agent/views.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "agent/codec.h"
#include "agent/reason.h"
#include "common/buf.h"
#include "common/str.h"
#include "test/lib/starved.h"

static json_t *json_from(const char *text)
{
	struct err e = ERR_INIT;
	json_t *j = NULL;

	if (json_parse(text, strlen(text), &j, &e) < 0)
		fail_msg("%s", err_text(&e));
	return j;
}

static struct pod *pod_from(const char *text)
{
	cleanup_json json_t *j = json_from(text);
	struct json_issue issue = { .path = "" };
	struct pod *pod = NULL;

	if (codec_pod(j, &pod, &issue) < 0)
		fail_msg("%s: %s", issue.path, issue.reason);
	return pod;
}

/* foo=foo, bar=bar, bin=\0\1\2, empty="" */
static struct secret *secret_make(void)
{
	static const char text[] = "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"s\","
				   "\"namespace\":\"ns\",\"uid\":\"su\",\"resourceVersion\":\"7\"},\"data\":{"
				   "\"foo\":\"Zm9v\",\"bar\":\"YmFy\",\"bin\":\"AAEC\",\"empty\":\"\"}}";
	cleanup_json json_t *j = json_from(text);
	struct json_issue issue = { .path = "" };
	struct secret *s = NULL;

	if (codec_secret(j, &s, &issue) < 0)
		fail_msg("%s: %s", issue.path, issue.reason);
	return s;
}

#define POD(volume_fields, spec_fields)                                                                                \
	"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\","                   \
	"\"uid\":\"u1\"},\"spec\":{" spec_fields "\"volumes\":[{\"name\":\"v\",\"secret\":{"                           \
	"\"secretName\":\"s\"" volume_fields "}}],\"containers\":[{\"name\":\"c\",\"volumeMounts\":["                  \
	"{\"name\":\"v\",\"mountPath\":\"/v\"}]}]}}"
#define ENTRIES(one)		   ((const struct store_entry *const[]){ one })
#define ITEMS(list)		   ",\"items\":[" list "]"
#define ITEM(key, path)		   "{\"key\":\"" key "\",\"path\":\"" path "\"}"
#define ITEM_MODE(key, path, mode) "{\"key\":\"" key "\",\"path\":\"" path "\",\"mode\":" mode "}"

static const struct {
	const char *name, *pod;
	const char *files; /* "path:mode path:mode" */
} payload_cases[] = {
	{ "every key", POD("", ""), "bar:644 bin:644 empty:644 foo:644" },
	{ "defaultMode", POD(",\"defaultMode\":256", ""), "bar:400 bin:400 empty:400 foo:400" },
	{ "one item", POD(ITEMS(ITEM("foo", "path/to/foo.txt")), ""), "path/to/foo.txt:644" },
	{ "deep items",
	  POD(ITEMS(ITEM("foo", "path/to/1/2/3/foo.txt") "," ITEM("bar", "another/path/to/the/esteemed/bar.bin")), ""),
	  "another/path/to/the/esteemed/bar.bin:644 path/to/1/2/3/foo.txt:644" },
	{ "item mode over defaultMode",
	  POD(",\"defaultMode\":256" ITEMS(ITEM_MODE("foo", "a", "420") "," ITEM("bar", "b")), ""), "a:644 b:400" },
	{ "an empty list of items is none", POD(ITEMS(""), ""), "bar:644 bin:644 empty:644 foo:644" },
	{ "the last item of a path wins", POD(ITEMS(ITEM("foo", "a") "," ITEM_MODE("bar", "a", "384")), ""), "a:600" },
	{ "a missing key of an optional volume is skipped",
	  POD(",\"optional\":true" ITEMS(ITEM("zab", "z") "," ITEM("foo", "f")), ""), "f:644" },
	{ "fsGroup adds the group's bits", POD(",\"defaultMode\":256", "\"securityContext\":{\"fsGroup\":1001},"),
	  "bar:440 bin:440 empty:440 foo:440" },
};

static void payloads_are_the_kubelets(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(payload_cases); i++) {
		cleanup_pod struct pod *pod = pod_from(payload_cases[i].pod);
		cleanup_secret_object struct secret *secret = secret_make();
		struct store_entry entry = {
			.ns = "ns", .name = "s", .state = STORE_PRESENT, .secret = secret, .error = ERR_NOTE_NONE
		};
		struct err e = ERR_INIT;
		char files[512] = "";
		cleanup(view_deinit) struct view view = { .n_files = 0 };

		if (view_make(pod, &pod->volumes[0], ENTRIES(&entry), NULL, &view, &e) < 0)
			fail_msg("%s: %s", payload_cases[i].name, err_text(&e));
		for (size_t j = 0; j < view.payload->n_files; j++) {
			size_t len = strlen(files);

			snprintf(files + len, sizeof(files) - len, "%s%s:%o", j ? " " : "", view.payload->files[j].path,
				 view.payload->files[j].mode);
		}
		if (strcmp(files, payload_cases[i].files) != 0)
			fail_msg("%s: %s", payload_cases[i].name, files);
		assert_string_equal(view.resource_version, "7");
	}
}

static const struct {
	const char *pod;
	enum store_state state;
	const char *error;
	int r;
	const char *words;
} refusals[] = {
	{ POD("", ""), STORE_UNSYNCED, "", -EAGAIN, "secret \"s\" has not been fetched yet" },
	{ POD("", ""), STORE_UNSYNCED, "secrets \"s\" is forbidden", -EAGAIN, "secrets \"s\" is forbidden" },
	{ POD(",\"optional\":true", ""), STORE_UNSYNCED, "no route", -EAGAIN, "no route" },
	{ POD("", ""), STORE_ABSENT, "", -ENOENT, "secret \"s\" not found" },
	{ POD(ITEMS(ITEM("zab", "z")), ""), STORE_PRESENT, "", -ENOENT, "references non-existent secret key: zab" },
	{ POD(ITEMS(ITEM("foo", "a") "," ITEM("bar", "a/b")), ""), STORE_PRESENT, "", -EINVAL, "a/b" },
	{ POD(ITEMS(ITEM("foo", "..a")), ""), STORE_PRESENT, "", -EINVAL, "must not start with '..'" },
};

static void what_cannot_be_shown_says_why(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		cleanup_pod struct pod *pod = pod_from(refusals[i].pod);
		cleanup_secret_object struct secret *secret = secret_make();
		struct store_entry entry = {
			.ns = "ns", .name = "s", .state = refusals[i].state, .error = ERR_NOTE_NONE
		};
		struct view view = { .n_files = 99 };
		struct err e = ERR_INIT;

		entry.error = refusals[i].error;
		if (entry.state == STORE_PRESENT)
			entry.secret = secret;
		assert_int_equal(view_make(pod, &pod->volumes[0], ENTRIES(&entry), NULL, &view, &e), refusals[i].r);
		if (!strstr(err_text(&e), refusals[i].words))
			fail_msg("%s", err_text(&e));
		assert_int_equal(view.n_files, 99); /* untouched */
	}
}

static void an_absent_optional_secret_is_an_empty_volume(void **state)
{
	cleanup_pod struct pod *pod = pod_from(POD(",\"optional\":true", ""));
	struct store_entry entry = { .ns = "ns", .name = "s", .state = STORE_ABSENT, .error = ERR_NOTE_NONE };
	struct err e = ERR_INIT;
	cleanup(view_deinit) struct view view = { .n_files = 0 };

	assert_int_equal(view_make(pod, &pod->volumes[0], ENTRIES(&entry), NULL, &view, &e), 0);
	assert_int_equal(view.payload->n_files, 0);
	assert_string_equal(view.resource_version, "");
}

/* --- several sources --- */

/* s1 has foo=foo and both=one, s2 has bar=bar and both=two. */
static struct secret *secret_number(int i)
{
	cleanup_json json_t *j = json_from(
		i == 1 ? "{\"metadata\":{\"name\":\"s1\",\"namespace\":\"ns\",\"resourceVersion\":\"11\"},\"data\":{"
			 "\"foo\":\"Zm9v\",\"both\":\"b25l\"}}"
		       : "{\"metadata\":{\"name\":\"s2\",\"namespace\":\"ns\",\"resourceVersion\":\"22\"},\"data\":{"
			 "\"bar\":\"YmFy\",\"both\":\"dHdv\"}}");
	struct secret *s = NULL;

	assert_int_equal(codec_secret(j, &s, NULL), 0);
	return s;
}

#define PROJECTED(fields, sources)                                                                                     \
	"{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"u1\"},\"spec\":{\"volumes\":[{\"name\":\"v\","   \
	"\"projected\":{" fields "\"sources\":[" sources "]}}],\"containers\":[{\"name\":\"c\",\"volumeMounts\":["     \
	"{\"name\":\"v\",\"mountPath\":\"/v\"}]}]}}"
#define FROM(name, more) "{\"secret\":{\"name\":\"" name "\"" more "}}"
#define OPTIONAL	 ",\"optional\":true"

static const struct {
	const char *name, *pod;
	enum store_state first, second; /* of s1 and s2 */
	const char *files; /* "path:mode=content ..." */
	const char *versions;
} projections[] = {
	{ "a later source takes the place of an earlier one's file", PROJECTED("", FROM("s1", "") "," FROM("s2", "")),
	  STORE_PRESENT, STORE_PRESENT, "bar:644=bar both:644=two foo:644=foo", "11,22" },
	{ "and it is the order that counts", PROJECTED("", FROM("s2", "") "," FROM("s1", "")), STORE_PRESENT,
	  STORE_PRESENT, "bar:644=bar both:644=one foo:644=foo", "22,11" },
	{ "an item as well", PROJECTED("", FROM("s1", "") "," FROM("s2", ITEMS(ITEM_MODE("bar", "foo", "256")))),
	  STORE_PRESENT, STORE_PRESENT, "both:644=one foo:400=bar", "11,22" },
	{ "modes",
	  PROJECTED("\"defaultMode\":288,", FROM("s1", ITEMS(ITEM_MODE("foo", "a/b", "420"))) "," FROM("s2", "")),
	  STORE_PRESENT, STORE_PRESENT, "a/b:644=foo bar:440=bar both:440=two", "11,22" },
	{ "one Secret twice",
	  PROJECTED("", FROM("s1", ITEMS(ITEM("foo", "x"))) "," FROM("s1", ITEMS(ITEM("both", "y")))), STORE_PRESENT,
	  STORE_PRESENT, "x:644=foo y:644=one", "11,11" },
	{ "an optional one that is not there", PROJECTED("", FROM("s1", OPTIONAL) "," FROM("s2", "")), STORE_ABSENT,
	  STORE_PRESENT, "bar:644=bar both:644=two", ",22" },
	{ "an optional key that is not there",
	  PROJECTED("", FROM("s1", OPTIONAL ITEMS(ITEM("nokey", "x") "," ITEM("foo", "y"))) "," FROM("s2", OPTIONAL)),
	  STORE_PRESENT, STORE_ABSENT, "y:644=foo", "11," },
	{ "no source", PROJECTED("", ""), STORE_PRESENT, STORE_PRESENT, "", "" },
};

static void files_of(const struct view *view, char *text, size_t size)
{
	for (size_t i = 0; i < view->payload->n_files; i++) {
		const struct payload_file *f = &view->payload->files[i];
		size_t len = strlen(text);

		snprintf(text + len, size - len, "%s%s:%o=%.*s", i ? " " : "", f->path, f->mode, (int)f->content.len,
			 (const char *)secspan_data(&f->content));
	}
}

/* What the store would have for the pod's sources. */
struct known {
	struct secret *secrets[2];
	struct store_entry entries[2];
	const struct store_entry *of_sources[2];
};

static void known_init(struct known *k, const struct pod *pod, enum store_state first, enum store_state second)
{
	const struct pod_volume *v = &pod->volumes[0];

	for (int i = 0; i < 2; i++) {
		enum store_state state = i ? second : first;

		k->secrets[i] = secret_number(i + 1);
		k->entries[i] = (struct store_entry){ .error = ERR_NOTE_NONE,
						      .ns = "ns",
						      .name = i ? "s2" : "s1",
						      .state = state,
						      .secret = state == STORE_PRESENT ? k->secrets[i] : NULL };
	}
	for (size_t i = 0; i < v->n_sources; i++)
		k->of_sources[i] = &k->entries[str_eq(v->sources[i].name, "s2")];
}

static void known_deinit(struct known *k)
{
	secret_unref(k->secrets[0]);
	secret_unref(k->secrets[1]);
}

static void sources_are_laid_one_over_the_other(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(projections); i++) {
		cleanup_pod struct pod *pod = pod_from(projections[i].pod);
		cleanup(view_deinit) struct view view = { .n_files = 0 };
		cleanup(known_deinit) struct known k;
		struct err e = ERR_INIT;
		char files[512] = "";

		known_init(&k, pod, projections[i].first, projections[i].second);
		if (view_make(pod, &pod->volumes[0], k.of_sources, NULL, &view, &e) < 0)
			fail_msg("%s: %s", projections[i].name, err_text(&e));
		files_of(&view, files, sizeof(files));
		if (strcmp(files, projections[i].files) != 0)
			fail_msg("%s: %s", projections[i].name, files);
		assert_string_equal(view.resource_version, projections[i].versions);
	}
}

/* --- what the pod asks of its files --- */

#define ASKING(options, spec, volume_fields)                                                                           \
	"{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"u1\",\"annotations\":{"                          \
	"\"secretlet.dev/volumes\":\"" options "\"}},\"spec\":{" spec "\"volumes\":[{\"name\":\"v\",\"secret\":{"      \
	"\"secretName\":\"s\"" volume_fields "}}],\"containers\":[{\"name\":\"c\",\"volumeMounts\":["                  \
	"{\"name\":\"v\",\"mountPath\":\"/v\"}]}]}}"
#define FS_GROUP "\"securityContext\":{\"fsGroup\":1001},"

static void files_are_as_the_pod_asks(void **state)
{
	static const struct {
		const char *pod, *files; /* path:mode:uid:gid */
	} cases[] = {
		{ ASKING("v: {owner: 1000, mode: '0400'}", "", ITEMS(ITEM("foo", "a") "," ITEM("bar", "d/b"))),
		  "a:400:1000:0 d/b:400:1000:0" },
		{ ASKING("v: {owner: 1000, mode: '0400'}", FS_GROUP, ITEMS(ITEM("foo", "a"))), "a:400:1000:1001" },
		{ ASKING("v: {group: 5}", FS_GROUP, ITEMS(ITEM("foo", "a"))), "a:644:0:5" },
		{ ASKING("v: {mode: '0400'}", "", ITEMS(ITEM_MODE("foo", "a", "420"))), "a:400:0:0" },
		{ ASKING("v: {keys: {a: {mode: '0600', owner: 7}}}", FS_GROUP,
			 ITEMS(ITEM("foo", "a") "," ITEM("bar", "b"))),
		  "a:600:7:1001 b:644:0:1001" },
		{ ASKING("v: {mode: '0400', owner: 1, group: 2, keys: {./d//b: {mode: '0440'}}}", "",
			 ITEMS(ITEM("foo", "a") "," ITEM("bar", "d/b"))),
		  "a:400:1:2 d/b:440:1:2" },
		{ ASKING("v: {keys: {foo: {owner: 8}, gone: {owner: 9}}}", "", ""),
		  "bar:644:0:0 bin:644:0:0 empty:644:0:0 foo:644:8:0" },
		{ ASKING("'*': {mode: '0400', keys: {elsewhere: {owner: 9}}}", "", ITEMS(ITEM("foo", "a"))),
		  "a:400:0:0" },
		/* the last one of a path is what is shown */
		{ ASKING("v: {keys: {a: {owner: 7}}}", "", ITEMS(ITEM("foo", "a") "," ITEM_MODE("bar", "a", "384"))),
		  "a:600:7:0" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_pod struct pod *pod = pod_from(cases[i].pod);
		cleanup_secret_object struct secret *secret = secret_make();
		struct store_entry entry = {
			.ns = "ns", .name = "s", .state = STORE_PRESENT, .secret = secret, .error = ERR_NOTE_NONE
		};
		cleanup(view_deinit) struct view view = { .n_files = 0 };
		struct err e = ERR_INIT;
		char files[512] = "";

		if (view_make(pod, &pod->volumes[0], ENTRIES(&entry), NULL, &view, &e) < 0)
			fail_msg("%s: %s", cases[i].pod, err_text(&e));
		for (size_t j = 0; j < view.payload->n_files; j++) {
			const struct payload_file *f = &view.payload->files[j];
			size_t len = strlen(files);

			snprintf(files + len, sizeof(files) - len, "%s%s:%o:%u:%u", j ? " " : "", f->path, f->mode,
				 f->uid, f->gid);
		}
		if (strcmp(files, cases[i].files) != 0)
			fail_msg("%s: %s", cases[i].pod, files);
	}
}

static void what_is_asked_and_not_known_is_not_shown(void **state)
{
	cleanup_pod struct pod *pod = pod_from(ASKING("v: {mode: 400}", "", ""));
	struct store_entry entry = { .ns = "ns", .name = "s", .state = STORE_UNSYNCED, .error = ERR_NOTE_NONE };
	struct view view = { .n_files = 99 };
	struct err e = ERR_INIT;

	assert_int_equal(view_make(pod, &pod->volumes[0], ENTRIES(&entry), NULL, &view, &e), -EINVAL);
	assert_string_equal(err_text(&e), "annotation secretlet.dev/volumes: v.mode: must be octal digits, the first "
					  "one 0, up to 0777, such as \"0400\"");
	assert_int_equal(view.n_files, 99);
}

static void paths_that_no_item_has_are_a_mistake(void **state)
{
	cleanup_pod struct pod *pod = pod_from(ASKING("v: {keys: {d/b: {}, d//c: {mode: '0400'}}}", "",
						      ITEMS(ITEM("foo", "a") "," ITEM("bar", "./d/b"))));

	assert_int_equal(pod->n_mistakes, 1);
	assert_int_equal(pod->mistakes[0].column, 21);
	assert_string_equal(pod->volumes[0].option_error, "v.keys[d//c]: is no path of an item of this volume");
}

/* "object=uid/version of:path ..." */
static void origins_of(const struct payload *p, char *text, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; i < p->n_origins; i++) {
		const struct origin *o = &p->origins[i];

		len += (size_t)snprintf(text + len, size - len, "%s%s=%s/%s", i ? " " : "", o->object, o->uid,
					o->resource_version);
		for (size_t j = 0; j < p->n_files; j++)
			if (p->files[j].origin == i + 1)
				len += (size_t)snprintf(text + len, size - len, " of:%s", p->files[j].path);
	}
}

static void every_file_is_of_a_source(void **state)
{
	static const struct {
		const char *pod;
		enum store_state first, second;
		const char *origins;
	} CASES[] = {
		{ PROJECTED("", FROM("s1", "") "," FROM("s2", "")), STORE_PRESENT, STORE_PRESENT,
		  "secret/s1=/11 of:foo secret/s2=/22 of:bar of:both" },
		{ PROJECTED("", FROM("s2", "") "," FROM("s1", "")), STORE_PRESENT, STORE_PRESENT,
		  "secret/s2=/22 of:bar secret/s1=/11 of:both of:foo" },
		{ PROJECTED("", FROM("s1", OPTIONAL) "," FROM("s2", "")), STORE_ABSENT, STORE_PRESENT,
		  "secret/s1=/ secret/s2=/22 of:bar of:both" },
		{ PROJECTED("", FROM("s1", "") "," FROM("s1", ITEMS(ITEM("foo", "dir/f")))), STORE_PRESENT,
		  STORE_PRESENT, "secret/s1=/11 of:both of:foo secret/s1=/11 of:dir/f" },
	};
	struct digest last = { { 0 } };

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_pod struct pod *pod = pod_from(CASES[i].pod);
		cleanup(view_deinit) struct view view = { .n_files = 0 };
		cleanup(known_deinit) struct known k;
		struct err e = ERR_INIT;
		char text[512] = "";

		known_init(&k, pod, CASES[i].first, CASES[i].second);
		if (view_make(pod, &pod->volumes[0], k.of_sources, NULL, &view, &e) < 0)
			fail_msg("%s", err_text(&e));
		origins_of(view.payload, text, sizeof(text));
		assert_string_equal(text, CASES[i].origins);
		assert_false(digest_eq(&view.payload->origins_digest, &last));
		last = view.payload->origins_digest;
	}
}

static void what_the_pod_says_is_of_the_pod(void **state)
{
	cleanup_pod struct pod *pod = pod_from(
		"{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"u1\",\"resourceVersion\":\"5\"},"
		"\"spec\":{\"volumes\":[{\"name\":\"v\",\"downwardAPI\":{\"items\":[{\"path\":\"name\",\"fieldRef\":{"
		"\"fieldPath\":\"metadata.name\"}}]}}]}}");
	cleanup(view_deinit) struct view view = { .n_files = 0 };
	char text[512] = "";

	assert_int_equal(view_make(pod, &pod->volumes[0], ENTRIES(NULL), NULL, &view, NULL), 0);
	origins_of(view.payload, text, sizeof(text));
	assert_string_equal(text, "pod/p=u1/ of:name");
}

#define SHOWN	    "{\"path\":\"all\",\"fieldRef\":{\"fieldPath\":\"metadata.annotations\"}},"
#define SHOWN_ONE   "{\"path\":\"one\",\"fieldRef\":{\"fieldPath\":\"metadata.annotations['one']\"}},"
#define SHOWN_AGAIN "{\"path\":\"again\",\"fieldRef\":{\"fieldPath\":\"metadata.annotations['one']\"}}"

/* n volumes show all annotations, and one twice; it is 64 KiB long, and four times that among the others. */
static struct pod *pod_of_much(size_t n)
{
	cleanup_buf struct buf text = BUF_INIT(4u << 20);

	buf_add_str(&text, "{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"u1\",\"annotations\":{"
			   "\"none\":\"\",\"one\":\"");
	for (int i = 0; i < 65536; i++)
		buf_add_str(&text, "\x7f");
	buf_add_str(&text, "\"}},\"spec\":{\"volumes\":[");
	for (size_t i = 0; i < n; i++)
		buf_printf(&text, "%s{\"name\":\"v%zu\",\"downwardAPI\":{\"items\":[" SHOWN SHOWN_ONE SHOWN_AGAIN "]}}",
			   i ? "," : "", i);
	assert_int_equal(buf_add_str(&text, "]}}"), 0);
	return pod_from(text.data);
}

static void what_the_pod_says_is_in_memory_once(void **state)
{
	static struct view views[1000];
	struct pod *pod = pod_of_much(ARRAY_SIZE(views));

	for (size_t i = 0; i < ARRAY_SIZE(views); i++) {
		const struct payload_file *f;

		assert_int_equal(view_make(pod, &pod->volumes[i], ENTRIES(NULL), NULL, &views[i], NULL), 0);
		f = views[i].payload->files;
		assert_string_equal(f[0].path, "again");
		assert_string_equal(f[1].path, "all");
		assert_int_equal(f[0].content.len, 65536);
		assert_int_equal(f[1].content.len, strlen("none=\"\"\none=\"\"") + 4 * 65536);
		assert_memory_equal(secspan_data(&f[0].content), "\x7f\x7f", 2);
		assert_memory_equal(secspan_data(&f[1].content), "none=\"\"\none=\"\\x7f\\x7f", 21);
		assert_ptr_equal(f[0].content.block, f[2].content.block);
		assert_ptr_equal(f[0].content.block, views[0].payload->files[0].content.block);
		assert_ptr_equal(f[1].content.block, views[0].payload->files[1].content.block);
	}
	assert_int_equal(secmem_stats().n_blocks, 2);
	/* whoever shows it keeps it */
	pod_unref(pod);
	assert_int_equal(secmem_stats().n_blocks, 2);
	assert_int_equal(secspan_data(&views[1].payload->files[0].content)[65535], 0x7f);
	for (size_t i = 0; i < ARRAY_SIZE(views); i++)
		view_deinit(&views[i]);
	assert_int_equal(secmem_stats().n_blocks, 0);
}

static void what_has_no_room_is_made_later(void **state)
{
	cleanup_pod struct pod *pod = pod_of_much(1);
	cleanup(view_deinit) struct view view = { .n_files = 0 };
	struct err e = ERR_INIT;
	void *taken = secmem_alloc((4 << 20) - (300 << 10));

	assert_non_null(taken);
	assert_int_equal(view_make(pod, &pod->volumes[0], ENTRIES(NULL), NULL, &view, &e), -ENOMEM);
	assert_int_equal(e.reason, REASON_SECRET_MEMORY_FULL);
	secmem_free(taken);
	assert_int_equal(view_make(pod, &pod->volumes[0], ENTRIES(NULL), NULL, &view, &e), 0);
}

/* Whichever call it is that fails, and although the secret memory had no room a moment ago. */
static void want_of_memory_is_told_from_a_full_secret_memory(void **state)
{
	static const char POD_TEXT[] =
		"{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"u1\",\"labels\":{\"a\":\"b\"}},"
		"\"spec\":{\"volumes\":[{\"name\":\"v\",\"projected\":{\"sources\":["
		"{\"secret\":{\"name\":\"s\"}},"
		"{\"downwardAPI\":{\"items\":[{\"path\":\"l\","
		"\"fieldRef\":{\"fieldPath\":\"metadata.labels\"}}]}}]}},"
		"{\"name\":\"w\",\"emptyDir\":{}}],"
		"\"containers\":[{\"name\":\"c\",\"volumeMounts\":["
		"{\"name\":\"v\",\"mountPath\":\"/v\"},{\"name\":\"w\",\"mountPath\":\"/v/w\"}]}]}}";
	cleanup_secret_object struct secret *secret = NULL;
	struct store_entry entry = { .ns = "ns", .name = "s", .state = STORE_PRESENT, .error = ERR_NOTE_NONE };
	const struct store_entry *const entries[] = { &entry, NULL };
	size_t n_starved = 0, i = 0;
	bool failed;

	skip_unless_calls_can_fail();
	entry.secret = secret = secret_make();
	do {
		cleanup_pod struct pod *pod = pod_from(POD_TEXT);
		cleanup(view_deinit) struct view view = { .n_files = 0 };
		struct err e = ERR_INIT;
		int r;

		assert_null(secmem_alloc(64 << 20));
		calls_left = ++i;
		r = view_make(pod, &pod->volumes[0], entries, NULL, &view, &e);
		failed = calls_left == 0;
		calls_left = 0;
		n_starved += r < 0;
		if (r < 0 && (r != -ENOMEM || reason_of_error(&e) != REASON_OUT_OF_MEMORY))
			fail_msg("call %zu: %s: %s", i, reason_name(reason_of_error(&e)), err_text(&e));
	} while (failed);
	assert_true(n_starved > 10);
}

static void config_maps_have_their_own_words(void **state)
{
	cleanup_pod struct pod *pod =
		pod_from("{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"u1\"},\"spec\":{\"volumes\":[{"
			 "\"name\":\"v\","
			 "\"configMap\":{\"name\":\"c\",\"items\":[{\"key\":\"zab\",\"path\":\"z\"}]}}]}}");
	cleanup_secret_object struct secret *secret = secret_make();
	struct store_entry entry = { .kind = OBJECT_CONFIG_MAP, .ns = "ns", .name = "c", .error = ERR_NOTE_NONE };
	struct err e = ERR_INIT;
	struct view view;

	assert_int_equal(view_make(pod, &pod->volumes[0], ENTRIES(&entry), NULL, &view, &e), -EAGAIN);
	assert_string_equal(err_text(&e), "configmap \"c\" has not been fetched yet");
	entry.state = STORE_ABSENT;
	assert_int_equal(view_make(pod, &pod->volumes[0], ENTRIES(&entry), NULL, &view, &e), -ENOENT);
	assert_string_equal(err_text(&e), "configmap \"c\" not found");
	entry.state = STORE_PRESENT;
	entry.secret = secret;
	assert_int_equal(view_make(pod, &pod->volumes[0], ENTRIES(&entry), NULL, &view, &e), -ENOENT);
	assert_string_equal(err_text(&e), "configmap references non-existent config key: zab");
}

static void one_bad_source_fails_them_all(void **state)
{
	static const struct {
		const char *pod;
		enum store_state first, second;
		int r;
		const char *words;
	} CASES[] = {
		{ PROJECTED("", FROM("s1", "") "," FROM("s2", "")), STORE_PRESENT, STORE_ABSENT, -ENOENT,
		  "secret \"s2\" not found" },
		{ PROJECTED("", FROM("s1", "") "," FROM("s2", OPTIONAL)), STORE_ABSENT, STORE_PRESENT, -ENOENT,
		  "secret \"s1\" not found" },
		{ PROJECTED("", FROM("s1", "") "," FROM("s2", OPTIONAL)), STORE_PRESENT, STORE_UNSYNCED, -EAGAIN,
		  "secret \"s2\" has not been fetched yet" },
		{ PROJECTED("", FROM("s1", "") "," FROM("s2", ITEMS(ITEM("nokey", "x")))), STORE_PRESENT, STORE_PRESENT,
		  -ENOENT, "references non-existent secret key: nokey" },
		{ PROJECTED("", FROM("s1", "") "," FROM("s2", ITEMS(ITEM("bar", "foo/bar")))), STORE_PRESENT,
		  STORE_PRESENT, -EINVAL, "foo is a file and a directory (foo/bar)" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_pod struct pod *pod = pod_from(CASES[i].pod);
		cleanup(known_deinit) struct known k;
		struct view view = { .n_files = 99 };
		struct err e = ERR_INIT;

		known_init(&k, pod, CASES[i].first, CASES[i].second);
		assert_int_equal(view_make(pod, &pod->volumes[0], k.of_sources, NULL, &view, &e), CASES[i].r);
		if (!strstr(err_text(&e), CASES[i].words))
			fail_msg("%s", err_text(&e));
		assert_int_equal(view.n_files, 99); /* untouched */
	}
}

/* --- nested mount points --- */

static int collect(void *userdata, const char *path)
{
	char *text = userdata;
	size_t len = strlen(text);

	snprintf(text + len, 256 - len, "%s%s", len ? " " : "", path);
	return 0;
}

#define M(v, path)	"{\"name\":\"" v "\",\"mountPath\":\"" path "\"}"
#define C(name, mounts) "{\"name\":\"" name "\",\"volumeMounts\":[" mounts "]}"
#define NESTED_POD(containers)                                                                                         \
	"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\","                   \
	"\"uid\":\"u\"},\"spec\":{\"volumes\":[{\"name\":\"vol1\",\"secret\":{\"secretName\":\"s\"}},"                 \
	"{\"name\":\"vol2\",\"emptyDir\":{}}],\"containers\":[" containers "]}}"

static const struct {
	const char *name, *pod, *expected; /* NULL: refused */
} nested_cases[] = {
	{ "none", NESTED_POD(C("c", M("vol1", "/dir"))), "" },
	{ "one", NESTED_POD(C("c", M("vol1", "/dir") "," M("vol2", "/dir/nested"))), "nested" },
	{ "unsorted and doubly nested",
	  NESTED_POD(C("c", M("vol2", "/dir/nested/double") "," M("vol2", "/dir/nested") "," M("vol1", "/dir") "," //
		       M("vol2", "/dir/nested2"))),
	  "nested nested2" },
	{ "mounted twice",
	  NESTED_POD(C("c", M("vol1", "/dir") "," M("vol2", "/dir/nested") "," M("vol1", "/other") "," //
		       M("vol2", "/other/nested2"))),
	  "nested nested2" },
	{ "mounted twice at one place, spelt in other ways",
	  NESTED_POD(C("c", M("vol1", "/dir") "," M("vol1", "//dir") "," M("vol2", "/dir/nested") "," //
		       M("vol1", "/./dir/") "," M("vol1", "/x/../dir"))),
	  "nested" },
	{ "at one place in two containers",
	  NESTED_POD(C("a", M("vol1", "/dir") "," M("vol1", "/dir/") "," M("vol2", "/dir/x")) "," C(
		  "b", M("vol1", "/dir") "," M("vol2", "/dir/y") "," M("vol1", "//dir"))),
	  "x y" },
	{ "those nested in nested ones are left out, and those between them are not",
	  NESTED_POD(C("c", M("vol1", "/d") "," M("vol2", "/d/a") "," M("vol2", "/d/a/1") "," M("vol2", "/d/a/2") "," //
		       M("vol2", "/d/b/1") "," M("vol2", "/d/b/1/2") "," M("vol2", "/d/b/2") "," M("vol2", "/dd/3"))),
	  "a b/1 b/2" },
	{ "in two containers",
	  NESTED_POD(
		  C("a", M("vol1", "/dir") "," M("vol2", "/dir/x")) "," C("b", M("vol1", "/d") "," M("vol2", "/d/y"))),
	  "x y" },
	{ "in another container is not nested", NESTED_POD(C("a", M("vol1", "/dir")) "," C("b", M("vol2", "/dir/x"))),
	  "" },
	{ "a common prefix is no parent", NESTED_POD(C("c", M("vol1", "/mnt/dir") "," M("vol2", "/mnt/dir_ignore"))),
	  "" },
	{ "unclean paths", NESTED_POD(C("c", M("vol1", "/dir/") "," M("vol2", "/dir//a/../b/./c/"))), "b/c" },
	{ "an escaping path", NESTED_POD(C("c", M("vol1", "foo/../../dir"))), NULL },
};

static void nested_mount_points_are_the_kubelets(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(nested_cases); i++) {
		cleanup_pod struct pod *pod = pod_from(nested_cases[i].pod);
		struct err e = ERR_INIT;
		char found[256] = "";
		int r;

		r = view_nested_mounts(pod, "vol1", collect, found, &e);
		assert_int_equal(r, nested_cases[i].expected ? 0 : -EINVAL);
		if (r == 0 && strcmp(found, nested_cases[i].expected) != 0)
			fail_msg("%s: %s", nested_cases[i].name, found);
	}
}

static int setup(void **state)
{
	struct err e = ERR_INIT;

	json_setup();
	return secmem_init(4 << 20, &e);
}

static int teardown(void **state)
{
	secmem_deinit();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(payloads_are_the_kubelets),
		cmocka_unit_test(what_cannot_be_shown_says_why),
		cmocka_unit_test(an_absent_optional_secret_is_an_empty_volume),
		cmocka_unit_test(sources_are_laid_one_over_the_other),
		cmocka_unit_test(files_are_as_the_pod_asks),
		cmocka_unit_test(what_is_asked_and_not_known_is_not_shown),
		cmocka_unit_test(paths_that_no_item_has_are_a_mistake),
		cmocka_unit_test(every_file_is_of_a_source),
		cmocka_unit_test(what_the_pod_says_is_of_the_pod),
		cmocka_unit_test(what_the_pod_says_is_in_memory_once),
		cmocka_unit_test(what_has_no_room_is_made_later),
		cmocka_unit_test(want_of_memory_is_told_from_a_full_secret_memory),
		cmocka_unit_test(config_maps_have_their_own_words),
		cmocka_unit_test(one_bad_source_fails_them_all),
		cmocka_unit_test(nested_mount_points_are_the_kubelets),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
