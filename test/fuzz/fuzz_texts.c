/* Texts: what comes in URLs, queries, fields and the environment: paths, label selectors, base64, durations, numbers,
 * proxies; and what is made of foreign texts for people, JSON and requests. Base64 is compared with a plain decoder
 * (libsodium's takes some bytes above 0x7f for an 'A'). The first byte says which. */
#include "test/fuzz/fuzz.h"

#include "agent/api.h"
#include "agent/finding.h"
#include "agent/proxy.h"
#include "agent/selector.h"
#include "agent/table.h"
#include "agent/urlpath.h"
#include "common/b64.h"
#include "common/str.h"

static void try_path(const char *text)
{
	struct urlpath p;
	int r = urlpath_parse(text, &p);

	FUZZ_CHECK(r == 0 || r == -ENOENT || r == -EINVAL);
	if (r < 0)
		return;
	FUZZ_CHECK(p.n_parts >= 1 && p.n_parts <= URLPATH_PARTS_MAX);
	for (size_t i = 0; i < p.n_parts; i++) {
		cleanup_free char *encoded = urlpath_encode(p.parts[i]), *value = NULL;

		FUZZ_CHECK(encoded && urlpath_decode_value(encoded, &value) == 0 && str_eq(value, p.parts[i]));
	}
}

static void try_value(const char *text)
{
	cleanup_free char *value = NULL;

	if (urlpath_decode_value(text, &value) == 0)
		FUZZ_CHECK(strlen(value) <= strlen(text));
}

static void try_selector(const char *text)
{
	static char app[] = "app", web[] = "web", n[] = "n", seven[] = "7";
	const struct label labels[] = { { app, web }, { n, seven } };
	struct selector *sel = NULL;
	struct err e = ERR_INIT;
	int r = selector_parse(text, &sel, &e);

	FUZZ_CHECK(r == 0 || r == -EINVAL);
	FUZZ_CHECK((r == 0) == (sel != NULL) && (r == 0 || *err_text(&e)));
	FUZZ_CHECK(r < 0 || strlen(text) <= SELECTOR_TEXT_MAX);
	if (sel) {
		selector_matches(sel, labels, ARRAY_SIZE(labels));
		selector_matches(sel, NULL, 0);
	}
	selector_free(sel);
}

/* As Go's StdEncoding has it, by a table and one character after the other. Negative: it is not base64. */
static ssize_t expected_b64(const uint8_t *data, size_t size, uint8_t *out)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n_chars = 0, n_pads = 0, len = 0;
	uint32_t bits = 0;

	for (size_t i = 0; i < size; i++) {
		const char *at = data[i] ? strchr(alphabet, data[i]) : NULL;

		if (data[i] == '\r' || data[i] == '\n')
			continue;
		/* padding is the third and the fourth of four, or the fourth, and nothing is behind it */
		n_pads += data[i] == '=';
		if (data[i] == '=' ? n_chars % 4 < 2 : !at || n_pads > 0)
			return -1;
		bits = bits << 6 | (at ? (uint32_t)(at - alphabet) : 0);
		n_chars++;
		if (n_chars % 4 != 0)
			continue;
		out[len++] = (uint8_t)(bits >> 16);
		if (n_pads < 2)
			out[len++] = (uint8_t)(bits >> 8);
		if (n_pads < 1)
			out[len++] = (uint8_t)bits;
		if (n_pads > 2)
			return -1;
	}
	return n_chars % 4 == 0 && n_pads <= 2 ? (ssize_t)len : -1;
}

static void try_b64(const uint8_t *data, size_t size)
{
	size_t max = b64_decoded_max(size), len = 0, unused;
	cleanup_free uint8_t *out = malloc(max + 1), *expected = malloc(size + 4);
	cleanup_free char *again = NULL;
	ssize_t expected_len = expected_b64(data, size, expected);
	int r = b64_decode((const char *)data, size, out, max, &len);

	FUZZ_CHECK(r == (expected_len < 0 ? -EINVAL : 0));
	if (r < 0)
		return;
	FUZZ_CHECK(len == (size_t)expected_len && len <= max && memcmp(out, expected, len) == 0);
	FUZZ_CHECK(b64_encode(out, len, &again) == 0 && strlen(again) == (len + 2) / 3 * 4);
	FUZZ_CHECK(len == 0 || b64_decode((const char *)data, size, out, len - 1, &unused) == -ENOBUFS);
}

static void try_numbers(const char *text)
{
	uint64_t n = 0, usec = 0;
	char *end;

	if (str_parse_u64(text, UINT64_MAX, &n) == 0) {
		errno = 0;
		FUZZ_CHECK(strtoull(text, &end, 10) == n && errno == 0 && !*end);
	}
	if (str_parse_duration(text, &usec) == 0)
		FUZZ_CHECK(strspn(text, "0123456789.hmsun\xc2\xb5\xce\xbc+") == strlen(text));
	if (str_is_dns_subdomain(text))
		FUZZ_CHECK(*text && strlen(text) <= 253 && !str_has_dotdot(text) && !strchr(text, '/'));
	FUZZ_CHECK(!str_is_dns_label(text) || (str_is_dns_subdomain(text) && !strchr(text, '.')));
	FUZZ_CHECK(!str_is_label_name(text) || str_is_qualified_name(text));
}

