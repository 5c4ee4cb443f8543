/* Codec: a JSON text that is taken for a Secret, a ConfigMap, a Pod or a Status. What was accepted has valid names, stays within the
 * limits, and is the same when it is written and read once more. */
#include "test/fuzz/fuzz.h"

#include "agent/api.h"
#include "agent/cache_set.h"
#include "agent/codec.h"
#include "agent/pod_options.h"
#include "common/buf.h"
#include "common/str.h"

enum { SECMEM_BYTES = 16 << 20, ENCODED_MAX = 16 << 20 };

static json_t *parsed(const struct buf *text)
{
	json_t *doc = NULL;

	FUZZ_CHECK(json_parse(text->data, text->len, &doc, NULL) == 0);
	return doc;
}

static void check_issue(const struct json_issue *issue)
{
	FUZZ_CHECK(*issue->path && *issue->reason);
	for (const char *c = issue->path; *c; c++)
		FUZZ_CHECK((unsigned char)*c >= 0x20 && *c != 0x7f);
}

static void check_secret(const struct secret *s)
{
	size_t n_bytes = 0;

	FUZZ_CHECK(str_is_dns_label(s->ns) && str_is_dns_subdomain(s->name));
	for (size_t i = 0; i < s->n_keys; i++) {
		FUZZ_CHECK(*secret_key_problem(s->keys[i].name) == '\0');
		FUZZ_CHECK(i == 0 || strcmp(s->keys[i - 1].name, s->keys[i].name) < 0);
		FUZZ_CHECK(s->keys[i].value.off + s->keys[i].value.len <= s->block->len);
		n_bytes += s->keys[i].value.len;
	}
	FUZZ_CHECK(n_bytes <= SECRET_BYTES_MAX);
}

static void try_object(enum object_kind kind, const json_t *doc)
{
	cleanup_secret_object struct secret *s = NULL, *again = NULL;
	cleanup_buf struct buf text = BUF_INIT(ENCODED_MAX);
	cleanup_json json_t *written = NULL;
	struct json_issue issue = { .reason = "" };
	int r = codec_object(kind, doc, &s, &issue);

	FUZZ_CHECK(r == 0 || r == -EINVAL || r == -ENOMEM);
	FUZZ_CHECK((r == 0) == (s != NULL));
	if (r < 0) {
		check_issue(&issue);
		return;
	}
	check_secret(s);
	FUZZ_CHECK(cache_secret_encode(s, &text) == 0);
	written = parsed(&text);
	FUZZ_CHECK(codec_object(kind, written, &again, &issue) == 0);
	FUZZ_CHECK(secret_same(s, again));
	FUZZ_CHECK(str_eq(s->resource_version, again->resource_version));
}

static void check_pod(const struct pod *p)
{
	FUZZ_CHECK(str_is_dns_label(p->ns) && str_is_dns_subdomain(p->name));
	FUZZ_CHECK(*p->uid && !strchr(p->uid, '/') && !strchr(p->uid, '.'));
	for (size_t i = 0; i < p->n_volumes; i++) {
		const struct pod_volume *v = &p->volumes[i];

		FUZZ_CHECK(pod_find_volume(p, v->name) == v && (v->default_mode & ~(mode_t)0777) == 0);
		if (v->error) {
			FUZZ_CHECK(v->n_sources == 0 && *v->error);
			continue;
		}
		FUZZ_CHECK(v->kind == POD_VOLUME_OTHER || str_is_dns_label(v->name));
		FUZZ_CHECK(v->kind != POD_VOLUME_SECRET || v->n_sources == 1);
		FUZZ_CHECK(v->kind != POD_VOLUME_OTHER || v->n_sources == 0);
		for (size_t j = 0; j < v->n_sources; j++)
			FUZZ_CHECK(v->sources[j].kind >= POD_SOURCE_DOWNWARD_API ||
				   str_is_dns_subdomain(v->sources[j].name));
	}
	for (size_t i = 0; i < p->n_containers; i++)
		FUZZ_CHECK(pod_find_container(p, p->containers[i].name) == &p->containers[i]);
}

