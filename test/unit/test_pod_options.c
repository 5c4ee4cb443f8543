/* Pod options: what an annotation turns on, and that a mistake turns off what it is a mistake in and nothing else. */
#include "agent/pod_options.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "agent/codec.h"
#include "common/buf.h"
#include "common/str.h"

static struct pod *pod_make(const char *annotations)
{
	cleanup_json json_t *obj =
		json_pack("{s:{s:s,s:s,s:s,s:o},s:{s:s,s:[{s:s,s:{s:s}},{s:s,s:{s:s}},{s:s,s:{}}],s:[{s:s}]}}",
			  "metadata", "namespace", "default", "name", "p", "uid", "1", "annotations",
			  json_loads(annotations, JSON_ALLOW_NUL, NULL), "spec", "nodeName", "n", "volumes", "name",
			  "a", "secret", "secretName", "x", "name", "b", "secret", "secretName", "y", "name", "tmp",
			  "emptyDir", "containers", "name", "c");
	struct json_issue issue = { .reason = "" };
	struct pod *pod = NULL;

	assert_non_null(obj);
	if (codec_pod(obj, &pod, &issue) < 0)
		fail_msg("%s: %s", issue.path, issue.reason);
	return pod;
}

/* "a b " of the volumes that have live files. */
static const char *live(const struct pod *pod)
{
	static char text[64];

	text[0] = 0;
	for (size_t i = 0; i < pod->n_volumes; i++)
		if (pod->volumes[i].live)
			snprintf(text + strlen(text), sizeof text - strlen(text), "%s ", pod->volumes[i].name);
	return text;
}

