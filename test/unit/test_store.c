/* Store: references and what a source says of them (kubelet-parity 8.6: only what is referenced is fetched, counted). */
#include "agent/store.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "common/map.h"

/* A source that only counts. */
static struct fake {
	struct source base;
	int n_wants, n_unwants, refuse;
	char last[128];
} fake;
static int n_changes;

static int fake_want(struct source *s, enum object_kind kind, const char *ns, const char *name)
{
	if (fake.refuse)
		return fake.refuse;
	fake.n_wants++;
	snprintf(fake.last, sizeof(fake.last), "%s%s/%s", kind == OBJECT_SECRET ? "" : "configmap ", ns, name);
	return 0;
}

static void fake_unwant(struct source *s, enum object_kind kind, const char *ns, const char *name)
{
	fake.n_unwants++;
	snprintf(fake.last, sizeof(fake.last), "%s%s/%s", kind == OBJECT_SECRET ? "" : "configmap ", ns, name);
}

static const struct source_vtable fake_vtable = { .want = fake_want, .unwant = fake_unwant };

static void on_change(void *userdata, const struct store_entry *entry)
{
	n_changes++;
}

static int setup(void **state)
{
	struct store *st;

	fake = (struct fake){ .base = { .vtable = &fake_vtable } };
	n_changes = 0;
	assert_int_equal(store_new(on_change, NULL, &st), 0);
	store_set_source(st, &fake.base);
	*state = st;
	return 0;
}

static int teardown(void **state)
{
	store_free(*state);
	return 0;
}

static struct secret *secret_make(const char *rv)
{
	struct secret *s;

	assert_int_equal(secret_new(&s), 0);
	s->ns = strdup("ns");
	s->name = strdup("a");
	s->uid = strdup("u");
	s->type = strdup("Opaque");
	s->resource_version = strdup(rv);
	return s;
}

static void many_references_are_one_want_and_one_unwant(void **state)
{
	const struct store_entry *e[20];
	struct store *st = *state;

	for (size_t i = 0; i < ARRAY_SIZE(e); i++)
		assert_int_equal(store_ref(st, OBJECT_SECRET, "ns", "a", &e[i]), 0);
	assert_int_equal(fake.n_wants, 1);
	assert_ptr_equal(e[0], e[19]);
	assert_int_equal(e[0]->n_refs, 20);
	for (size_t i = 0; i < ARRAY_SIZE(e); i++) {
		assert_int_equal(fake.n_unwants, 0);
		store_unref(st, e[i]);
	}
	assert_int_equal(fake.n_unwants, 1);
	assert_null(store_find(st, OBJECT_SECRET, "ns", "a"));
}

static void the_same_name_in_two_namespaces_is_two_secrets(void **state)
{
	const struct store_entry *a, *b;
	struct store *st = *state;

	assert_int_equal(store_ref(st, OBJECT_SECRET, "ns1", "a", &a), 0);
	assert_int_equal(store_ref(st, OBJECT_SECRET, "ns2", "a", &b), 0);
	assert_ptr_not_equal(a, b);
	assert_string_equal(a->ns, "ns1");
	assert_string_equal(b->ns, "ns2");
	store_unref(st, a);
	assert_string_equal(fake.last, "ns1/a");
	assert_ptr_equal(store_find(st, OBJECT_SECRET, "ns2", "a"), b);
	store_unref(st, b);
}

static void an_error_keeps_the_last_good_revision(void **state)
{
	cleanup_secret_object struct secret *s = secret_make("7");
	struct store *st = *state;
	const struct store_entry *a;
	struct err e = ERR_INIT;

	assert_int_equal(store_ref(st, OBJECT_SECRET, "ns", "a", &a), 0);
	assert_int_equal(a->state, STORE_UNSYNCED);
	store_object_changed(st, OBJECT_SECRET, "ns", "a", s);
	assert_int_equal(a->state, STORE_PRESENT);
	err_set(&e, -EIO, "connection refused");
	store_object_failed(st, OBJECT_SECRET, "ns", "a", &e);
	assert_int_equal(a->state, STORE_PRESENT);
	assert_ptr_equal(a->secret, s);
	assert_string_equal(a->error, "connection refused");
	store_object_changed(st, OBJECT_SECRET, "ns", "a", s);
	assert_string_equal(a->error, "");
	store_object_changed(st, OBJECT_SECRET, "ns", "a", NULL);
	assert_int_equal(a->state, STORE_ABSENT);
	assert_null(a->secret);
	assert_int_equal(n_changes, 4);
	store_unref(st, a);
}

