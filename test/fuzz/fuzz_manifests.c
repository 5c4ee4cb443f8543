/* Manifests: one text, with and without keys for what is sealed. What was accepted has valid names; what was refused has
 * file and line; a second reading gives the same. */
#include "test/fuzz/fuzz.h"

#include "agent/manifest.h"
#include "agent/yaml.h"
#include "common/str.h"

enum { SECMEM_BYTES = 16 << 20 };

struct parsed {
	struct manifest_object *objects;
	size_t n;
};

static void check_place(const char *text)
{
	FUZZ_CHECK(str_starts(text, "f.yaml:") && text[7] >= '1' && text[7] <= '9');
	for (const char *c = text; *c; c++)
		FUZZ_CHECK((unsigned char)*c >= 0x20 && *c != 0x7f);
}

static void check_source(const struct pod_volume_source *s)
{
	FUZZ_CHECK(s->kind >= POD_SOURCE_DOWNWARD_API || str_is_dns_subdomain(s->name));
	for (size_t i = 0; i < s->n_items; i++) {
		FUZZ_CHECK(s->items[i].path[0] != '/' && !str_has_dotdot(s->items[i].path));
		FUZZ_CHECK((s->items[i].mode & ~(mode_t)0777) == 0);
	}
}

static void check_good(const struct manifest_object *o)
{
	FUZZ_CHECK(o->kind != MANIFEST_UNKNOWN && o->key && str_is_dns_label(o->ns) && str_is_dns_subdomain(o->name));
	FUZZ_CHECK((o->secret != NULL) == (o->kind == MANIFEST_SECRET || o->kind == MANIFEST_CONFIG_MAP) &&
		   (o->pod != NULL) == (o->kind == MANIFEST_POD));
	size_t n = 0;

	for (size_t i = 0; o->secret && i < o->secret->n_keys; i++)
		FUZZ_CHECK(*secret_key_problem(o->secret->keys[i].name) == '\0');
	if (o->pod)
		FUZZ_CHECK(*o->pod->uid && !strpbrk(o->pod->uid, "./") && !str_eq(o->pod->uid, "by-name"));
	for (size_t i = 0; o->pod && i < o->pod->n_volumes; i++) {
		const struct pod_volume *v = &o->pod->volumes[i];

		FUZZ_CHECK(str_is_dns_label(v->name));
		for (size_t k = 0; k < v->n_sources; k++) {
			FUZZ_CHECK(o->volumes[n++].line > 0);
			check_source(&v->sources[k]);
		}
	}
}

static void check(const struct manifest_object *o)
{
	FUZZ_CHECK(o->line > 0 && o->n_warnings <= MANIFEST_WARNINGS_MAX);
	for (size_t i = 0; i < o->n_warnings; i++)
		check_place(o->warnings[i]->text);
	if (o->problem)
		check_place(o->problem->text);
	else
		check_good(o);
}

static int parse(const uint8_t *data, size_t size, const struct sealing_keys *keys, struct parsed *p)
{
	uint64_t revision = 1;
	struct err e = ERR_INIT;
	int r = manifest_parse("f.yaml", (const char *)data, size, keys, &revision, &p->objects, &p->n, &e);

	FUZZ_CHECK(r == 0 || r == -EINVAL || r == -E2BIG || r == -ENOMEM);
	if (r == -EINVAL)
		check_place(err_text(&e));
	return r;
}

static void check_same(const struct manifest_object *a, const struct manifest_object *b)
{
	FUZZ_CHECK(a->kind == b->kind && a->line == b->line && a->column == b->column && !a->problem == !b->problem);
	FUZZ_CHECK(str_eq(a->key, b->key));
	FUZZ_CHECK(!a->secret || secret_same(a->secret, b->secret));
	FUZZ_CHECK(!a->pod || str_eq(a->pod->uid, b->pod->uid));
}

static void try(const uint8_t *data, size_t size, const struct sealing_keys *keys)
{
	struct parsed one = { .n = 0 }, two = { .n = 0 };
	int r = parse(data, size, keys, &one);

	FUZZ_CHECK(parse(data, size, keys, &two) == r && one.n == two.n);
	for (size_t i = 0; i < one.n; i++) {
		check(&one.objects[i]);
		check_same(&one.objects[i], &two.objects[i]);
	}
	manifest_objects_free(one.objects, one.n);
	manifest_objects_free(two.objects, two.n);
	FUZZ_CHECK(secmem_stats().n_blocks == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool is_set_up;

	if (!is_set_up) {
		json_setup();
		FUZZ_CHECK(secmem_init(SECMEM_BYTES, NULL) == 0);
		is_set_up = true;
	}
	try(data, size, NULL);
	try(data, size, sealing_form_only());
	return 0;
}