static void volumes_are_chosen_by_name(void **state)
{
	static const struct {
		const char *annotations, *live, *key, *error;
	} cases[] = {
		{ "{}", "", NULL, NULL },
		{ "{\"secretlet.dev/live\":\"a\"}", "a ", NULL, NULL },
		{ "{\"secretlet.dev/live\":\"b,a\"}", "a b ", NULL, NULL },
		{ "{\"secretlet.dev/live\":\" b , a \"}", "a b ", NULL, NULL },
		{ "{\"secretlet.dev/live\":\"*\"}", "a b ", NULL, NULL },
		{ "{\"other/live\":\"a\"}", "", NULL, NULL },
		/* the hook's, under a CRI */
		{ "{\"secretlet.dev/pod\":\"self\",\"secretlet.dev/container\":\"c\",\"secretlet.dev/timeout\":\"9s\"}",
		  "", NULL, NULL },
		{ "{\"secretlet.dev/live\":\"a,c\"}", "a ", "secretlet.dev/live",
		  "\"c\" is no volume of this pod that is served here" },
		{ "{\"secretlet.dev/live\":\"tmp,b\"}", "b ", "secretlet.dev/live",
		  "\"tmp\" is no volume of this pod that is served here" },
		{ "{\"secretlet.dev/live\":\"\"}", "", "secretlet.dev/live",
		  "\"\" is no volume of this pod that is served here" },
		{ "{\"secretlet.dev/live\":\"a,\"}", "a ", "secretlet.dev/live",
		  "\"\" is no volume of this pod that is served here" },
		{ "{\"secretlet.dev/lvie\":\"a\"}", "", "secretlet.dev/lvie", "there is no such option" },
		{ "{\"secretlet.dev/lvie\":\"a\",\"secretlet.dev/live\":\"b\"}", "b ", "secretlet.dev/lvie",
		  "there is no such option" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_pod struct pod *pod = pod_make(cases[i].annotations);

		assert_string_equal(live(pod), cases[i].live);
		if (!cases[i].error) {
			assert_int_equal(pod->n_mistakes, 0);
			continue;
		}
		assert_int_equal(pod->n_mistakes, 1);
		assert_string_equal(pod->mistakes[0].annotation, cases[i].key);
		assert_string_equal(pod->mistakes[0].text, cases[i].error);
		assert_int_equal(pod->mistakes[0].line, 0);
	}
}

/* ---- secretlet.dev/volumes ---- */

static struct pod *pod_with(const char *options, size_t len)
{
	cleanup_json json_t *annotations = json_pack("{s:o}", POD_OPTION_VOLUMES, json_stringn_nocheck(options, len));
	cleanup_free char *text = json_dumps(annotations, 0);

	assert_non_null(text);
	return pod_make(text);
}

static void describe_files(struct buf *b, const struct pod_file_options *f)
{
	if (f->has_owner)
		assert_int_equal(buf_printf(b, " owner %u", f->owner), 0);
	if (f->has_group)
		assert_int_equal(buf_printf(b, " group %u", f->group), 0);
	if (f->has_mode)
		assert_int_equal(buf_printf(b, " mode %04o", f->mode), 0);
}

/* "a: flat mode 0400 signal 1 [tls.key owner 5]; " of the volumes of which something is asked; "a: (what is wrong); " */
static char *describe(const struct pod *pod)
{
	cleanup_buf struct buf b = BUF_INIT(64u << 10);

	for (size_t i = 0; i < pod->n_volumes; i++) {
		const struct pod_volume *v = &pod->volumes[i];
		size_t start = b.len;

		if (v->option_error)
			assert_int_equal(buf_printf(&b, " (%s)", v->option_error), 0);
		if (v->layout == POD_LAYOUT_FLAT)
			assert_int_equal(buf_add_str(&b, " flat"), 0);
		describe_files(&b, &v->files);
		if (v->on_change)
			assert_int_equal(buf_printf(&b, " signal %d", v->on_change), 0);
		for (size_t j = 0; j < v->n_keys; j++) {
			assert_int_equal(buf_printf(&b, " [%s", v->keys[j].path), 0);
			describe_files(&b, &v->keys[j].files);
			assert_int_equal(buf_add_str(&b, "]"), 0);
		}
		if (b.len > start) {
			cleanup_free char *said = strdup(b.data + start);

			b.len = start;
			assert_int_equal(buf_printf(&b, "%s:%s; ", v->name, said), 0);
		}
	}
	return buf_take(&b);
}

#define NO_VOLUME "is no volume of this pod that is served here"
#define NO_OPTION "there is no such option"
#define NO_ID	  "must be a number from 0 to 4294967294, in decimal and without quotes"
#define NO_MODE	  "must be octal digits, the first one 0, up to 0777, such as \"0400\""
#define NO_SIGNAL "must be one of SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGTERM"
#define NO_LAYOUT "must be kubelet or flat"

static void each_volume_is_asked_for_what_is_its_own(void **state)
{
	static const struct {
		const char *text, *volumes;
	} cases[] = {
		{ "", "" },
		{ "# nothing\n", "" },
		{ "{}", "" },
		{ "~", "" },
		{ "a: {}", "" },
		{ "a: {layout: flat}", "a: flat; " },
		{ "a: {layout: kubelet}", "" },
		{ "a:\n  layout: flat\n  owner: 1000\n  group: 1001\n  mode: \"0400\"\n  onChange: SIGHUP\n"
		  "  keys:\n    tls.key: {mode: \"0600\", owner: 5}\n    dir//b: {group: 0}\n",
		  "a: flat owner 1000 group 1001 mode 0400 signal 1 [dir/b group 0] [tls.key owner 5 mode 0600]; " },
		{ "{\"b\": {\"mode\": \"0440\", \"keys\": {\"k\": {}}}}", "b: mode 0440 [k]; " },
		/* what is said of all holds where nothing else is said */
		{ "\"*\": {mode: \"0400\"}", "a: mode 0400; b: mode 0400; " },
		{ "b: {owner: 7}\n\"*\": {mode: \"0400\", owner: 1, onChange: SIGUSR1}\n",
		  "a: owner 1 mode 0400 signal 10; b: owner 7 mode 0400 signal 10; " },
		{ "b: {layout: kubelet}\n\"*\": {layout: flat}", "a: flat; " },
		{ "b: {keys: {z: {owner: 2}}}\n\"*\": {keys: {x: {owner: 1}}}", "a: [x owner 1]; b: [z owner 2]; " },
		{ "b: {keys: {}}\n\"*\": {keys: {x: {owner: 1}}}", "a: [x owner 1]; " },
		/* modes: what says octal in every language */
		{ "a: {mode: 0400}", "a: mode 0400; " },
		{ "a: {mode: '0400'}", "a: mode 0400; " },
		{ "a: {mode: \"0\"}", "a: mode 0000; " },
		{ "a: {mode: 0}", "a: mode 0000; " },
		{ "a: {mode: \"00400\"}", "a: mode 0400; " },
		{ "a: {mode: \"0777\"}", "a: mode 0777; " },
		/* ids */
		{ "a: {owner: 0, group: 0}", "a: owner 0 group 0; " },
		{ "a: {owner: 4294967294, group: 4294967294}", "a: owner 4294967294 group 4294967294; " },
		/* signals */
		{ "a: {onChange: SIGTERM}", "a: signal 15; " },
		{ "a: {onChange: SIGUSR2}", "a: signal 12; " },
		/* YAML's own means */
		{ "a: &x {mode: \"0400\"}\nb: *x\n", "a: mode 0400; b: mode 0400; " },
		{ "a: &x {mode: \"0400\"}\nb: {<<: *x, owner: 3}\n", "a: mode 0400; b: owner 3 mode 0400; " },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_pod struct pod *pod = pod_with(cases[i].text, strlen(cases[i].text));
		cleanup_free char *said = describe(pod);

		if (!str_eq(said, cases[i].volumes) || pod->n_mistakes > 0)
			fail_msg("%s: %s%s%s", cases[i].text, said, pod->n_mistakes ? "mistake: " : "",
				 pod->n_mistakes ? pod->mistakes[0].text : "");
	}
}

/* With its place; and b, of which all is right, is as it is asked for. */
static void mistake_is_told_and_costs_its_volume_alone(void **state)
{
	static const struct {
		const char *text, *volumes;
		size_t line, column;
		const char *mistake;
	} cases[] = {
		{ "c: {}", "", 1, 1, "c: " NO_VOLUME },
		{ "tmp: {mode: \"0400\"}", "", 1, 1, "tmp: " NO_VOLUME },
		{ "b: {owner: 1}\nA: {}", "b: owner 1; ", 2, 1, "A: " NO_VOLUME },
		{ "a: {mdoe: \"0400\"}", "a: (a.mdoe: " NO_OPTION "); ", 1, 5, "a.mdoe: " NO_OPTION },
		{ "b: {owner: 1}\na:\n  owner: 5\n  Mode: \"0400\"", "a: (a.Mode: " NO_OPTION "); b: owner 1; ", 4, 3,
		  "a.Mode: " NO_OPTION },
		{ "a: {on-change: SIGHUP}", "a: (a.on-change: " NO_OPTION "); ", 1, 5, "a.on-change: " NO_OPTION },
		{ "\"*\": {mdoe: 1}", "a: ([*].mdoe: " NO_OPTION "); b: ([*].mdoe: " NO_OPTION "); ", 1, 7,
		  "[*].mdoe: " NO_OPTION },
		{ "\"*\": {mdoe: 1}\nb: {mode: \"0400\"}",
		  "a: ([*].mdoe: " NO_OPTION "); b: ([*].mdoe: " NO_OPTION ") mode 0400; ", 1, 7,
		  "[*].mdoe: " NO_OPTION },
		/* types */
		{ "a:", "a: (a: must be a map of options); ", 1, 3, "a: must be a map of options" },
		{ "a: flat", "a: (a: must be a map of options); ", 1, 4, "a: must be a map of options" },
		{ "a: [flat]", "a: (a: must be a map of options); ", 1, 4, "a: must be a map of options" },
		{ "a: {layout: Flat}", "a: (a.layout: " NO_LAYOUT "); ", 1, 13, "a.layout: " NO_LAYOUT },
		{ "a: {layout: true}", "a: (a.layout: " NO_LAYOUT "); ", 1, 13, "a.layout: " NO_LAYOUT },
		{ "a: {layout: \"flat\\0\"}", "a: (a.layout: " NO_LAYOUT "); ", 1, 13, "a.layout: " NO_LAYOUT },
		{ "a: {layout: {}}", "a: (a.layout: " NO_LAYOUT "); ", 1, 13, "a.layout: " NO_LAYOUT },
		/* ids */
		{ "a: {owner: \"1000\"}", "a: (a.owner: " NO_ID "); ", 1, 12, "a.owner: " NO_ID },
		{ "a: {owner: -1}", "a: (a.owner: " NO_ID "); ", 1, 12, "a.owner: " NO_ID },
		{ "a: {owner: 4294967295}", "a: (a.owner: " NO_ID "); ", 1, 12, "a.owner: " NO_ID },
		{ "a: {owner: 99999999999999999999999}", "a: (a.owner: " NO_ID "); ", 1, 12, "a.owner: " NO_ID },
		{ "a: {owner: 010}", "a: (a.owner: " NO_ID "); ", 1, 12, "a.owner: " NO_ID },
		{ "a: {owner: 0x10}", "a: (a.owner: " NO_ID "); ", 1, 12, "a.owner: " NO_ID },
		{ "a: {owner: 1_000}", "a: (a.owner: " NO_ID "); ", 1, 12, "a.owner: " NO_ID },
		{ "a: {owner: 1e3}", "a: (a.owner: " NO_ID "); ", 1, 12, "a.owner: " NO_ID },
		{ "a: {owner: 1.0}", "a: (a.owner: " NO_ID "); ", 1, 12, "a.owner: " NO_ID },
		{ "a: {owner: root}", "a: (a.owner: " NO_ID "); ", 1, 12, "a.owner: " NO_ID },
		{ "a: {group: ~}", "a: (a.group: " NO_ID "); ", 1, 12, "a.group: " NO_ID },
		{ "a: {group: [1]}", "a: (a.group: " NO_ID "); ", 1, 12, "a.group: " NO_ID },
		/* modes: what is octal for one and decimal for another */
		{ "a: {mode: 400}", "a: (a.mode: " NO_MODE "); ", 1, 11, "a.mode: " NO_MODE },
		{ "a: {mode: \"400\"}", "a: (a.mode: " NO_MODE "); ", 1, 11, "a.mode: " NO_MODE },
		{ "{\"a\": {\"mode\": 256}}", "a: (a.mode: " NO_MODE "); ", 1, 16, "a.mode: " NO_MODE },
		{ "a: {mode: 0o400}", "a: (a.mode: " NO_MODE "); ", 1, 11, "a.mode: " NO_MODE },
		{ "a: {mode: 0x100}", "a: (a.mode: " NO_MODE "); ", 1, 11, "a.mode: " NO_MODE },
		{ "a: {mode: \"0800\"}", "a: (a.mode: " NO_MODE "); ", 1, 11, "a.mode: " NO_MODE },
		{ "a: {mode: \"01777\"}", "a: (a.mode: " NO_MODE "); ", 1, 11, "a.mode: " NO_MODE },
		{ "a: {mode: \"04400\"}", "a: (a.mode: " NO_MODE "); ", 1, 11, "a.mode: " NO_MODE },
		{ "a: {mode: \"000400\"}", "a: (a.mode: " NO_MODE "); ", 1, 11, "a.mode: " NO_MODE },
		{ "a: {mode: \"0400 \"}", "a: (a.mode: " NO_MODE "); ", 1, 11, "a.mode: " NO_MODE },
		{ "a: {mode: \"0400\\0\"}", "a: (a.mode: " NO_MODE "); ", 1, 11, "a.mode: " NO_MODE },
		{ "a: {mode: \"\"}", "a: (a.mode: " NO_MODE "); ", 1, 11, "a.mode: " NO_MODE },
		{ "a: {mode: !!float 0400}", "a: (a.mode: " NO_MODE "); ", 1, 11, "a.mode: " NO_MODE },
		{ "a: {mode: u=r}", "a: (a.mode: " NO_MODE "); ", 1, 11, "a.mode: " NO_MODE },
		/* signals */
		{ "a: {onChange: HUP}", "a: (a.onChange: " NO_SIGNAL "); ", 1, 15, "a.onChange: " NO_SIGNAL },
		{ "a: {onChange: sighup}", "a: (a.onChange: " NO_SIGNAL "); ", 1, 15, "a.onChange: " NO_SIGNAL },
		{ "a: {onChange: SIGSTOP}", "a: (a.onChange: " NO_SIGNAL "); ", 1, 15, "a.onChange: " NO_SIGNAL },
		{ "a: {onChange: SIGKILL}", "a: (a.onChange: " NO_SIGNAL "); ", 1, 15, "a.onChange: " NO_SIGNAL },
		{ "a: {onChange: SIGCHLD}", "a: (a.onChange: " NO_SIGNAL "); ", 1, 15, "a.onChange: " NO_SIGNAL },
		{ "a: {onChange: SIG}", "a: (a.onChange: " NO_SIGNAL "); ", 1, 15, "a.onChange: " NO_SIGNAL },
		{ "a: {onChange: 1}", "a: (a.onChange: " NO_SIGNAL "); ", 1, 15, "a.onChange: " NO_SIGNAL },
		/* keys */
		{ "a: {keys: [x]}", "a: (a.keys: must be a map from paths to owner, group and mode); ", 1, 11,
		  "a.keys: must be a map from paths to owner, group and mode" },
		{ "a: {keys: {x: \"0400\"}}", "a: (a.keys.x: must be a map of owner, group and mode); ", 1, 15,
		  "a.keys.x: must be a map of owner, group and mode" },
		{ "a: {keys: {tls.key: {layout: flat}}}", "a: (a.keys[tls.key].layout: " NO_OPTION "); ", 1, 22,
		  "a.keys[tls.key].layout: " NO_OPTION },
		{ "a: {keys: {tls.key: {mode: 400}}}", "a: (a.keys[tls.key].mode: " NO_MODE "); ", 1, 28,
		  "a.keys[tls.key].mode: " NO_MODE },
		{ "a: {keys: {\"..x\": {}}}", "a: (a.keys[..x]: invalid path: must not start with '..': ..x); ", 1, 12,
		  "a.keys[..x]: invalid path: must not start with '..': ..x" },
		{ "a: {keys: {/x: {}}}", "a: (a.keys[/x]: invalid path: must be relative path: /x); ", 1, 12,
		  "a.keys[/x]: invalid path: must be relative path: /x" },
		{ "a: {keys: {\"\": {}}}", "a: (a.keys[]: invalid path: must not be empty: \"\"); ", 1, 12,
		  "a.keys[]: invalid path: must not be empty: \"\"" },
		{ "a: {keys: {./: {}}}", "a: (a.keys[./]: invalid path: is a directory: .); ", 1, 12,
		  "a.keys[./]: invalid path: is a directory: ." },
		{ "a: {keys: {x: {}, ./x: {}}}", "a: (a.keys: \"x\" is there twice); ", 1, 11,
		  "a.keys: \"x\" is there twice" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_pod struct pod *pod = pod_with(cases[i].text, strlen(cases[i].text));
		cleanup_free char *said = describe(pod);
		const struct pod_mistake *m = pod->mistakes;

		if (pod->n_mistakes != 1)
			fail_msg("%s: %zu mistakes: %s", cases[i].text, pod->n_mistakes, said);
		assert_string_equal(m->annotation, POD_OPTION_VOLUMES);
		if (!str_eq(m->text, cases[i].mistake) || m->line != cases[i].line || m->column != cases[i].column)
			fail_msg("%s: %zu:%zu: %s", cases[i].text, m->line, m->column, m->text);
		if (!str_eq(said, cases[i].volumes))
			fail_msg("%s: %s", cases[i].text, said);
	}
}

/* Nobody knows what was asked of which volume. */
static void what_cannot_be_read_costs_all(void **state)
{
	static const struct {
		const char *text;
		size_t line, column;
	} cases[] = {
		{ "a: {", 2, 1 },
		{ "a: {}\na: {}", 2, 1 },
		{ "a: {mode: \"0400\", mode: \"0400\"}", 1, 19 },
		{ "[a]", 1, 1 },
		{ "flat", 1, 1 },
		{ "7", 1, 1 },
		{ "a: {}\n---\nb: {}", 2, 1 },
		{ "a: *nothing", 1, 0 },
		{ "a: !!python/object:os.system {}", 1, 0 },
		{ "? [a]\n: {}", 1, 0 },
		{ "a: \001", 1, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_pod struct pod *pod = pod_with(cases[i].text, strlen(cases[i].text));

		if (pod->n_mistakes != 1 || pod->mistakes[0].line != cases[i].line ||
		    (cases[i].column && pod->mistakes[0].column != cases[i].column))
			fail_msg("%s: %zu mistakes, %zu:%zu", cases[i].text, pod->n_mistakes,
				 pod->n_mistakes ? pod->mistakes[0].line : 0,
				 pod->n_mistakes ? pod->mistakes[0].column : 0);
		assert_string_equal(pod->volumes[0].option_error, pod->mistakes[0].text);
		assert_string_equal(pod->volumes[1].option_error, pod->mistakes[0].text);
		assert_null(pod->volumes[2].option_error);
	}
}

static void buf_repeat(struct buf *b, const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(buf_add_str(b, text), 0);
}

static void hostile_text_costs_little(void **state)
{
	static const char nul[] = "a: {}\n\0b: {mode: \"0400\"}";
	cleanup_buf struct buf deep = BUF_INIT(1u << 20), laughs = BUF_INIT(1u << 20), keys = BUF_INIT(1u << 20);
	cleanup_pod struct pod *with_nul = pod_with(nul, sizeof(nul) - 1);

	assert_int_equal(with_nul->n_mistakes, 1);
	assert_non_null(with_nul->volumes[0].option_error);

	buf_repeat(&deep, "a: {keys: ", 1);
	buf_repeat(&deep, "[", 10000);
	assert_int_equal(buf_printf(&laughs, "x0: &x0 [1,1,1,1,1,1,1,1,1,1]\n"), 0);
	for (int i = 1; i < 10; i++)
		assert_int_equal(buf_printf(&laughs, "x%d: &x%d [*x%d,*x%d,*x%d,*x%d,*x%d,*x%d,*x%d,*x%d]\n", i, i,
					    i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1),
				 0);
	/* more than 64 KiB, and where it is cut there is a character of three bytes */
	buf_repeat(&keys, "#", 65536 + 2);
	buf_repeat(&keys, "\u20ac", 10);
	for (size_t i = 0; i < 3; i++) {
		const struct buf *b = i == 0 ? &deep : i == 1 ? &laughs : &keys;
		cleanup_pod struct pod *pod = pod_with(b->data, b->len);
		cleanup_json json_t *written = pod_options_write(pod);
		cleanup_free char *text = json_dumps(written, 0);
		cleanup_pod struct pod *again = NULL;

		assert_int_equal(pod->n_mistakes, 1);
		assert_non_null(pod->volumes[0].option_error);
		assert_non_null(pod->volumes[1].option_error);
		assert_non_null(text);
		again = pod_make(text);
		assert_string_equal(again->volumes[0].option_error, pod->volumes[0].option_error);
	}
}

/* Each name is looked for among all volumes, whenever the pod is read. */
static void names_of_live_volumes_are_bounded(void **state)
{
	for (size_t n = POD_LIVE_NAMES_MAX; n <= 250000; n += 249000) {
		cleanup_buf struct buf text = BUF_INIT(1u << 20);
		cleanup_pod struct pod *pod = NULL;

		assert_int_equal(buf_add_str(&text, "{\"secretlet.dev/live\":\"b"), 0);
		buf_repeat(&text, ",", n - 2);
		assert_int_equal(buf_add_str(&text, ",a\"}"), 0);
		pod = pod_make(text.data);
		if (n == POD_LIVE_NAMES_MAX) {
			assert_string_equal(live(pod), "a b ");
			assert_string_equal(pod->mistakes[0].text, "\"\" is no volume of this pod that is served here");
			continue;
		}
		assert_string_equal(live(pod), "");
		assert_int_equal(pod->n_mistakes, 1);
		assert_string_equal(pod->mistakes[0].annotation, "secretlet.dev/live");
		assert_string_equal(pod->mistakes[0].text, "names more than 1000 volumes");
	}
}

/* Each volume has its own copy of what is asked of all: a thousand volumes with a thousand keys are too much. */
static void keys_of_all_volumes_are_bounded(void **state)
{
	cleanup_buf struct buf text = BUF_INIT(1u << 20);
	cleanup_json json_t *volumes = json_array(), *obj = NULL;
	struct json_issue issue = { .reason = "" };
	cleanup_pod struct pod *pod = NULL;
	size_t n = 0, failed = 0;

	assert_int_equal(buf_add_str(&text, "\"*\": {keys: {"), 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(buf_printf(&text, "k%d: {}, ", i), 0);
	assert_int_equal(buf_add_str(&text, "}}"), 0);
	for (int i = 0; i < 1000; i++) {
		char name[16];

		snprintf(name, sizeof name, "v%d", i);
		json_array_append_new(volumes, json_pack("{s:s, s:{s:s}}", "name", name, "secret", "secretName", "x"));
	}
	obj = json_pack("{s:{s:s,s:s,s:s,s:{s:s}},s:{s:s,s:O}}", "metadata", "namespace", "default", "name", "p", "uid",
			"1", "annotations", POD_OPTION_VOLUMES, text.data, "spec", "nodeName", "n", "volumes", volumes);
	assert_int_equal(codec_pod(obj, &pod, &issue), 0);
	for (size_t i = 0; i < pod->n_volumes; i++) {
		n += pod->volumes[i].n_keys;
		failed += pod->volumes[i].option_error != NULL;
		assert_true(pod->volumes[i].n_keys == (pod->volumes[i].option_error ? 0 : 1000));
	}
	assert_true(n > 0 && n < 100000);
	assert_true(failed > 0);
	assert_int_equal(pod->n_mistakes, 1);
	assert_string_equal(pod->mistakes[0].text, "[*]: too many keys, with those of the pod's other volumes");
}

static void only_so_many_mistakes_are_kept(void **state)
{
	cleanup_buf struct buf text = BUF_INIT(1u << 20);
	cleanup_pod struct pod *pod = NULL;

	for (int i = 0; i < POD_MISTAKES_MAX + 5; i++)
		assert_int_equal(buf_printf(&text, "x%d: {}\n", i), 0);
	assert_int_equal(buf_add_str(&text, "a: {mode: 1}\n"), 0);
	pod = pod_with(text.data, text.len);
	assert_int_equal(pod->n_mistakes, POD_MISTAKES_MAX);
	assert_string_equal(pod->volumes[0].option_error, "a.mode: " NO_MODE);
}

static void mistakes_are_said_in_one_line(void **state)
{
	cleanup_pod struct pod *good = pod_make("{}"), *bad = pod_make("{\"secretlet.dev/x\":\"\","
								       "\"secretlet.dev/volumes\":\"\\na: {b: 1}\"}");
	cleanup_free char *none = pod_options_mistakes(good), *some = pod_options_mistakes(bad);

	assert_null(none);
	assert_string_equal(some, "annotation secretlet.dev/x: there is no such option; "
				  "secretlet.dev/volumes: 2:5: a.b: there is no such option");
}

static void pods_that_ask_for_the_same_are_the_same(void **state)
{
	static const char *const differ[] = {
		"{}",
		"{\"secretlet.dev/live\":\"a\"}",
		"{\"secretlet.dev/live\":\"b\"}",
		"{\"secretlet.dev/volumes\":\"a: {owner: 1}\"}",
		"{\"secretlet.dev/volumes\":\"a: {owner: 2}\"}",
		"{\"secretlet.dev/volumes\":\"a: {owner: 2}\",\"secretlet.dev/live\":\"a\"}",
		"{\"secretlet.dev/volumes\":\"\"}",
		"{\"secretlet.dev/other\":\"\"}",
		"{\"secretlet.dev/another\":\"\"}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(differ); i++)
		for (size_t j = 0; j < ARRAY_SIZE(differ); j++) {
			cleanup_pod struct pod *a = pod_make(differ[i]), *b = pod_make(differ[j]);
			/* an empty annotation asks for nothing */
			bool same = i == j || (i == 0 && j == 6) || (i == 6 && j == 0);

			if (pod_options_same(a, b) != same)
				fail_msg("%s, %s", differ[i], differ[j]);
		}
}

static void what_is_wrong_is_written_down_as_well(void **state)
{
	static const char *const texts[] = {
		"a: {owner: 1, keys: {x: {mode: \"0400\"}}}\n\"*\": {layout: flat}\n",
		"a: {mdoe: 1}\nb: {owner: 1}",
		"a: {",
		"a: {owner: 1}\n\xc3\xa4: {}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		cleanup_pod struct pod *pod = pod_with(texts[i], strlen(texts[i])), *again = NULL;
		cleanup_json json_t *written = pod_options_write(pod);
		cleanup_free char *text = json_dumps(written, 0), *before = describe(pod), *after = NULL;

		again = pod_make(text);
		after = describe(again);
		assert_string_equal(after, before);
		assert_true(pod_options_same(pod, again));
	}
}

/* Its sources are gone, and of what it is made is not known. */
static void volume_that_is_wrong_itself_has_no_wrong_options(void **state)
{
	cleanup_pod struct pod *pod = NULL;
	cleanup_json json_t *obj = json_loads("{\"metadata\":{\"namespace\":\"default\",\"name\":\"p\",\"uid\":\"1\","
					      "\"annotations\":{\"secretlet.dev/live\":"
					      "\"a\",\"secretlet.dev/volumes\":\"a: {keys: {k: {mode: "
					      "'0400'}}}\"}},\"spec\":{\"nodeName\":\"n\",\"volumes\":[{"
					      "\"name\":\"a\",\"secret\":{\"secretName\":\"x\",\"items\":[{\"key\":"
					      "\"k\",\"path\":\"k\",\"mode\":9999}]}}]}}",
					      0, NULL);
	cleanup_json json_t *written = NULL;
	struct json_issue issue = { .reason = "" };

	assert_int_equal(codec_pod(obj, &pod, &issue), 0);
	assert_non_null(pod->volumes[0].error);
	assert_int_equal(pod->n_mistakes, 0);
	written = pod_options_write(pod);
	assert_null(json_object_get(written, "secretlet.dev/live"));
	assert_non_null(json_object_get(written, "secretlet.dev/volumes"));
}

static void what_was_understood_can_be_written_down(void **state)
{
	cleanup_pod struct pod *some = pod_make("{\"secretlet.dev/live\":\"b,c, a\"}"), *none = pod_make("{}");
	cleanup_json json_t *written = pod_options_write(some),
			    *wanted = json_pack("{s:s}", "secretlet.dev/live", "a,b");

	assert_true(json_equal(written, wanted));
	assert_null(pod_options_write(none));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(volumes_are_chosen_by_name),
		cmocka_unit_test(each_volume_is_asked_for_what_is_its_own),
		cmocka_unit_test(mistake_is_told_and_costs_its_volume_alone),
		cmocka_unit_test(what_cannot_be_read_costs_all),
		cmocka_unit_test(hostile_text_costs_little),
		cmocka_unit_test(names_of_live_volumes_are_bounded),
		cmocka_unit_test(keys_of_all_volumes_are_bounded),
		cmocka_unit_test(only_so_many_mistakes_are_kept),
		cmocka_unit_test(mistakes_are_said_in_one_line),
		cmocka_unit_test(pods_that_ask_for_the_same_are_the_same),
		cmocka_unit_test(what_is_wrong_is_written_down_as_well),
		cmocka_unit_test(volume_that_is_wrong_itself_has_no_wrong_options),
		cmocka_unit_test(what_was_understood_can_be_written_down),
	};

	json_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
