/* Hook: what a runtime tells its hook, and what is made of it. */
#include "agent/hook.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "common/str.h"

static json_t *parse(const char *text)
{
	struct err e = ERR_INIT;
	json_t *doc = NULL;

	if (json_parse(text, strlen(text), &doc, &e) < 0)
		fail_msg("%s: %s", text, err_text(&e));
	return doc;
}

static int request(const char *annotations, struct hook_request *ret, json_t **ret_doc, struct err *e)
{
	cleanup_free char *text = str_format("{\"annotations\":%s}", annotations);

	*ret_doc = parse(text);
	return hook_request_read(*ret_doc, ret, e);
}

static void a_request_is_read(void **state)
{
	struct hook_request req = { .container = NULL };
	cleanup_json json_t *doc = NULL;

	assert_int_equal(
		request("{\"secretlet.dev/pod\":\"a/b\",\"secretlet.dev/container\":\"c\",\"secretlet.dev/live\":"
			"\"*\",\"secretlet.dev/timeout\":\"1m30s\",\"x\":\"y\"}",
			&req, &doc, NULL),
		0);
	assert_string_equal(req.pod, "a/b");
	assert_string_equal(req.container, "c");
	assert_int_equal(req.timeout_usec, 90 * USEC_PER_SEC);
}

static void who_does_not_ask_is_left_alone(void **state)
{
	static const char *const ANNOTATIONS[] = { "null", "{}", "{\"a\":\"b\"}", "{\"a\":1}",
						   "{\"secretlet.dev/live\":\"*\",\"secretlet.dev/volumes\":\"{}\"}" };

	for (size_t i = 0; i < ARRAY_SIZE(ANNOTATIONS); i++) {
		struct hook_request req = { .container = NULL };
		cleanup_json json_t *doc = NULL;

		assert_int_equal(request(ANNOTATIONS[i], &req, &doc, NULL), HOOK_NOT_ASKED);
	}
}

#define P "\"secretlet.dev/pod\":\"a/b\","
#define C "\"secretlet.dev/container\":\"c\""

