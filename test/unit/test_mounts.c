/* Mounts: the OCI mounts of one container. */
#include "agent/mounts.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "common/str.h"

#define S(text) ((char[]){ text })

static char *env_text = S("{\"env\":[{\"name\":\"X\",\"value\":\"a\"}]}");

static struct pod_volume volumes[] = {
	{ .name = S("creds"), .kind = POD_VOLUME_SECRET },
	{ .name = S("all"), .kind = POD_VOLUME_PROJECTED },
	{ .name = S("scratch"), .kind = POD_VOLUME_OTHER },
	{ .name = S("live"), .kind = POD_VOLUME_SECRET, .live = true },
};
static struct pod_mount web_mounts[] = {
	{ .volume = S("scratch"), .mount_path = S("/tmp") },
	{ .volume = S("creds"), .mount_path = S("/etc/creds") },
	{ .volume = S("creds"), .mount_path = S("/etc/pw"), .sub_path = S("password") },
};
static struct pod_mount dotdot_mount = { .volume = S("creds"), .mount_path = S("/x"), .sub_path = S("a/../../b") };
static struct pod_mount absolute_mount = { .volume = S("creds"), .mount_path = S("/x"), .sub_path = S("/etc/shadow") };
static struct pod_mount expr_mount = { .volume = S("creds"), .mount_path = S("/x"), .sub_path_expr = S("$(X)/k") };
static struct pod_mount projected_mount = { .volume = S("all"), .mount_path = S("/all") };
static struct pod_mount live_mounts[] = {
	{ .volume = S("live"), .mount_path = S("/whole") },
	{ .volume = S("live"), .mount_path = S("/one"), .sub_path = S("dir/key") },
	{ .volume = S("live"), .mount_path = S("/old"), .sub_path = S("..data/key") },
	{ .volume = S("creds"), .mount_path = S("/other"), .sub_path = S("key") },
};
static struct pod_container containers[] = {
	{ .name = S("web"), .mounts = web_mounts, .n_mounts = 3 },
	{ .name = S("dotdot"), .mounts = &dotdot_mount, .n_mounts = 1 },
	{ .name = S("absolute"), .mounts = &absolute_mount, .n_mounts = 1 },
	{ .name = S("expr"), .mounts = &expr_mount, .n_mounts = 1 },
	{ .name = S("projected"), .mounts = &projected_mount, .n_mounts = 1 },
	{ .name = S("none") },
	{ .name = S("live"), .mounts = live_mounts, .n_mounts = ARRAY_SIZE(live_mounts) },
};

/* Pods come from the codec; this one is put together by hand but made by pod_new(). */
static struct pod *pod_make(void)
{
	static struct pod *pod;

	assert_int_equal(pod_new(&pod), 0);
	pod->ns = strdup("default");
	pod->name = strdup("p");
	pod->uid = strdup("1-2-3");
	pod->volumes = volumes;
	pod->n_volumes = ARRAY_SIZE(volumes);
	pod->containers = containers;
	pod->n_containers = ARRAY_SIZE(containers);
	return pod;
}

/* As the control socket asks, for a container whose environment is X=a. */
static int make(const struct pod *pod, const char *container, const char *pods_dir, json_t **ret, struct err *e)
{
	const struct environment_options options = { .find = NULL };
	cleanup_environment struct environment *env = NULL;
	struct pod_container maker = { .name = S("maker"), .env = env_text };
	const struct pod_container *c = NULL;
	int r;

	r = mounts_find_container(pod, container, &c, e);
	if (r < 0)
		return r;
	assert_int_equal(mounts_need_environment(pod, c), str_eq(container, "expr"));
	assert_int_equal(environment_make(pod, &maker, &options, &env, NULL), 0);
	return mounts_make(pod, c, pods_dir, env, ret, e);
}

static void pod_drop(struct pod *pod)
{
	pod->volumes = NULL;
	pod->n_volumes = 0;
	pod->containers = NULL;
	pod->n_containers = 0;
	pod_unref(pod);
}

static void a_container_gets_its_secret_mounts_and_no_others(void **state)
{
	cleanup_json json_t *expected =
		json_pack("[{s:s, s:s, s:s, s:[s,s,s,s,s]}, {s:s, s:s, s:s, s:[s,s,s,s,s]}]", "destination",
			  "/etc/creds", "type", "bind", "source", "/pods/1-2-3/volumes/kubernetes.io~secret/creds",
			  "options", "rbind", "ro", "nosuid", "nodev", "noexec", "destination", "/etc/pw", "type",
			  "bind", "source", "/pods/1-2-3/volumes/kubernetes.io~secret/creds/password", "options",
			  "rbind", "ro", "nosuid", "nodev", "noexec");
	cleanup_json json_t *mounts = NULL;
	struct pod *pod = pod_make();
	struct err e = ERR_INIT;

	assert_non_null(expected);
	assert_int_equal(make(pod, "web", "/pods", &mounts, &e), 0);
	assert_true(json_equal(mounts, expected));
	pod_drop(pod);
}