static void an_error_before_the_first_answer_leaves_it_unsynced(void **state)
{
	struct store *st = *state;
	const struct store_entry *a;
	struct err e = ERR_INIT;

	assert_int_equal(store_ref(st, OBJECT_SECRET, "ns", "a", &a), 0);
	err_set(&e, -EACCES, "forbidden");
	store_object_failed(st, OBJECT_SECRET, "ns", "a", &e);
	assert_int_equal(a->state, STORE_UNSYNCED);
	assert_string_equal(a->error, "forbidden");
	store_unref(st, a);
}

static void words_about_what_nobody_wants_are_ignored(void **state)
{
	cleanup_secret_object struct secret *s = secret_make("7");
	struct store *st = *state;
	struct err e = ERR_INIT;

	err_set(&e, -EIO, "x");
	store_object_changed(st, OBJECT_SECRET, "ns", "a", s);
	store_object_failed(st, OBJECT_SECRET, "ns", "a", &e);
	assert_int_equal(n_changes, 0);
	assert_null(store_find(st, OBJECT_SECRET, "ns", "a"));
	assert_int_equal(s->refs, 1);
}

static bool no_memory;

#ifndef __SANITIZE_ADDRESS__ /* it has its own */
/* glibc's, so that they can fail. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t size);
void *malloc(size_t size)
{
	return no_memory ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return no_memory ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
	return no_memory ? NULL : __libc_realloc(old, size);
}

#endif

static void no_word_is_lost_for_want_of_memory(void **state)
{
	cleanup_secret_object struct secret *s = secret_make("7");
	const struct store_entry *a, *found;
	struct store *st = *state;
	struct err e = ERR_INIT;

	assert_int_equal(store_ref(st, OBJECT_SECRET, "ns", "a", &a), 0);
	err_set(&e, -EIO, "x");
	no_memory = true;
	store_object_failed(st, OBJECT_SECRET, "ns", "a", &e);
	store_object_changed(st, OBJECT_SECRET, "ns", "a", s);
	found = store_find(st, OBJECT_SECRET, "ns", "a");
	no_memory = false;
	assert_int_equal(n_changes, 2);
	assert_ptr_equal(a->secret, s);
	assert_ptr_equal(found, a);
	no_memory = true;
	store_unref(st, a);
	no_memory = false;
	assert_int_equal(fake.n_unwants, 1);
}

static void a_source_that_refuses_leaves_nothing_behind(void **state)
{
	const struct store_entry *a = NULL;
	struct store *st = *state;

	fake.refuse = -ENOMEM;
	assert_int_equal(store_ref(st, OBJECT_SECRET, "ns", "a", &a), -ENOMEM);
	assert_null(a);
	assert_null(store_find(st, OBJECT_SECRET, "ns", "a"));
	fake.refuse = 0;
	assert_int_equal(store_ref(st, OBJECT_SECRET, "ns", "a", &a), 0);
	store_unref(st, a);
}

#define with_store(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static void objects_of_two_kinds_have_nothing_to_do_with_each_other(void **state)
{
	cleanup_secret_object struct secret *s = secret_make("1");
	const struct store_entry *secret, *config_map;
	struct store *st = *state;

	assert_int_equal(store_ref(st, OBJECT_SECRET, "ns", "a", &secret), 0);
	assert_int_equal(store_ref(st, OBJECT_CONFIG_MAP, "ns", "a", &config_map), 0);
	assert_int_equal(fake.n_wants, 2);
	assert_string_equal(fake.last, "configmap ns/a");
	assert_int_equal(config_map->kind, OBJECT_CONFIG_MAP);
	store_object_changed(st, OBJECT_CONFIG_MAP, "ns", "a", s);
	assert_int_equal(config_map->state, STORE_PRESENT);
	assert_int_equal(secret->state, STORE_UNSYNCED);
	assert_ptr_equal(store_find(st, OBJECT_SECRET, "ns", "a"), secret);
	store_unref(st, config_map);
	assert_string_equal(fake.last, "configmap ns/a");
	assert_null(store_find(st, OBJECT_CONFIG_MAP, "ns", "a"));
	store_unref(st, secret);
	assert_string_equal(fake.last, "ns/a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_store(many_references_are_one_want_and_one_unwant),
		with_store(objects_of_two_kinds_have_nothing_to_do_with_each_other),
		with_store(the_same_name_in_two_namespaces_is_two_secrets),
		with_store(an_error_keeps_the_last_good_revision),
		with_store(an_error_before_the_first_answer_leaves_it_unsynced),
		with_store(words_about_what_nobody_wants_are_ignored),
		with_store(no_word_is_lost_for_want_of_memory),
		with_store(a_source_that_refuses_leaves_nothing_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