static void a_request_that_is_wrong_is_refused(void **state)
{
	static const struct {
		const char *annotations, *words;
	} CASES[] = {
		{ "[]", "no object" },
		{ "{\"secretlet.dev/pod\":\"a/b\"}", "secretlet.dev/container is missing" },
		{ "{" C "}", "secretlet.dev/pod is missing" },
		{ "{\"secretlet.dev/timeout\":\"5s\"}", "secretlet.dev/pod is missing" },
		{ "{\"secretlet.dev/pod\":\"\"," C "}", "NAMESPACE/POD" },
		{ "{\"secretlet.dev/pod\":7," C "}", "no text" },
		{ "{\"secretlet.dev/pod\":\"a/b\\u0000c\"," C "}", "no text" },
		{ "{" P "\"secretlet.dev/container\":\"../c\"}", "cannot be a container's name" },
		{ "{" P "\"secretlet.dev/container\":\"\"}", "cannot be a container's name" },
		{ "{" P C ",\"secretlet.dev/timeout\":\"x\"}", "no duration" },
		{ "{" P C ",\"secretlet.dev/timeout\":\"0\"}", "no duration" },
		{ "{" P C ",\"secretlet.dev/timeout\":\"601s\"}", "at most 10m" },
		/* a typing mistake must not start a container without its Secrets */
		{ "{\"secretlet.dev/pods\":\"a/b\"}", "secretlet.dev/pods is not known" },
		{ "{" P C ",\"secretlet.dev/\":\"\"}", "is not known" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct hook_request req = { .container = NULL };
		cleanup_json json_t *doc = NULL;
		struct err e = ERR_INIT;

		assert_int_equal(request(CASES[i].annotations, &req, &doc, &e), -EINVAL);
		if (!strstr(err_text(&e), CASES[i].words))
			fail_msg("%s: %s", CASES[i].annotations, err_text(&e));
	}
}

/* What containerd's CRI plugin gives a container (pkg/cri/annotations) beside the image's name, and CRI-O (the kubelet's
 * labels, in internal/factory/container). */
#define CRI(key)   "\"io.kubernetes.cri." key "\":"
#define CRIO(key)  "\"io.kubernetes.cri-o." key "\":"
#define LABEL(key) "\"io.kubernetes." key "\":"
#define CONTAINERD                                                                                                     \
	CRI("container-type")                                                                                          \
	"\"container\"," CRI("sandbox-id") "\"5f1e\"," CRI("sandbox-namespace") "\"a\"," CRI(                          \
		"sandbox-name") "\"b\"," CRI("sandbox-uid") "\"1-2\"," CRI("container-name") "\"main\""
#define CRI_O                                                                                                          \
	CRIO("ContainerType")                                                                                          \
	"\"container\"," CRIO("SandboxID") "\"5f1e\",\"io.container.manager\":\"cri-o\"," LABEL(                       \
		"pod.namespace") "\"a\"," LABEL("pod.name") "\"b\"," LABEL("pod.uid") "\"1-2\"," LABEL("container."    \
												       "name") "\"mai" \
													       "n\""
#define SELF "\"secretlet.dev/pod\":\"self\","

/* A pod's annotations reach each of its containers: which one this is says the CRI. */
static void the_cri_says_whose_container_it_is(void **state)
{
	static const char *const CASES[] = {
		"{" SELF CONTAINERD "}",
		"{" SELF CRI_O "}",
		"{" SELF CRI_O "," CONTAINERD "}",
		/* one name for all containers of the pod is one for none of the others */
		"{" SELF C "," CONTAINERD "}",
		"{" SELF C "," CRI_O "}",
		"{" SELF "\"secretlet.dev/container\":\"\"," CONTAINERD "}",
		"{" P C "," CONTAINERD "}",
		"{" P CRI_O "}",
		"{\"secretlet.dev/pod\":\"1-2\"," CONTAINERD "}",
		/* what only a pod of another CRI would have is a pod's annotation */
		"{" P CRI_O
		"," CRIO("Namespace") "\"other\"," CRIO("KubeName") "\"other\"," CRIO("ContainerName") "\"other\"}",
		"{" P CRI_O "," LABEL("pod.terminationGracePeriod") "\"30\"," LABEL("container.hash") "\"77\"}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct hook_request req = { .container = NULL };
		cleanup_json json_t *doc = NULL;
		struct err e = ERR_INIT;

		if (request(CASES[i], &req, &doc, &e) != 0)
			fail_msg("%s: %s", CASES[i], err_text(&e));
		assert_string_equal(req.pod, "a/b");
		assert_string_equal(req.ns, "a");
		assert_string_equal(req.name, "b");
		assert_string_equal(req.container, "main");
		assert_string_equal(hook_request_ref(&req), "1-2");
	}
}

static void who_is_started_by_hand_says_it_himself(void **state)
{
	static const char *const CASES[] = {
		"{" P C "}",
		/* podman says so of each container of its pods */
		"{" P C "," CRIO("ContainerType") "\"container\"," CRIO(
			"SandboxID") "\"5f1e\",\"io.container.manager\":\"libpod\"}",
		"{" P C "," CRIO("Created") "\"2026\"," CRIO("TTY") "\"false\",\"io.container.manager\":\"libpod\"}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct hook_request req = { .container = NULL };
		cleanup_json json_t *doc = NULL;
		struct err e = ERR_INIT;

		if (request(CASES[i], &req, &doc, &e) != 0)
			fail_msg("%s: %s", CASES[i], err_text(&e));
		assert_string_equal(hook_request_ref(&req), "a/b");
		assert_string_equal(req.container, "c");
		assert_null(req.ns);
	}
}

/* The pause container mounts nothing, whatever the pod's annotations are. */
static void a_sandbox_is_not_asked(void **state)
{
	static const char *const CASES[] = {
		"{" P C "," CRI("container-type") "\"sandbox\"," CRI("sandbox-namespace") "\"a\"," CRI(
			"sandbox-name") "\"b\"," CRI("sandbox-id") "\"5f1e\"}",
		"{" SELF CRIO("ContainerType") "\"sandbox\"," CRIO("KubeName") "\"b\"}",
		"{\"secretlet.dev/typo\":\"x\"," CRI("container-type") "\"sandbox\"}",
		"{\"secretlet.dev/pod\":7," CRIO("ContainerType") "\"sandbox\"}",
		"{" SELF CRIO("ContainerType") "\"sandbox\"," LABEL("container.name") "\"POD\"}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct hook_request req = { .container = NULL };
		cleanup_json json_t *doc = NULL;

		if (request(CASES[i], &req, &doc, NULL) != HOOK_NOT_ASKED)
			fail_msg("%s", CASES[i]);
	}
}

/* Where the type is a pod's annotation, or an image's, it switches nothing off. */
static void a_container_is_no_sandbox(void **state)
{
	static const struct {
		const char *annotations;
		int r;
	} CASES[] = {
		{ "{" P C "," CRIO("ContainerType") "\"sandbox\",\"io.container.manager\":\"libpod\"}", 0 },
		{ "{" SELF CONTAINERD "," CRIO("ContainerType") "\"sandbox\"}", -EINVAL },
		{ "{" SELF CRI_O "," CRI("container-type") "\"sandbox\"}", -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct hook_request req = { .container = NULL };
		cleanup_json json_t *doc = NULL;
		struct err e = ERR_INIT;

		if (request(CASES[i].annotations, &req, &doc, &e) != CASES[i].r)
			fail_msg("%s: %s", CASES[i].annotations, err_text(&e));
	}
}

/* What a pod's author may write is not whose container it is. */
static void a_pod_of_the_cri_is_the_one_that_is_named(void **state)
{
	static const struct {
		const char *annotations;
		int r;
		const char *words;
	} CASES[] = {
		{ "{\"secretlet.dev/pod\":\"other/b\"," CONTAINERD "}", -EACCES, "this is a container of a/b" },
		{ "{\"secretlet.dev/pod\":\"a/bb\"," CRI_O "}", -EACCES, "this is a container of a/b" },
		{ "{\"secretlet.dev/pod\":\"a\"," CRI_O "}", -EACCES, "this is a container of a/b" },
		{ "{\"secretlet.dev/pod\":\"1-3\"," C "," CONTAINERD "}", -EACCES, "this is a container of a/b" },
		{ "{" C "," CONTAINERD "}", -EINVAL, "secretlet.dev/pod is missing" },
		{ "{" SELF C "}", -EINVAL, "no CRI says which pod this is" },
		/* where a CRI has a hand in it, it has to say all */
		{ "{" P C "," CRI("container-type") "\"container\"}", -EINVAL,
		  "io.kubernetes.cri.sandbox-namespace is missing beside io.kubernetes.cri.container-type" },
		{ "{" P C "," CRI("sandbox-id") "\"5f1e\"}", -EINVAL,
		  "io.kubernetes.cri.sandbox-namespace is missing" },
		{ "{" P C "," CRI("sandbox-namespace") "\"a\"}", -EINVAL, "io.kubernetes.cri.sandbox-name is missing" },
		{ "{" P C "," CRI("sandbox-name") "\"b\"}", -EINVAL, "io.kubernetes.cri.sandbox-namespace is missing" },
		{ "{" P C "," CRI("sandbox-uid") "\"1-2\"}", -EINVAL,
		  "io.kubernetes.cri.sandbox-namespace is missing" },
		{ "{" P C "," CRI("container-name") "\"c\"}", -EINVAL,
		  "io.kubernetes.cri.sandbox-namespace is missing" },
		{ "{" P C "," CRI("sandbox-namespace") "\"a\"," CRI("sandbox-name") "\"b\"}", -EINVAL,
		  "io.kubernetes.cri.container-name is missing" },
		{ "{" P C "," CRIO("ContainerType") "\"container\",\"io.container.manager\":\"cri-o\"}", -EINVAL,
		  "io.kubernetes.pod.namespace is missing beside io.kubernetes.cri-o.ContainerType" },
		{ "{" P C "," LABEL("pod.namespace") "\"a\"," LABEL("pod.name") "\"b\"}", -EINVAL,
		  "io.kubernetes.container.name is missing" },
		/* it is podman's own if it says nothing more */
		{ "{\"io.container.manager\":\"libpod\"," P C "," LABEL("pod.name") "\"b\"}", -EINVAL,
		  "io.kubernetes.pod.namespace is missing" },
		{ "{" P C
		  "," CRI("sandbox-namespace") "\"\"," CRI("sandbox-name") "\"b\"," CRI("container-name") "\"c\"}",
		  -EINVAL, "io.kubernetes.cri.sandbox-namespace is no name" },
		{ "{" P C "," CRI("sandbox-namespace") "7," CRI("sandbox-name") "\"b\"," CRI("container-name") "\"c\"}",
		  -EINVAL, "io.kubernetes.cri.sandbox-namespace is no name" },
		{ "{" P C "," CRI("sandbox-namespace") "\"a\"," CRI("sandbox-name") "\"b\\u0000\"," CRI(
			  "container-name") "\"c\"}",
		  -EINVAL, "io.kubernetes.cri.sandbox-name is no name" },
		{ "{" P C
		  "," CRI("sandbox-namespace") "\"a\"," CRI("sandbox-name") "\"b\"," CRI("container-name") "\"../c\"}",
		  -EINVAL, "cannot be a container's name" },
		/* annotations that a pod may have of the other CRI: forged, they say another thing */
		{ "{" P CONTAINERD "," LABEL("pod.namespace") "\"other\"," LABEL("pod.name") "\"b\"," LABEL(
			  "container.name") "\"main\"}",
		  -EACCES, "io.kubernetes.cri.sandbox-namespace says a, but io.kubernetes.pod.namespace says other" },
		{ "{\"secretlet.dev/pod\":\"a/x\"," CRI_O
		  "," CRI("sandbox-namespace") "\"a\"," CRI("sandbox-name") "\"x\"," CRI("container-name") "\"main\"}",
		  -EACCES, "io.kubernetes.cri.sandbox-name says x, but io.kubernetes.pod.name says b" },
		{ "{" P CRI_O
		  "," CRI("sandbox-namespace") "\"a\"," CRI("sandbox-name") "\"b\"," CRI("container-name") "\"x\"}",
		  -EACCES, "io.kubernetes.cri.container-name says x" },
		{ "{" P CRI_O "," CRI("sandbox-uid") "\"7\"," CRI("sandbox-namespace") "\"a\"," CRI(
			  "sandbox-name") "\"b\"," CRI("container-name") "\"main\"}",
		  -EACCES, "io.kubernetes.cri.sandbox-uid says 7" },
		{ "{\"io.container.manager\":\"libpod\",\"secretlet.dev/pod\":\"a/x\"," C
		  "," LABEL("pod.namespace") "\"a\"," LABEL("pod.name") "\"b\"," LABEL("container.name") "\"main\"}",
		  -EACCES, "this is a container of a/b" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct hook_request req = { .container = NULL };
		cleanup_json json_t *doc = NULL;
		struct err e = ERR_INIT;

		if (request(CASES[i].annotations, &req, &doc, &e) != CASES[i].r)
			fail_msg("%s: %s", CASES[i].annotations, err_text(&e));
		if (!strstr(err_text(&e), CASES[i].words))
			fail_msg("%s: %s", CASES[i].annotations, err_text(&e));
	}
}

/* A UID may be a pod's annotation under a CRI that has none of its own: what the daemon finds by it is looked at. */
static void the_pod_that_is_found_is_the_one_that_was_meant(void **state)
{
	cleanup_json json_t *right = parse("{\"namespace\":\"a\",\"name\":\"b\",\"uid\":\"1-2\"}");
	cleanup_json json_t *wrong = parse("{\"namespace\":\"a\",\"name\":\"x\",\"uid\":\"1-2\"}");
	cleanup_json json_t *none = parse("{}");
	cleanup_json json_t *by_cri = NULL, *by_hand = NULL;
	struct hook_request cri = { .container = NULL }, hand = { .container = NULL };
	struct err e = ERR_INIT;

	assert_int_equal(request("{" SELF CONTAINERD "}", &cri, &by_cri, NULL), 0);
	assert_int_equal(hook_request_check(&cri, right, NULL), 0);
	assert_int_equal(hook_request_check(&cri, wrong, &e), -EACCES);
	assert_non_null(strstr(err_text(&e), "is a/x, and not a/b"));
	assert_int_equal(hook_request_check(&cri, none, NULL), -EACCES);
	assert_int_equal(request("{" P C "}", &hand, &by_hand, NULL), 0);
	assert_int_equal(hook_request_check(&hand, wrong, NULL), 0);
}

static void a_state_is_read(void **state)
{
	static const char *const GOOD[] = {
		"{\"ociVersion\":\"1.0\",\"id\":\"x\",\"pid\":77,\"root\":\"/r\",\"bundle\":\"/"
		"b\",\"status\":\"created\"}",
		"{\"id\":\"x\",\"pid\":77,\"bundle\":\"/b\",\"status\":\"creating\"}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(GOOD); i++) {
		cleanup_json json_t *doc = parse(GOOD[i]);
		struct hook_state s;

		assert_int_equal(hook_state_read(doc, &s, NULL), 0);
		assert_string_equal(s.id, "x");
		assert_string_equal(s.bundle, "/b");
		assert_int_equal(s.pid, 77);
	}
}

static void a_state_that_is_wrong_is_refused(void **state)
{
	static const char *const BAD[] = {
		"{}",
		"[]",
		"{\"pid\":77,\"bundle\":\"/b\",\"status\":\"creating\"}",
		"{\"id\":\"x\",\"pid\":77,\"bundle\":\"/b\",\"status\":\"running\"}",
		"{\"id\":\"x\",\"pid\":77,\"bundle\":\"/b\"}",
		"{\"id\":\"x\",\"pid\":77,\"bundle\":\"b\",\"status\":\"creating\"}",
		"{\"id\":\"x\",\"pid\":77,\"bundle\":\"/b\\u0000/..\",\"status\":\"creating\"}",
		"{\"id\":\"x\",\"pid\":77,\"status\":\"creating\"}",
		/* createContainer's */
		"{\"id\":\"x\",\"pid\":0,\"bundle\":\"/b\",\"status\":\"created\"}",
		"{\"id\":\"x\",\"pid\":1,\"bundle\":\"/b\",\"status\":\"creating\"}",
		"{\"id\":\"x\",\"pid\":-5,\"bundle\":\"/b\",\"status\":\"creating\"}",
		"{\"id\":\"x\",\"pid\":4294967373,\"bundle\":\"/b\",\"status\":\"creating\"}",
		"{\"id\":\"x\",\"pid\":\"77\",\"bundle\":\"/b\",\"status\":\"creating\"}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(BAD); i++) {
		cleanup_json json_t *doc = parse(BAD[i]);
		struct hook_state s;

		if (hook_state_read(doc, &s, NULL) != -EINVAL)
			fail_msg("%s", BAD[i]);
	}
}

static void the_root_is_beside_the_configuration_or_absolute(void **state)
{
	cleanup_json json_t *relative = parse("{\"root\":{\"path\":\"rootfs\"}}");
	cleanup_json json_t *absolute = parse("{\"root\":{\"path\":\"/a/b\"}}");
	cleanup_json json_t *none = parse("{\"root\":{\"path\":\"\"}}");
	cleanup_free char *beside = NULL, *path = NULL;
	char *untouched = NULL;

	assert_int_equal(hook_config_rootfs(relative, "/run/x", &beside, NULL), 0);
	assert_string_equal(beside, "/run/x/rootfs");
	assert_int_equal(hook_config_rootfs(absolute, "/run/x", &path, NULL), 0);
	assert_string_equal(path, "/a/b");
	assert_int_equal(hook_config_rootfs(none, "/run/x", &untouched, NULL), -EINVAL);
	assert_null(untouched);
}

static int mounts(const char *text, json_t **ret_doc, struct hook_mount **ret, size_t *ret_n, struct err *e)
{
	*ret_doc = parse(text);
	return hook_mounts_read(*ret_doc, ret, ret_n, e);
}

#define BIND(destination, source)                                                                                      \
	"{\"destination\":\"" destination "\",\"type\":\"bind\",\"source\":\"" source "\",\"options\":[\"rbind\"]}"

static void the_daemons_mounts_are_checked(void **state)
{
	static const char *const BAD[] = {
		"{}",
		"[1]",
		"[{}]",
		"[{\"destination\":\"/a\",\"source\":\"/b\"}]",
		"[{\"destination\":\"/a\",\"source\":\"/b\",\"type\":\"tmpfs\"}]",
		"[" BIND("", "/b") "]",
		"[" BIND("a", "/b") "]",
		"[" BIND("/", "/b") "]",
		"[" BIND("/a/../b", "/b") "]",
		"[" BIND("/..", "/b") "]",
		"[" BIND("/a\\u0000", "/b") "]",
		"[" BIND("/a", "b") "]",
		"[" BIND("/a", "/") "]",
		"[" BIND("/a", "/p/../etc") "]",
		"[" BIND("/a", "/p//q") "]",
		"[" BIND("/a", "/p/./q") "]",
		"[" BIND("/a", "/p/.") "]",
		"[" BIND("/a", "/p/") "]",
	};
	struct hook_mount *list = NULL;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(BAD); i++) {
		cleanup_json json_t *doc = NULL;

		if (mounts(BAD[i], &doc, &list, &n, NULL) >= 0)
			fail_msg("%s", BAD[i]);
		assert_null(list);
	}
	{
		cleanup_json json_t *doc = NULL;
		cleanup_free struct hook_mount *good = NULL;

		assert_int_equal(
			mounts("[" BIND("/a", "/p/..data") "," BIND("/b//c/", "/q") "]", &doc, &good, &n, NULL), 0);
		assert_int_equal(n, 2);
		assert_string_equal(good[0].source, "/p/..data");
		assert_string_equal(good[1].destination, "/b//c/");
	}
}

static void what_is_nested_comes_last(void **state)
{
	cleanup_json json_t *doc = NULL;
	cleanup_free struct hook_mount *list = NULL;
	size_t n;

	assert_int_equal(mounts("[" BIND("/a/b/c", "/1") "," BIND("/x", "/2") "," BIND("//a/./b",
										       "/3") "," BIND("/a/", "/4") "]",
				&doc, &list, &n, NULL),
			 0);
	assert_int_equal(n, 4);
	assert_string_equal(list[0].source, "/2");
	assert_string_equal(list[1].source, "/4");
	assert_string_equal(list[2].source, "/3");
	assert_string_equal(list[3].source, "/1");
}

static void what_would_be_hidden_is_refused(void **state)
{
	static const struct {
		const char *config, *mounts;
		int r;
	} CASES[] = {
		{ "{\"mounts\":[{\"destination\":\"/a/b\"}]}", "[" BIND("/a", "/p") "]", -EINVAL },
		{ "{\"mounts\":[{\"destination\":\"a//b/.\"}]}", "[" BIND("/a", "/p") "]", -EINVAL },
		{ "{\"mounts\":[{\"destination\":\"/a\"},{\"destination\":\"/\"},{}]}", "[" BIND("/a", "/p") "]", 0 },
		{ "{\"mounts\":[{\"destination\":\"/dev\"}]}", "[" BIND("/dev/a", "/p") "]", 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_json json_t *config = parse(CASES[i].config), *doc = NULL;
		cleanup_free struct hook_mount *list = NULL;
		size_t n;

		assert_int_equal(mounts(CASES[i].mounts, &doc, &list, &n, NULL), 0);
		if (hook_mounts_check(config, list, n, NULL) != CASES[i].r)
			fail_msg("%s %s", CASES[i].config, CASES[i].mounts);
	}
}

static void a_place_in_the_image_is_checked(void **state)
{
#define OTHERS                                                                                                         \
	"[{\"destination\":\"/run/proc\",\"type\":\"proc\"},{\"destination\":\"/run/"                                  \
	"sys\",\"type\":\"sysfs\"},{\"destination\":\"/"                                                               \
	"data\",\"type\":\"bind\",\"options\":[\"rbind\",\"rshared\"]},{\"destination\":\"/data/"                      \
	"slave\",\"options\":[\"rslave\"]},{\"destination\":\"/dev\"},{\"destination\":\"/dev/shm\"},{},7]"
	static const struct {
		const char *place;
		int r;
		const char *words;
	} CASES[] = {
		{ "/creds", 0, "" },
		{ "/creds/proc", 0, "" },
		{ "/process", 0, "" },
		{ "/", -EINVAL, "root folder" },
		{ "//.", -EINVAL, "root folder" },
		{ "/proc", -EINVAL, "/proc or /sys" },
		{ "/proc/sys/kernel", -EINVAL, "/proc or /sys" },
		{ "/sys/x", -EINVAL, "/proc or /sys" },
		{ "/run/proc/1", -EINVAL, "/proc or /sys" },
		{ "/run/sys", -EINVAL, "/proc or /sys" },
		{ "/run", -EINVAL, "would hide what is mounted on /run/sys" },
		{ "/dev", -EINVAL, "would hide what is mounted on /dev/shm" },
		{ "/data/x", -EINVAL, "shared mount" },
		{ "/data/slave", HOOK_COVERED, "" },
		{ "/data/slave/x", HOOK_COVERED, "" },
		{ "/dev/x", HOOK_COVERED, "" },
	};
	cleanup_json json_t *others = parse(OTHERS);

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct err e = ERR_INIT;
		int r = hook_place_check(others, CASES[i].place, "/a", &e);

		if (r != CASES[i].r || (r < 0 && !strstr(err_text(&e), CASES[i].words)))
			fail_msg("%s: %d %s", CASES[i].place, r, err_text(&e));
	}
	assert_int_equal(hook_place_check(NULL, "/a", "/a", NULL), 0);
}

/* Whatever the configuration has beside its mounts stays as it is, to the byte. */
static void mounts_are_added_to_the_text(void **state)
{
#define ADDED                                                                                                          \
	"{\"destination\":\"/a\",\"type\":\"bind\",\"source\":\"/p\",\"options\":[\"rbind\",\"rprivate\",\"ro\","      \
	"\"nosuid\",\"nodev\",\"noexec\"]}"
	static const struct {
		const char *before, *after;
	} CASES[] = {
		{ "{}", "{\"mounts\":[" ADDED "]}" },
		{ " { \"a\": 18446744073709551615 }", " {\"mounts\":[" ADDED "], \"a\": 18446744073709551615 }" },
		{ "{\"mounts\":[]}", "{\"mounts\":[" ADDED "]}" },
		{ "{\"mounts\" :\n [\n] ,\"x\":-18446744073709551615}",
		  "{\"mounts\" :\n [\n" ADDED "] ,\"x\":-18446744073709551615}" },
		{ "{\"mounts\":[{\"options\":[\"]\",\"\\\"]\"]}],\"x\":1.50e1}",
		  "{\"mounts\":[{\"options\":[\"]\",\"\\\"]\"]}," ADDED "],\"x\":1.50e1}" },
		{ "{\"x\":\"mounts\",\"y\":{\"mounts\":[1]},\"z\":[\"mounts\",[]],\"mounts\":[{}]}",
		  "{\"x\":\"mounts\",\"y\":{\"mounts\":[1]},\"z\":[\"mounts\",[]],\"mounts\":[{}," ADDED "]}" },
		{ "{\"x\":\"\\\\\",\"mounts\":[]}", "{\"x\":\"\\\\\",\"mounts\":[" ADDED "]}" },
	};
	const struct hook_mount mount = { .destination = "/a", .source = "/p" };

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_json json_t *config = NULL;
		cleanup_free char *text = NULL;
		struct err e = ERR_INIT;
		size_t len = 0;

		assert_int_equal(hook_config_parse(CASES[i].before, strlen(CASES[i].before), &config, &e), 0);
		assert_int_equal(
			hook_config_add(CASES[i].before, strlen(CASES[i].before), config, &mount, 1, &text, &len, &e),
			0);
		assert_string_equal(text, CASES[i].after);
		assert_int_equal(len, strlen(text));
	}
}

static void a_configuration_that_is_not_understood_is_refused(void **state)
{
	static const char *const BAD[] = { "",
					   "[]",
					   "{",
					   "{\"mounts\":[]",
					   "{\"a\":1,\"a\":2}",
					   "{\"mounts\":null}",
					   "{\"mounts\":{}}",
					   "{\"m\\u006funts\":[]}",
					   "{\"a\":99999999999999999999999x}" };
	const struct hook_mount mount = { .destination = "/a", .source = "/p" };

	for (size_t i = 0; i < ARRAY_SIZE(BAD); i++) {
		cleanup_json json_t *config = NULL;
		char *text = NULL;
		size_t len = strlen(BAD[i]);

		if (hook_config_parse(BAD[i], len, &config, NULL) >= 0 &&
		    hook_config_add(BAD[i], len, config, &mount, 1, &text, &len, NULL) >= 0)
			fail_msg("%s", BAD[i]);
		assert_null(text);
	}
}

static void what_is_mounted_beneath_is_found(void **state)
{
	static const char TEXT[] = "12 1 0:5 / / rw shared:1 - ext4 /dev/vda rw\n"
				   "13 12 0:6 / /a\\040b/c\\134 ro - tmpfs none rw\n"
				   "14 12 0:7 / /dev rw - tmpfs none rw\n"
				   "15 14 0:8 / /dev/pts rw - devpts none rw\n"
				   "16 12 0:8 /x/y /device/pts rw - devpts none rw\n"
				   "17 12 broken\n";
	const char *in_dev = hook_mountinfo_beneath(TEXT, "/dev"), *in_a = hook_mountinfo_beneath(TEXT, "/a b");

	assert_non_null(in_dev);
	assert_memory_equal(in_dev, "pts ", 4);
	assert_non_null(in_a);
	assert_memory_equal(in_a, "c\\134 ", 6);
	assert_null(hook_mountinfo_beneath(TEXT, "/a b/c\\"));
	assert_null(hook_mountinfo_beneath(TEXT, "/dev/pts"));
	assert_null(hook_mountinfo_beneath(TEXT, "/a"));
	assert_null(hook_mountinfo_beneath(TEXT, "/x"));
	assert_null(hook_mountinfo_beneath(TEXT, "/de"));
	assert_null(hook_mountinfo_beneath("", "/dev"));
}

static void a_mount_is_found_by_its_id(void **state)
{
	static const char TEXT[] = "12 1 0:5 / / rw shared:1 - ext4 /dev/vda rw\n"
				   "123 12 0:6 / /var/lib/pods ro - fuse.secretlet secretlet rw,x=shared:9\n"
				   "124 12 0:7 / /a\\040shared:7 rw master:1 - tmpfs none rw\n"
				   "125 12 broken\n";
	struct hook_mountinfo info;

	assert_int_equal(hook_mountinfo_find(TEXT, 12, &info), 0);
	assert_true(info.shared);
	assert_string_equal(info.fstype, "ext4");
	assert_int_equal(hook_mountinfo_find(TEXT, 123, &info), 0);
	assert_false(info.shared);
	assert_string_equal(info.fstype, "fuse.secretlet");
	assert_int_equal(hook_mountinfo_find(TEXT, 124, &info), 0);
	assert_false(info.shared);
	assert_int_equal(hook_mountinfo_find(TEXT, 1, &info), -ENOENT);
	assert_int_equal(hook_mountinfo_find(TEXT, 125, &info), -ENOENT);
	assert_int_equal(hook_mountinfo_find("", 1, &info), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_read),
		cmocka_unit_test(who_does_not_ask_is_left_alone),
		cmocka_unit_test(a_request_that_is_wrong_is_refused),
		cmocka_unit_test(the_cri_says_whose_container_it_is),
		cmocka_unit_test(who_is_started_by_hand_says_it_himself),
		cmocka_unit_test(a_sandbox_is_not_asked),
		cmocka_unit_test(a_container_is_no_sandbox),
		cmocka_unit_test(a_pod_of_the_cri_is_the_one_that_is_named),
		cmocka_unit_test(the_pod_that_is_found_is_the_one_that_was_meant),
		cmocka_unit_test(a_state_is_read),
		cmocka_unit_test(a_state_that_is_wrong_is_refused),
		cmocka_unit_test(the_root_is_beside_the_configuration_or_absolute),
		cmocka_unit_test(the_daemons_mounts_are_checked),
		cmocka_unit_test(what_is_nested_comes_last),
		cmocka_unit_test(what_would_be_hidden_is_refused),
		cmocka_unit_test(a_place_in_the_image_is_checked),
		cmocka_unit_test(mounts_are_added_to_the_text),
		cmocka_unit_test(a_configuration_that_is_not_understood_is_refused),
		cmocka_unit_test(a_mount_is_found_by_its_id),
		cmocka_unit_test(what_is_mounted_beneath_is_found),
	};

	json_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
