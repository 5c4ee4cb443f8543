/* Which texts are addresses to listen on. */
#include "agent/bind_address.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void addresses_are_read(void **state)
{
	struct bind_address a;

	assert_int_equal(bind_address_parse("127.0.0.1:10249", &a), 0);
	assert_int_equal(a.any.sa_family, AF_INET);
	assert_int_equal(a.len, sizeof(struct sockaddr_in));
	assert_int_equal(ntohs(a.v4.sin_port), 10249);
	assert_int_equal(ntohl(a.v4.sin_addr.s_addr), INADDR_LOOPBACK);

	assert_int_equal(bind_address_parse("[::1]:65535", &a), 0);
	assert_int_equal(a.any.sa_family, AF_INET6);
	assert_int_equal(a.len, sizeof(struct sockaddr_in6));
	assert_int_equal(ntohs(a.v6.sin6_port), 65535);
	assert_memory_equal(&a.v6.sin6_addr, &in6addr_loopback, sizeof(in6addr_loopback));

	assert_int_equal(bind_address_parse("0.0.0.0:1", &a), 0);
	assert_int_equal(bind_address_parse("[::]:1", &a), 0);
	assert_int_equal(bind_address_make("::1", 10248, &a), 0);
	assert_int_equal(a.any.sa_family, AF_INET6);
}

static void what_is_none_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		":",
		":10249",
		"10249",
		"127.0.0.1",
		"127.0.0.1:",
		"127.0.0.1:0",
		"127.0.0.1:65536",
		"127.0.0.1:-1",
		"127.0.0.1:+1",
		"127.0.0.1: 1",
		"127.0.0.1:1 ",
		"127.0.0.1:http",
		"127.0.0.1:1:2",
		"127.1:1",
		"localhost:1",
		"::1:10249",
		"[::1]",
		"[::1]10249",
		"[127.0.0.1]:1",
		"[]:1",
		"[:1",
		"]:1",
		"[::1:1",
		"[fe80::1%lo]:1",
		"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:1",
	};
	struct bind_address a = { .len = 7 };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (bind_address_parse(texts[i], &a) != -EINVAL)
			fail_msg("'%s' was taken", texts[i]);
	assert_int_equal(bind_address_make("127.0.0.1", 0, &a), -EINVAL);
	assert_int_equal(bind_address_make("127.0.0.1", 65536, &a), -EINVAL);
	assert_int_equal(bind_address_make("[::1]", 1, &a), -EINVAL);
	assert_int_equal(a.len, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_read),
		cmocka_unit_test(what_is_none_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
