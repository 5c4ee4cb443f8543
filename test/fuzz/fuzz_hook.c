/* Hook: states, annotations, configurations and lists of mounts, as a runtime, whoever starts containers, or a daemon that
 * was taken over might have them. The first byte says which. */
#include "test/fuzz/fuzz.h"

#include "agent/hook.h"
#include "common/str.h"

static void try_state(const char *text, size_t len)
{
	struct hook_request req = { .container = NULL };
	cleanup_json json_t *doc = NULL;
	struct err e = ERR_INIT;
	struct hook_state s;
	int r;

	if (json_parse(text, len, &doc, &e) < 0)
		return;
	r = hook_request_read(doc, &req, &e);
	FUZZ_CHECK(r == 0 || r == HOOK_NOT_ASKED || *err_text(&e));
	if (r == 0)
		FUZZ_CHECK(*req.pod && *hook_request_ref(&req) && str_is_dns_label(req.container) &&
			   req.timeout_usec <= HOOK_WAIT_MAX_USEC && !req.ns == !req.name && (req.ns || !req.uid));
	if (hook_state_read(doc, &s, &e) == 0)
		FUZZ_CHECK(*s.id && s.bundle[0] == '/' && s.pid > 1);
}

static void try_mounts(const char *text, size_t len)
{
	cleanup_json json_t *doc = NULL;
	struct hook_mount *mounts = NULL;
	struct err e = ERR_INIT;
	size_t n = 0;

	if (json_parse(text, len, &doc, &e) < 0)
		return;
	if (hook_mounts_read(doc, &mounts, &n, &e) == 0) {
		FUZZ_CHECK(n == json_array_size(doc));
		for (size_t i = 0; i < n; i++)
			FUZZ_CHECK(mounts[i].source[0] == '/' && mounts[i].destination[0] == '/' &&
				   !str_has_dotdot(mounts[i].source) && !str_has_dotdot(mounts[i].destination));
	}
	free(mounts);
}

/* What comes out is what went in, with one mount more, and nothing else has changed. */
static void try_config(const char *text, size_t len)
{
	const struct hook_mount mount = { .destination = "/a", .source = "/p" };
	cleanup_json json_t *before = NULL, *after = NULL;
	cleanup_free char *changed = NULL, *rootfs = NULL;
	struct err e = ERR_INIT, place_e = ERR_INIT;
	size_t changed_len = 0, n;
	int r;

	if (hook_config_parse(text, len, &before, &e) < 0)
		return;
	if (hook_config_rootfs(before, "/bundle", &rootfs, &e) == 0)
		FUZZ_CHECK(rootfs[0] == '/');
	r = hook_mounts_check(before, &mount, 1, &e);
	FUZZ_CHECK(r == 0 || (r == -EINVAL && *err_text(&e)));
	r = hook_place_check(json_object_get(before, "mounts"), "/a/b", "/a", &place_e);
	FUZZ_CHECK(r == 0 || r == HOOK_COVERED || (r == -EINVAL && *err_text(&place_e)));
	if (hook_config_add(text, len, before, &mount, 1, &changed, &changed_len, &e) < 0)
		return;
	FUZZ_CHECK(hook_config_parse(changed, changed_len, &after, &e) == 0);
	n = json_array_size(json_object_get(after, "mounts"));
	FUZZ_CHECK(n == json_array_size(json_object_get(before, "mounts")) + 1);
	FUZZ_CHECK(str_eq(json_string_value(json_object_get(json_array_get(json_object_get(after, "mounts"), n - 1),
							    "destination")),
			  mount.destination));
	FUZZ_CHECK(json_array_remove(json_object_get(after, "mounts"), n - 1) == 0);
	if (!json_object_get(before, "mounts"))
		FUZZ_CHECK(json_object_del(after, "mounts") == 0);
	FUZZ_CHECK(json_equal(before, after));
}

static void try_mountinfo(const char *text)
{
	struct hook_mountinfo info;
	const char *beneath;

	if (hook_mountinfo_find(text, 1, &info) == 0)
		FUZZ_CHECK(strlen(info.fstype) < sizeof(info.fstype));
	beneath = hook_mountinfo_beneath(text, "/a b");
	FUZZ_CHECK(!beneath || (beneath > text && beneath < text + strlen(text) && beneath[-1] == '/'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { .data = data, .len = size };
	uint8_t what = fuzz_u8(&in);
	cleanup_free char *text = fuzz_text(in);

	json_setup();
	switch (what % 4) {
	case 0:
		try_state(text, in.len);
		break;
	case 1:
		try_config(text, in.len);
		break;
	case 2:
		try_mounts(text, in.len);
		break;
	default:
		try_mountinfo(text);
	}
	return 0;
}
