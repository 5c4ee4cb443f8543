/* Proxy: Go's rules for HTTP_PROXY, HTTPS_PROXY and NO_PROXY, as tables. */
#include "agent/proxy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "common/str.h"

static bool same_text(const char *a, const char *b)
{
	return (!a && !b) || str_eq(a, b);
}

static void no_proxy_has_gos_rules(void **state)
{
	static const struct {
		const char *no_proxy, *host, *port;
		bool direct;
	} CASES[] = {
		{ "", "api.example.com", "443", false },
		{ "", "localhost", "443", true },
		{ "", "LOCALHOST", "443", true },
		{ "", "127.0.0.1", "443", true },
		{ "", "127.8.9.1", "443", true },
		{ "", "::1", "443", true },
		{ "", "::ffff:127.0.0.1", "443", true },
		{ "", "10.0.0.1", "443", false },
		{ "*", "api.example.com", "443", true },
		{ "a,*", "10.0.0.1", "443", true },
		{ "example.com", "example.com", "443", true },
		{ "example.com", "api.example.com", "443", true },
		{ "example.com", "API.Example.COM", "443", true },
		{ "Example.COM", "api.example.com", "443", true },
		{ "example.com", "badexample.com", "443", false },
		{ "example.com", "example.com.evil", "443", false },
		{ ".example.com", "api.example.com", "443", true },
		{ ".example.com", "example.com", "443", false },
		{ "*.example.com", "api.example.com", "443", true },
		{ "*.example.com", "example.com", "443", false },
		{ "example.com:443", "example.com", "443", true },
		{ "example.com:6443", "example.com", "443", false },
		{ ".example.com:443", "api.example.com", "443", true },
		{ "10.0.0.1", "10.0.0.1", "443", true },
		{ "10.0.0.1", "10.0.0.2", "443", false },
		{ "10.0.0.1:443", "10.0.0.1", "443", true },
		{ "10.0.0.1:6443", "10.0.0.1", "443", false },
		{ "10.0.0.0/8", "10.200.3.4", "443", true },
		{ "10.0.0.0/8", "11.0.0.1", "443", false },
		{ "10.96.0.0/12", "10.111.255.255", "443", true },
		{ "10.96.0.0/12", "10.112.0.0", "443", false },
		{ "0.0.0.0/0", "10.1.2.3", "443", true },
		{ "0.0.0.0/0", "fd00::1", "443", false },
		{ "10.0.0.0/33", "10.0.0.1", "443", false },
		{ "10.0.0.0/8", "name", "443", false },
		{ "fd00::/8", "fd12::3", "443", true },
		{ "fd00::/8", "fe80::3", "443", false },
		{ "fd00::1", "fd00:0::1", "443", true },
		{ "[fd00::1]:443", "fd00::1", "443", true },
		{ "[fd00::1]:6443", "fd00::1", "443", false },
		{ " a , example.com ,b", "example.com", "443", true },
		{ ",,:443,", "example.com", "443", false },
	};
	const char *const PROXY = "http://proxy:3128";

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		const struct proxy_environment env = { .https = PROXY, .no_proxy = CASES[i].no_proxy };
		cleanup_secret char *url = NULL;

		assert_int_equal(proxy_from_environment(&env, "https", CASES[i].host, CASES[i].port, &url, NULL), 0);
		if (!url != CASES[i].direct)
			fail_msg("NO_PROXY=%s %s:%s", CASES[i].no_proxy, CASES[i].host, CASES[i].port);
		if (url)
			assert_string_equal(url, PROXY);
	}
}