static bool file_options_same(const struct pod_file_options *a, const struct pod_file_options *b)
{
	return a->has_owner == b->has_owner && a->has_group == b->has_group && a->has_mode == b->has_mode &&
	       a->owner == b->owner && a->group == b->group && a->mode == b->mode;
}

/* What is asked of the pod's volumes is possible, and the same when it was written and read once more. */
static void check_options(const struct pod *a, const struct pod *b)
{
	FUZZ_CHECK(a->n_volumes == b->n_volumes && a->n_mistakes <= POD_MISTAKES_MAX);
	for (size_t i = 0; i < a->n_mistakes; i++)
		FUZZ_CHECK(*a->mistakes[i].text && !a->mistakes[i].line == !a->mistakes[i].column);
	for (size_t i = 0; i < a->n_volumes; i++) {
		const struct pod_volume *v = &a->volumes[i], *w = &b->volumes[i];

		FUZZ_CHECK(!v->option_error || a->n_mistakes > 0);
		if (v->error) /* written as one that is not served */
			continue;
		FUZZ_CHECK(v->live == w->live && v->layout == w->layout && v->on_change == w->on_change);
		FUZZ_CHECK(v->on_change >= 0 && v->on_change < 32 && (v->files.mode & ~(mode_t)0777) == 0);
		FUZZ_CHECK(v->files.owner != (uid_t)-1 && v->files.group != (gid_t)-1);
		FUZZ_CHECK(str_eq(v->option_error, w->option_error));
		FUZZ_CHECK(file_options_same(&v->files, &w->files) && v->n_keys == w->n_keys);
		for (size_t j = 0; j < v->n_keys; j++) {
			FUZZ_CHECK(str_eq(v->keys[j].path, w->keys[j].path));
			FUZZ_CHECK(file_options_same(&v->keys[j].files, &w->keys[j].files));
			FUZZ_CHECK(v->option_error || j == 0 || strcmp(v->keys[j - 1].path, v->keys[j].path) < 0);
		}
	}
}

static void try_pod(const json_t *doc)
{
	cleanup_pod struct pod *p = NULL, *again = NULL;
	cleanup_buf struct buf text = BUF_INIT(ENCODED_MAX), text_again = BUF_INIT(ENCODED_MAX);
	cleanup_json json_t *written = NULL;
	struct json_issue issue = { .reason = "" };
	int r = codec_pod(doc, &p, &issue);

	FUZZ_CHECK(r == 0 || r == -EINVAL || r == -ENOMEM);
	FUZZ_CHECK((r == 0) == (p != NULL));
	if (r < 0) {
		check_issue(&issue);
		return;
	}
	check_pod(p);
	FUZZ_CHECK(cache_pod_encode(p, &text) == 0);
	written = parsed(&text);
	FUZZ_CHECK(codec_pod(written, &again, &issue) == 0);
	check_options(p, again);
	FUZZ_CHECK(cache_pod_encode(again, &text_again) == 0);
	FUZZ_CHECK(str_eq(text.data, text_again.data));
}

static void try_status(const json_t *doc, const uint8_t *data, size_t size)
{
	struct api_failure f;

	api_failure_from_body(500, (const char *)data, size, &f);
	FUZZ_CHECK(f.err.code < 0 && *err_text(&f.err));
	api_failure_from_status(doc, &f);
	FUZZ_CHECK(f.retry_after_sec >= -1 && f.err.code < 0);
	api_failure_is_expired(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool is_set_up;
	cleanup_json json_t *doc = NULL;
	struct err e = ERR_INIT;
	int r;

	if (!is_set_up) {
		json_setup();
		FUZZ_CHECK(secmem_init(SECMEM_BYTES, NULL) == 0);
		is_set_up = true;
	}
	r = json_parse((const char *)data, size, &doc, &e);
	if (r < 0) {
		FUZZ_CHECK(*err_text(&e));
		return 0;
	}
	try_object(OBJECT_SECRET, doc);
	try_object(OBJECT_CONFIG_MAP, doc);
	try_pod(doc);
	try_status(doc, data, size);
	FUZZ_CHECK(secmem_stats().n_blocks == 0);
	return 0;
}
