/* Expansion: the cases of Kubernetes' expand_test.go, and what is dangerous. */
#include "agent/expansion.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/str.h"

static int value_of(void *userdata, const char *name, size_t len, struct buf *out)
{
	static const char *const VARIABLES[][2] = {
		{ "VAR_A", "A" }, { "VAR_B", "B" }, { "VAR_C", "C" }, { "VAR_REF", "$(VAR_A)" }, { "VAR_EMPTY", "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(VARIABLES); i++)
		if (strlen(VARIABLES[i][0]) == len && memcmp(VARIABLES[i][0], name, len) == 0)
			return buf_add_str(out, VARIABLES[i][1]);
	return EXPANSION_UNDEFINED;
}

static void it_is_kubernetes_expansion(void **state)
{
	static const char *const CASES[][2] = {
		{ "", "" },
		{ "$(VAR_A)", "A" },
		{ "$(VAR_A)-$(VAR_A)", "A-A" },
		{ "$(VAR_A)-1", "A-1" },
		{ "___$(VAR_B)___", "___B___" },
		{ "___$(VAR_C)", "___C" },
		{ "$(VAR_A)_$(VAR_B)_$(VAR_C)", "A_B_C" },
		{ "$$(VAR_B)_$(VAR_A)", "$(VAR_B)_A" },
		{ "$$(VAR_A)_$$(VAR_B)", "$(VAR_A)_$(VAR_B)" },
		{ "f000-$$VAR_A", "f000-$VAR_A" },
		{ "foo\\$(VAR_C)bar", "foo\\Cbar" },
		{ "foo\\\\$(VAR_C)bar", "foo\\\\Cbar" },
		{ "foo\\\\\\\\$(VAR_A)bar", "foo\\\\\\\\Abar" },
		{ "$(VAR_A$(VAR_B))", "$(VAR_A$(VAR_B))" },
		{ "$(VAR_A$(VAR_B)", "$(VAR_A$(VAR_B)" },
		{ "$(VAR_REF)", "$(VAR_A)" },
		{ "%%$(VAR_REF)--$(VAR_REF)%%", "%%$(VAR_A)--$(VAR_A)%%" },
		{ "foo$(VAR_EMPTY)bar", "foobar" },
		{ "foo$(VAR_Awhoops!", "foo$(VAR_Awhoops!" },
		{ "f00__(VAR_A)__", "f00__(VAR_A)__" },
		{ "$?_boo_$!", "$?_boo_$!" },
		{ "$VAR_A", "$VAR_A" },
		{ "$(VAR_DNE)", "$(VAR_DNE)" },
		{ "$$$$$$(BIG_MONEY)", "$$$(BIG_MONEY)" },
		{ "$$$$$$(VAR_A)", "$$$(VAR_A)" },
		{ "$$$$$$$(GOOD_ODDS)", "$$$$(GOOD_ODDS)" },
		{ "$$$$$$$(VAR_A)", "$$$A" },
		{ "$VAR_A)", "$VAR_A)" },
		{ "${VAR_A}", "${VAR_A}" },
		{ "$(VAR_B)_______$(A", "B_______$(A" },
		{ "$(VAR_C)_______$(", "C_______$(" },
		{ "$(VAR_A)foobarzab$", "Afoobarzab$" },
		{ "foo-\\$(VAR_A", "foo-\\$(VAR_A" },
		{ "--$($($($($--", "--$($($($($--" },
		{ "$($($($($--foo$(", "$($($($($--foo$(" },
		{ "foo0--$($($($(", "foo0--$($($($(" },
		{ "$(foo$$var)", "$(foo$$var)" },
		{ "\n", "\n" },
		/* further ones */
		{ "$()", "$()" },
		{ "$", "$" },
		{ "$$", "$" },
		{ "a)$(VAR_A)", "a)A" },
		{ "$(VAR_A)$(VAR_B", "A$(VAR_B" },
		{ "$\xc3\xbc", "$\xc3\xbc" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_buf struct buf out = BUF_INIT(1024);

		assert_int_equal(expansion_expand(CASES[i][0], value_of, NULL, &out), 0);
		if (!str_eq(out.data ?: "", CASES[i][1]))
			fail_msg("%s becomes %s, not %s", CASES[i][0], out.data ?: "", CASES[i][1]);
	}
}

static int refuse(void *userdata, const char *name, size_t len, struct buf *out)
{
	return -EPERM;
}

static void what_the_callback_refuses_ends_it(void **state)
{
	cleanup_buf struct buf out = BUF_INIT(1024);

	assert_int_equal(expansion_expand("a$(X)b", refuse, NULL, &out), -EPERM);
}

static void it_keeps_to_the_limit(void **state)
{
	cleanup_buf struct buf out = BUF_INIT(8), fits = BUF_INIT(9);

	assert_int_equal(expansion_expand("12345678$(VAR_A)", value_of, NULL, &out), -ENOBUFS);
	assert_int_equal(expansion_expand("12345678$(VAR_A)", value_of, NULL, &fits), 0);
	assert_string_equal(fits.data, "12345678A");
}

/* Quadratic in the length, half a million of them would take minutes. */
static void references_that_are_never_closed_cost_little(void **state)
{
	const size_t n = 1 << 20;
	cleanup_buf struct buf out = BUF_INIT(n);
	char *text = malloc(n + 1);
	uint64_t before = clock_monotonic_usec();

	assert_non_null(text);
	for (size_t i = 0; i < n; i++)
		text[i] = i % 2 ? '(' : '$';
	text[n] = '\0';
	assert_int_equal(expansion_expand(text, value_of, NULL, &out), 0);
	assert_string_equal(out.data, text);
	assert_true(clock_monotonic_usec() - before < 5 * USEC_PER_SEC);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_kubernetes_expansion),
		cmocka_unit_test(what_the_callback_refuses_ends_it),
		cmocka_unit_test(it_keeps_to_the_limit),
		cmocka_unit_test(references_that_are_never_closed_cost_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
