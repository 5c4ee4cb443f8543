/* Downward: what the kubelet's fieldpath_test.go and resource helpers_test.go have, of pods as the codec reads them. */
#include "agent/downward.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "agent/codec.h"
#include "common/str.h"

#define POD(item)                                                                                                      \
	"{\"metadata\":{\"namespace\":\"ns\",\"name\":\"p\",\"uid\":\"u-1\",\"labels\":{\"b\":\"2\",\"a\":\"one\","    \
	"\"x.y/z\":\"\",\"ab\":\"3\"},"                                                                                \
	"\"annotations\":{\"k\":\"l1\\nl2\\t\\\"q\\\"\\\\ \\u00fc \\u200b \\u0001 "                                    \
	"\\ud83d\\ude00\",\"Big/K\":\"v\",\"q\":\"\\u007f\\u0080\\udbff\\udfff\\u0007x\"}},\"spec\":{"                 \
	"\"volumes\":[{\"name\":\"v\",\"downwardAPI\":{\"items\":[{\"path\":\"f\"," item "}]}}],\"initContainers\":["  \
	"{\"name\":\"init\",\"resources\":{\"limits\":{\"cpu\":\"2\"}}}],\"containers\":[{\"name\":\"c\","             \
	"\"resources\":{"                                                                                              \
	"\"limits\":{\"cpu\":\"1500m\",\"memory\":\"1.5Gi\",\"hugepages-2Mi\":\"4Mi\"},\"requests\":{\"cpu\":1,"       \
	"\"memory\":"                                                                                                  \
	"\"100M\",\"ephemeral-storage\":\"x\"}}},{\"name\":\"bare\"}]}}"
#define FIELD(path) POD("\"fieldRef\":{\"apiVersion\":\"v1\",\"fieldPath\":\"" path "\"}")
#define RESOURCE(container, name)                                                                                      \
	POD("\"resourceFieldRef\":{\"containerName\":\"" container "\",\"resource\":\"" name "\"}")
#define DIVIDED(container, name, divisor)                                                                              \
	POD("\"resourceFieldRef\":{\"containerName\":\"" container "\",\"resource\":\"" name "\",\"divisor\":" divisor \
	    "}")

static struct pod *pod_of(const char *text)
{
	cleanup_json json_t *doc = NULL;
	struct json_issue issue = { .path = "" };
	struct err e = ERR_INIT;
	struct pod *p = NULL;

	if (json_parse(text, strlen(text), &doc, &e) < 0 || codec_pod(doc, &p, &issue) < 0)
		fail_msg("%s: %s%s: %s", text, err_text(&e), issue.path, issue.reason);
	return p;
}

static const struct pairs ALLOCATABLE = { .all = (struct label[]){ { (char[]){ "cpu" }, (char[]){ "4" } },
								   { (char[]){ "memory" }, (char[]){ "8Gi" } } },
					  .n = 2 };