/* --- several texts in one, with NUL between them --- */

static const char *next_text(const char **at, const char *end)
{
	const char *text = *at;

	if (text >= end)
		return "";
	*at = text + strlen(text) + 1;
	return text;
}

static void try_proxy(const char *text, size_t len)
{
	const char *end = text + len, *scheme = *text == 's' ? "https" : "http";
	struct proxy_environment env = { .cgi = *text == 'c' };
	cleanup_free char *shown = NULL, *with_no_proxy = NULL;
	cleanup_secret char *url = NULL, *direct = NULL, *local = NULL;
	const char *host, *port, *at = text + (len > 0);
	struct err e = ERR_INIT;
	int r;

	env.http = env.https = next_text(&at, end);
	env.no_proxy = next_text(&at, end);
	host = next_text(&at, end);
	port = next_text(&at, end);
	r = proxy_from_environment(&env, scheme, host, port, &url, &e);
	FUZZ_CHECK(r == 0 || (r == -EINVAL && *err_text(&e) && !url));
	FUZZ_CHECK(proxy_from_environment(&env, scheme, "LocalHost", port, &local, NULL) == 0 && !local);
	if (!url)
		return;
	FUZZ_CHECK(str_starts(url, "http://") || str_starts(url, "https://") || str_starts(url, "socks5h://"));
	FUZZ_CHECK(!strpbrk(url, " \t\r\n"));
	shown = proxy_shown(url);
	FUZZ_CHECK(shown && !strchr(shown, '@'));
	/* an exception more is one */
	with_no_proxy = str_format("%s,*", env.no_proxy);
	env.no_proxy = with_no_proxy;
	FUZZ_CHECK(with_no_proxy && proxy_from_environment(&env, scheme, host, port, &direct, NULL) == 0 && !direct);
}

static bool is_plain(const char *text)
{
	for (const unsigned char *c = (const unsigned char *)text; *c; c++)
		if (*c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] < 0xa0))
			return false;
	return str_is_utf8(text, strlen(text));
}

static void try_shown(const char *text)
{
	cleanup_free char *escaped = table_escape(text);
	cleanup_json json_t *json = json_text(text);

	FUZZ_CHECK(escaped && is_plain(escaped));
	FUZZ_CHECK(!is_plain(text) || strlen(text) > 4000 || str_eq(escaped, text));
	FUZZ_CHECK(json && str_is_utf8(json_string_value(json), json_string_length(json)));
	FUZZ_CHECK(!str_is_utf8(text, strlen(text)) || str_eq(json_string_value(json), text));
}

static void try_finding(const char *text, size_t len)
{
	const char *at = text, *end = text + len;
	struct finding from = { .line = len % 3, .column = len % 2 };
	cleanup_finding struct finding *f = NULL;

	from.file = (char *)(uintptr_t)next_text(&at, end);
	from.object = (char *)(uintptr_t)next_text(&at, end);
	from.field = (char *)(uintptr_t)next_text(&at, end);
	from.reason = (char *)(uintptr_t)next_text(&at, end);
	FUZZ_CHECK(finding_new(&from, &f) == 0);
	for (const char *c = f->text; *c; c++)
		FUZZ_CHECK((unsigned char)*c >= 0x20 && *c != 0x7f);
}

static void try_target(const char *text, size_t len)
{
	const char *at = text, *end = text + len;
	struct api_resource resource = { .plural = "secrets", .kind = "Secret", .list_kind = "SecretList" };
	struct api_list list = { .limit = 5 };
	char *targets[4] = { NULL };

	resource.ns = next_text(&at, end);
	resource.field = "metadata.name";
	resource.field_value = next_text(&at, end);
	list.resource_version = next_text(&at, end);
	list.continue_token = len % 2 ? next_text(&at, end) : NULL;
	FUZZ_CHECK(api_list_target(&resource, &list, &targets[0]) == 0);
	FUZZ_CHECK(api_watch_target(&resource, list.resource_version, 7, &targets[1]) == 0);
	FUZZ_CHECK(api_object_target(&resource, list.resource_version, &targets[2]) == 0);
	FUZZ_CHECK(api_stream_target(&resource, list.resource_version, 7, &targets[3]) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		const char *query = strchr(targets[i], '?');

		FUZZ_CHECK(str_starts(targets[i], "/api/v1/namespaces/"));
		for (const char *c = targets[i]; *c; c++)
			FUZZ_CHECK(*c > 0x20 && *c < 0x7f && *c != '#' && *c != '"');
		FUZZ_CHECK(!query || !strchr(query + 1, '?'));
	}
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++)
		free(targets[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { .data = data, .len = size };
	uint8_t what = fuzz_u8(&in);
	cleanup_free char *text = fuzz_text(in);

	switch (what) {
	case 'p':
		try_path(text);
		break;
	case 'v':
		try_value(text);
		break;
	case 's':
		try_selector(text);
		break;
	case 'b':
		try_b64(in.data, in.len);
		break;
	case 'x':
		try_proxy(text, in.len);
		break;
	case 'e':
		try_shown(text);
		break;
	case 'f':
		try_finding(text, in.len);
		break;
	case 't':
		try_target(text, in.len);
		break;
	default:
		try_numbers(text);
	}
	return 0;
}