static void variable_is_chosen_by_scheme_and_completed(void **state)
{
	static const struct {
		const char *http, *https, *scheme, *url; /* NULL: direct */
	} CASES[] = {
		{ NULL, NULL, "https", NULL },
		{ "http://a:1", NULL, "https", NULL },
		{ "http://a:1", NULL, "http", "http://a:1" },
		{ "http://a:1", "http://b:2", "https", "http://b:2" },
		{ NULL, "b:2", "https", "http://b:2" },
		{ NULL, "b", "https", "http://b" },
		{ NULL, "https://b:2/", "https", "https://b:2/" },
		{ NULL, "socks5://b:2", "https", "socks5h://b:2" },
		{ NULL, "user:word@b:2", "https", "http://user:word@b:2" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		const struct proxy_environment env = { .http = CASES[i].http, .https = CASES[i].https };
		cleanup_secret char *url = NULL;

		assert_int_equal(proxy_from_environment(&env, CASES[i].scheme, "h", "443", &url, NULL), 0);
		if (!str_eq(url, CASES[i].url) && (url || CASES[i].url))
			fail_msg("%zu: %s", i, url ? url : "direct");
	}
}

static void environment_is_read_in_capitals_first(void **state)
{
	static const char *const NAMES[] = { "HTTP_PROXY", "http_proxy", "HTTPS_PROXY",	   "https_proxy",
					     "NO_PROXY",   "no_proxy",	 "REQUEST_METHOD", "ALL_PROXY" };
	static const struct {
		const char *name, *value, *other, *others_value; /* NULL: not set */
		struct proxy_environment env;
	} CASES[] = {
		{ "HTTP_PROXY", "a", NULL, NULL, { .http = "a" } },
		{ "http_proxy", "a", NULL, NULL, { .http = "a" } },
		{ "HTTP_PROXY", "a", "http_proxy", "b", { .http = "a" } },
		{ "HTTP_PROXY", "", "http_proxy", "b", { .http = "b" } },
		{ "HTTPS_PROXY", "a", NULL, NULL, { .https = "a" } },
		{ "https_proxy", "a", NULL, NULL, { .https = "a" } },
		{ "HTTPS_PROXY", "a", "https_proxy", "b", { .https = "a" } },
		{ "HTTPS_PROXY", "", "https_proxy", "b", { .https = "b" } },
		{ "HTTPS_PROXY", "", "https_proxy", "", { .https = NULL } },
		{ "NO_PROXY", "a", NULL, NULL, { .no_proxy = "a" } },
		{ "no_proxy", "a", NULL, NULL, { .no_proxy = "a" } },
		{ "NO_PROXY", "a", "no_proxy", "b", { .no_proxy = "a" } },
		{ "NO_PROXY", "", "no_proxy", "b", { .no_proxy = "b" } },
		{ "ALL_PROXY", "a", NULL, NULL, { .https = NULL } },
		{ "REQUEST_METHOD", "GET", NULL, NULL, { .cgi = true } },
		{ "REQUEST_METHOD", "", NULL, NULL, { .cgi = false } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct proxy_environment env;

		for (size_t k = 0; k < ARRAY_SIZE(NAMES); k++)
			unsetenv(NAMES[k]);
		setenv(CASES[i].name, CASES[i].value, 1);
		if (CASES[i].other)
			setenv(CASES[i].other, CASES[i].others_value, 1);
		env = proxy_environment_get();
		if (!same_text(env.http, CASES[i].env.http) || !same_text(env.https, CASES[i].env.https) ||
		    !same_text(env.no_proxy, CASES[i].env.no_proxy) || env.cgi != CASES[i].env.cgi)
			fail_msg("%zu: %s=%s", i, CASES[i].name, CASES[i].value);
	}
	for (size_t k = 0; k < ARRAY_SIZE(NAMES); k++)
		unsetenv(NAMES[k]);
}

static void unusable_proxies_are_refused_without_their_text(void **state)
{
	static const char *const VALUES[] = {
		"ftp://hunter2@p", "http://",	   "socks4://hunter2@p", "file:///hunter2",
		"http:// hunter2", "http://a b@c", "socks5:///hunter2",
	};

	for (size_t i = 0; i < ARRAY_SIZE(VALUES); i++) {
		const struct proxy_environment env = { .https = VALUES[i] };
		struct err e = ERR_INIT;
		char *url = NULL;

		if (proxy_from_environment(&env, "https", "h", "443", &url, &e) != -EINVAL)
			fail_msg("accepted: %s", VALUES[i]);
		assert_null(url);
		assert_true(str_starts(err_text(&e), "HTTPS_PROXY "));
		assert_null(strstr(err_text(&e), "hunter2"));
	}
}

static void strangers_header_is_no_proxy(void **state)
{
	const struct proxy_environment env = { .http = "http://p", .https = "http://p", .cgi = true };
	cleanup_secret char *url = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(proxy_from_environment(&env, "http", "h", "80", &url, &e), -EINVAL);
	assert_int_equal(proxy_from_environment(&env, "https", "h", "80", &url, &e), 0);
	assert_non_null(url);
}

static void shown_proxy_has_no_credentials(void **state)
{
	static const struct {
		const char *url, *shown;
	} CASES[] = {
		{ "http://p:3128", "http://p:3128" },
		{ "http://user:hunter2@p:3128/x", "http://p:3128" },
		{ "socks5h://u@[::1]:1080", "socks5h://[::1]:1080" },
		{ "http://a@b:c@p", "http://p" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_free char *shown = proxy_shown(CASES[i].url);

		assert_string_equal(shown, CASES[i].shown);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_proxy_has_gos_rules),
		cmocka_unit_test(variable_is_chosen_by_scheme_and_completed),
		cmocka_unit_test(environment_is_read_in_capitals_first),
		cmocka_unit_test(unusable_proxies_are_refused_without_their_text),
		cmocka_unit_test(strangers_header_is_no_proxy),
		cmocka_unit_test(shown_proxy_has_no_credentials),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