static void texts_are_the_kubelets(void **state)
{
	static const struct {
		const char *pod, *text;
	} CASES[] = {
		{ FIELD("metadata.name"), "p" },
		{ FIELD("metadata.namespace"), "ns" },
		{ FIELD("metadata.uid"), "u-1" },
		{ FIELD("metadata.labels"), "a=\"one\"\nab=\"3\"\nb=\"2\"\nx.y/z=\"\"" },
		{ FIELD("metadata.labels['a']"), "one" },
		{ FIELD("metadata.labels['x.y/z']"), "" },
		{ FIELD("metadata.labels['ab']"), "3" },
		{ FIELD("metadata.labels['none']"), "" },
		{ FIELD("metadata.labels['x.y/']"), "" },
		{ FIELD("metadata.labels['x.y/zz']"), "" },
		{ FIELD("metadata.annotations['Big/K']"), "v" },
		/* one key alone is as it is, in the list it is quoted as by Go */
		{ FIELD("metadata.annotations['k']"), "l1\nl2\t\"q\"\\ \xc3\xbc \xe2\x80\x8b \x01 \xf0\x9f\x98\x80" },
		{ FIELD("metadata.annotations"),
		  "Big/K=\"v\"\nk=\"l1\\nl2\\t\\\"q\\\"\\\\ \xc3\xbc \\u200b \\x01 \xf0\x9f\x98\x80\"\n"
		  "q=\"\\x7f\\u0080\\U0010ffff\\ax\"" },
		{ RESOURCE("c", "limits.cpu"), "2" },
		{ DIVIDED("c", "limits.cpu", "\"1m\""), "1500" },
		{ DIVIDED("c", "limits.cpu", "\"0\""), "2" },
		{ RESOURCE("c", "limits.memory"), "1610612736" },
		{ DIVIDED("c", "limits.memory", "\"1Mi\""), "1536" },
		{ DIVIDED("c", "limits.memory", "\"1G\""), "2" },
		{ RESOURCE("c", "requests.cpu"), "1" },
		{ DIVIDED("c", "requests.cpu", "1"), "1" },
		{ DIVIDED("c", "requests.memory", "\"1Ki\""), "97657" },
		{ RESOURCE("c", "limits.hugepages-2Mi"), "4194304" },
		{ RESOURCE("init", "limits.cpu"), "2" },
		/* what is not asked for is 0, what is not limited is the node's */
		{ RESOURCE("bare", "requests.memory"), "0" },
		{ RESOURCE("bare", "limits.hugepages-1Gi"), "0" },
		{ RESOURCE("bare", "limits.cpu"), "4" },
		{ DIVIDED("bare", "limits.memory", "\"1Gi\""), "8" },
		{ RESOURCE("bare", "limits.ephemeral-storage"), "0" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_pod struct pod *pod = pod_of(CASES[i].pod);
		cleanup_buf struct buf text = BUF_INIT(4096);
		struct err e = ERR_INIT;

		if (downward_text(pod, &pod->volumes[0].sources[0].items[0], &ALLOCATABLE, &text, &e) < 0)
			fail_msg("%zu: %s", i, err_text(&e));
		if (!str_eq(text.data ?: "", CASES[i].text))
			fail_msg("%zu: %s instead of %s", i, text.data, CASES[i].text);
	}
}

static void what_cannot_be_shown_says_why(void **state)
{
	static const struct {
		const char *pod;
		int r;
		const char *words;
	} CASES[] = {
		{ RESOURCE("none", "limits.cpu"), -EINVAL, "container none not found" },
		{ RESOURCE("bare", "limits.cpu"), -EAGAIN, "what is allocatable on the node is not known" },
		{ RESOURCE("c", "requests.ephemeral-storage"), -EINVAL, "x is no quantity" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_pod struct pod *pod = pod_of(CASES[i].pod);
		cleanup_buf struct buf text = BUF_INIT(4096);
		struct err e = ERR_INIT;

		assert_int_equal(downward_text(pod, &pod->volumes[0].sources[0].items[0], NULL, &text, &e), CASES[i].r);
		if (!strstr(err_text(&e), CASES[i].words))
			fail_msg("%s", err_text(&e));
	}
}

static void fields_that_are_none_are_refused(void **state)
{
	static const char *const PATHS[] = { "",
					     "metadata",
					     "metadata.name.x",
					     "metadata.name['a']",
					     "metadata.labels['']",
					     "metadata.labels['a'",
					     "metadata.labels[a]",
					     "metadata.labels['a']x",
					     "spec.nodeName",
					     "status.podIP" };
	enum downward_field field;
	const char *key;
	size_t len;

	for (size_t i = 0; i < ARRAY_SIZE(PATHS); i++)
		if (downward_field_parse(PATHS[i], &field, &key, &len) != -EINVAL)
			fail_msg("%s", PATHS[i]);
	assert_true(downward_resource_is_known("limits.cpu"));
	assert_true(downward_resource_is_known("requests.hugepages-2Mi"));
	assert_false(downward_resource_is_known("limits.hugepages-"));
	assert_false(downward_resource_is_known("cpu"));
	assert_false(downward_resource_is_known("limits.gpu"));
}

/* Most pods show their namespace and no more. */
static void only_what_is_shown_is_kept(void **state)
{
	cleanup_pod struct pod *name = pod_of(FIELD("metadata.namespace")),
			       *labels = pod_of(FIELD("metadata.labels['a']"));
	cleanup_pod struct pod *cpu = pod_of(RESOURCE("c", "limits.cpu"));

	assert_int_equal(name->labels.n + name->annotations.n + pod_find_container(name, "c")->limits.n, 0);
	assert_int_equal(labels->labels.n, 4);
	assert_int_equal(labels->annotations.n, 0);
	assert_int_equal(cpu->labels.n, 0);
	assert_int_equal(pod_find_container(cpu, "c")->limits.n, 3);
	assert_int_equal(pod_find_container(cpu, "c")->requests.n, 3);
}

/* They are in no order. */
static void each_of_many_containers_is_found(void **state)
{
	cleanup_buf struct buf text = BUF_INIT(1 << 20);
	cleanup_pod struct pod *pod = NULL;
	enum { MANY = 200 };

	buf_add_str(&text,
		    "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"p\",\"uid\":\"u-1\"},\"spec\":{\"containers\":[");
	for (size_t i = 0; i < MANY; i++)
		buf_printf(&text, "%s{\"name\":\"c%zu\"}", i ? "," : "", i * 7 % MANY);
	assert_int_equal(buf_add_str(&text, "]}}"), 0);
	pod = pod_of(text.data);
	for (size_t i = 0; i < MANY; i++)
		assert_ptr_equal(pod_find_container(pod, pod->containers[i].name), &pod->containers[i]);
	assert_null(pod_find_container(pod, "c"));
	assert_null(pod_find_container(pod, "c200"));
	assert_null(pod_find_container(pod, ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_are_the_kubelets),	    cmocka_unit_test(what_cannot_be_shown_says_why),
		cmocka_unit_test(fields_that_are_none_are_refused), cmocka_unit_test(only_what_is_shown_is_kept),
		cmocka_unit_test(each_of_many_containers_is_found),
	};

	json_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
