/* Pod options: what an annotation turns on, and that a mistake in one turns nothing else off. */
#include "agent/pod_options.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "agent/codec.h"
#include "common/buf.h"

static struct pod *pod_make(const char *annotations)
{
	cleanup_json json_t *obj = json_pack(
		"{s:{s:s,s:s,s:s,s:o},s:{s:s,s:[{s:s,s:{s:s}},{s:s,s:{s:s}},{s:s,s:{}}],s:[{s:s}]}}", "metadata",
		"namespace", "default", "name", "p", "uid", "1", "annotations", json_loads(annotations, 0, NULL),
		"spec", "nodeName", "n", "volumes", "name", "a", "secret", "secretName", "x", "name", "b", "secret",
		"secretName", "y", "name", "tmp", "emptyDir", "containers", "name", "c");
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
			assert_null(pod->option_error);
			continue;
		}
		assert_non_null(pod->option_error);
		assert_string_equal(pod->option, cases[i].key);
		assert_string_equal(pod->option_error, cases[i].error);
	}
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
		cmocka_unit_test(what_was_understood_can_be_written_down),
	};

	json_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