static void a_projected_volume_is_in_its_own_folder(void **state)
{
	cleanup_json json_t *mounts = NULL;
	struct pod *pod = pod_make();
	struct err e = ERR_INIT;

	assert_int_equal(make(pod, "projected", "/pods", &mounts, &e), 0);
	assert_int_equal(json_array_size(mounts), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(mounts, 0), "source")),
			    "/pods/1-2-3/volumes/kubernetes.io~projected/all");
	pod_drop(pod);
}

static void sub_paths_of_a_live_volume_lead_to_live_files(void **state)
{
	static const char *const sources[] = {
		"/pods/1-2-3/volumes/kubernetes.io~secret/live",
		"/pods/1-2-3/live/live/dir/key",
		/* has no live file: names that start with two dots are those of versions */
		"/pods/1-2-3/volumes/kubernetes.io~secret/live/..data/key",
		"/pods/1-2-3/volumes/kubernetes.io~secret/creds/key",
	};
	cleanup_json json_t *mounts = NULL;
	struct pod *pod = pod_make();
	struct err e = ERR_INIT;

	assert_int_equal(make(pod, "live", "/pods", &mounts, &e), 0);
	assert_int_equal(json_array_size(mounts), ARRAY_SIZE(sources));
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
		assert_string_equal(json_string_value(json_object_get(json_array_get(mounts, i), "source")),
				    sources[i]);
	pod_drop(pod);
}

static void an_expression_is_made_of_the_environment(void **state)
{
	static const struct {
		const char *value, *source, *words;
	} cases[] = {
		{ "a", "/pods/1-2-3/volumes/kubernetes.io~secret/creds/a/k", NULL },
		{ "b/c", "/pods/1-2-3/volumes/kubernetes.io~secret/creds/b/c/k", NULL },
		{ "$$(X)", "/pods/1-2-3/volumes/kubernetes.io~secret/creds/$(X)/k", NULL },
		{ "..", NULL, "must not contain '..'" },
		{ "a/..", NULL, "must not contain '..'" },
		{ "/etc", NULL, "must be relative" },
		{ "", NULL, "subPathExpr: missing value for X" },
	};
	struct pod *pod = pod_make();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_json json_t *mounts = NULL;
		struct err e = ERR_INIT;
		char text[128];
		int r;

		snprintf(text, sizeof(text), "{\"env\":[{\"name\":\"X\",\"value\":\"%s\"}]}", cases[i].value);
		env_text = text;
		r = make(pod, "expr", "/pods", &mounts, &e);
		assert_int_equal(r, cases[i].source ? 0 : -EINVAL);
		if (cases[i].source)
			assert_string_equal(json_string_value(json_object_get(json_array_get(mounts, 0), "source")),
					    cases[i].source);
		else
			assert_non_null(strstr(err_text(&e), cases[i].words));
	}
	env_text = NULL;
	pod_drop(pod);
}

static void a_container_without_secrets_gets_an_empty_list(void **state)
{
	cleanup_json json_t *mounts = NULL;
	struct pod *pod = pod_make();
	struct err e = ERR_INIT;

	assert_int_equal(make(pod, "none", "/pods", &mounts, &e), 0);
	assert_int_equal(json_array_size(mounts), 0);
	pod_drop(pod);
}

static void what_cannot_be_mounted_is_refused_by_name(void **state)
{
	static const struct {
		const char *container;
		int r;
		const char *words;
	} cases[] = {
		{ "nobody", -ENOENT,
		  "has no container nobody (it has: web, dotdot, absolute, expr, projected, none, live)" },
		{ "dotdot", -EINVAL, "must not contain '..'" },
		{ "absolute", -EINVAL, "must be relative" },
		{ "expr", -EINVAL, "volume mount creds of pod default/p: subPathExpr: missing value for X" },
	};
	struct pod *pod = pod_make();

	env_text = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *mounts = NULL;
		struct err e = ERR_INIT;

		assert_int_equal(make(pod, cases[i].container, "/p", &mounts, &e), cases[i].r);
		assert_null(mounts);
		assert_non_null(strstr(err_text(&e), cases[i].words));
	}
	pod_drop(pod);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_container_gets_its_secret_mounts_and_no_others),
		cmocka_unit_test(a_projected_volume_is_in_its_own_folder),
		cmocka_unit_test(sub_paths_of_a_live_volume_lead_to_live_files),
		cmocka_unit_test(an_expression_is_made_of_the_environment),
		cmocka_unit_test(a_container_without_secrets_gets_an_empty_list),
		cmocka_unit_test(what_cannot_be_mounted_is_refused_by_name),
	};

	json_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
