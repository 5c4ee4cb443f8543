/* Thin JSON: any text is the same document to json_parse_thin() as it is to json_parse(), lists named managedFields aside, or is
 * refused in the same words. Only what is wrong inside such a list may go unnoticed. */
#include "test/fuzz/fuzz.h"

#include "common/json_thin.h"
#include "common/str.h"

static void empty_managed_fields(json_t *value)
{
	const char *key;
	json_t *member;
	void *next;
	size_t i;

	json_object_foreach_safe(value, next, key, member)
	{
		if (str_eq(key, "managedFields") && json_is_array(member))
			json_array_clear(member);
		empty_managed_fields(member);
	}
	json_array_foreach (value, i, member)
		empty_managed_fields(member);
}

static bool mentions_managed_fields(const uint8_t *data, size_t size)
{
	return memmem(data, size, "\"managedFields\"", strlen("\"managedFields\""));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_json json_t *plain = NULL, *thin = NULL;
	struct err e = ERR_INIT, e_thin = ERR_INIT;
	static bool is_set_up;
	int r, r_thin;

	if (!is_set_up)
		json_setup();
	is_set_up = true;
	r = json_parse((const char *)data, size, &plain, &e);
	r_thin = json_parse_thin((const char *)data, size, &thin, &e_thin);
	FUZZ_CHECK((r_thin == 0) == (thin != NULL));
	if (r == 0) {
		FUZZ_CHECK(r_thin == 0);
		if (mentions_managed_fields(data, size)) {
			empty_managed_fields(plain);
			empty_managed_fields(thin); /* written with an escape, or at another place than it seems */
		}
		FUZZ_CHECK(json_equal(plain, thin));
	} else if (r_thin < 0) {
		FUZZ_CHECK(str_eq(err_text(&e), err_text(&e_thin)));
	} else {
		FUZZ_CHECK(mentions_managed_fields(data, size));
	}
	return 0;
}
