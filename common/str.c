/* Strings: parsing that refuses what it does not understand completely, and texts for people. The duration grammar is
 * Go's time.ParseDuration without the sign, computed in nanoseconds with Go's range. */
#include "common/str.h"

#include <malloc.h>
#include <stdarg.h>
#include <time.h>

#define DNS_LABEL_MAX	  63
#define DNS_SUBDOMAIN_MAX 253
#define LABEL_NAME_MAX	  63

static char *str_vformat(const char *fmt, va_list ap)
{
	char *s;

	return vasprintf(&s, fmt, ap) < 0 ? NULL : s;
}

int str_printf(char **ret_s, const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	s = str_vformat(fmt, ap);
	va_end(ap);
	if (!s)
		return -ENOMEM;
	*ret_s = s;
	return 0;
}

char *str_format(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	s = str_vformat(fmt, ap);
	va_end(ap);
	return s;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

int str_parse_u64(const char *s, uint64_t max, uint64_t *ret_value)
{
	bool too_big = false;
	uint64_t value = 0;

	if (!*s)
		return -EINVAL;
	for (; *s; s++) {
		if (!is_digit(*s))
			return -EINVAL;
		if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, *s - '0', &value))
			too_big = true;
	}
	if (too_big || value > max)
		return -ERANGE;
	*ret_value = value;
	return 0;
}

static const struct duration_unit {
	const char *name;
	uint64_t nsec;
} DURATION_UNITS[] = {
	/* longer names before their prefixes */
	{ "ns", 1 },
	{ "us", 1000 },
	{ "\xc2\xb5s", 1000 }, /* micro sign */
	{ "\xce\xbcs", 1000 }, /* Greek mu */
	{ "ms", 1000000 },
	{ "s", 1000000000 },
	{ "m", 60 * UINT64_C(1000000000) },
	{ "h", 3600 * UINT64_C(1000000000) },
};

static const struct duration_unit *duration_unit_at(const char *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(DURATION_UNITS); i++)
		if (str_starts(s, DURATION_UNITS[i].name))
			return &DURATION_UNITS[i];
	return NULL;
}

/* One "1.5h" at *s. -EINVAL, -ERANGE. */
static int duration_part(const char **s, uint64_t *ret_nsec)
{
	const struct duration_unit *unit;
	uint64_t whole = 0, fraction = 0, scale = 1, nsec;
	bool too_big = false, any = false;
	const char *p = *s;

	for (; is_digit(*p); p++, any = true)
		if (__builtin_mul_overflow(whole, 10, &whole) || __builtin_add_overflow(whole, *p - '0', &whole))
			too_big = true;
	if (*p == '.')
		for (p++; is_digit(*p); p++, any = true)
			if (scale < UINT64_C(1000000000000000)) { /* digits behind that are under a nanosecond */
				fraction = fraction * 10 + (uint64_t)(*p - '0');
				scale *= 10;
			}

	unit = duration_unit_at(p);
	if (!any || !unit)
		return -EINVAL;
	if (too_big || __builtin_mul_overflow(whole, unit->nsec, &nsec))
		return -ERANGE;
	fraction = (uint64_t)((unsigned __int128)fraction * unit->nsec / scale);
	if (__builtin_add_overflow(nsec, fraction, &nsec))
		return -ERANGE;

	*s = p + strlen(unit->name);
	*ret_nsec = nsec;
	return 0;
}

int str_parse_duration(const char *s, uint64_t *ret_usec)
{
	uint64_t sum = 0, nsec;
	bool too_big = false;
	int r;

	if (!*s)
		return -EINVAL;
	if (str_eq(s, "0")) {
		*ret_usec = 0;
		return 0;
	}
	while (*s) {
		r = duration_part(&s, &nsec);
		if (r < 0)
			return r;
		if (__builtin_add_overflow(sum, nsec, &sum) || sum > INT64_MAX)
			too_big = true;
	}
	if (too_big)
		return -ERANGE;
	*ret_usec = sum / NSEC_PER_USEC;
	return 0;
}

const char *str_format_age(uint64_t usec, char text[static STR_AGE_MAX])
{
	uint64_t sec = usec / USEC_PER_SEC;

	if (sec < 1)
		snprintf(text, STR_AGE_MAX, "%ums", (unsigned)(usec / USEC_PER_MSEC));
	else if (sec < 60)
		snprintf(text, STR_AGE_MAX, "%us", (unsigned)sec);
	else if (sec < 3600)
		snprintf(text, STR_AGE_MAX, "%um%us", (unsigned)(sec / 60), (unsigned)(sec % 60));
	else if (sec < 86400)
		snprintf(text, STR_AGE_MAX, "%uh%um", (unsigned)(sec / 3600), (unsigned)(sec / 60 % 60));
	else
		snprintf(text, STR_AGE_MAX, "%ud%uh", (unsigned)(sec / 86400), (unsigned)(sec / 3600 % 24));
	return text;
}

const char *str_format_time(uint64_t realtime_usec, char text[static STR_TIME_MAX])
{
	time_t sec = (time_t)(realtime_usec / USEC_PER_SEC);
	struct tm tm;

	if (!gmtime_r(&sec, &tm) || strftime(text, STR_TIME_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		snprintf(text, STR_TIME_MAX, "?");
	return text;
}

const char *str_format_time_usec(uint64_t realtime_usec, char text[static STR_TIME_MAX])
{
	size_t len = strlen(str_format_time(realtime_usec, text));

	/* over the Z, where there is one */
	if (len > 1)
		snprintf(text + len - 1, STR_TIME_MAX - len + 1, ".%06uZ", (unsigned)(realtime_usec % USEC_PER_SEC));
	return text;
}

static bool is_dns_alnum(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z');
}

/* One label of at most `max` characters. Inside a subdomain Kubernetes bounds only the whole. */
static bool is_dns_label(const char *s, size_t len, size_t max)
{
	if (len == 0 || len > max || !is_dns_alnum(s[0]) || !is_dns_alnum(s[len - 1]))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_dns_alnum(s[i]) && s[i] != '-')
			return false;
	return true;
}

bool str_is_dns_label(const char *s)
{
	return is_dns_label(s, strlen(s), DNS_LABEL_MAX);
}

bool str_is_dns_subdomain(const char *s)
{
	if (strlen(s) > DNS_SUBDOMAIN_MAX)
		return false;
	for (;;) {
		size_t len = strcspn(s, ".");

		if (!is_dns_label(s, len, DNS_SUBDOMAIN_MAX))
			return false;
		if (!s[len])
			return true;
		s += len + 1;
	}
}

static bool is_label_alnum(char c)
{
	return is_dns_alnum(c) || (c >= 'A' && c <= 'Z');
}

bool str_is_label_name(const char *s)
{
	size_t len = strlen(s);

	if (len == 0 || len > LABEL_NAME_MAX || !is_label_alnum(s[0]) || !is_label_alnum(s[len - 1]))
		return false;
	for (const char *c = s; *c; c++)
		if (!is_label_alnum(*c) && !strchr("-_.", *c))
			return false;
	return true;
}

bool str_is_qualified_name(const char *s)
{
	char prefix[DNS_SUBDOMAIN_MAX + 1];
	size_t len = strcspn(s, "/");

	if (!s[len])
		return str_is_label_name(s);
	if (len > DNS_SUBDOMAIN_MAX)
		return false;
	memcpy(prefix, s, len);
	prefix[len] = '\0';
	return str_is_dns_subdomain(prefix) && str_is_label_name(s + len + 1);
}

/* Length of the UTF-8 sequence that lies at p; 0: there is none. Bounds of the second byte: Unicode 15, table 3-7. */
static size_t utf8_len(const unsigned char *p, size_t len)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t n;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;

	n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (n > len)
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0; /* overlong */
	else if (p[0] == 0xed)
		high = 0x9f; /* surrogates */
	else if (p[0] == 0xf0)
		low = 0x90; /* overlong */
	else if (p[0] == 0xf4)
		high = 0x8f; /* above U+10FFFF */
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

bool str_has_dotdot(const char *path)
{
	while (*path) {
		size_t part = strcspn(path, "/");

		if (part == 2 && path[0] == '.' && path[1] == '.')
			return true;
		path += part;
		path += *path == '/';
	}
	return false;
}

size_t str_utf8_len(const char *s, size_t len)
{
	return len > 0 ? utf8_len((const unsigned char *)s, len) : 0;
}

bool str_is_utf8(const char *s, size_t len)
{
	for (size_t i = 0, n; i < len; i += n) {
		n = str_utf8_len(s + i, len - i);
		if (n == 0)
			return false;
	}
	return true;
}

void str_free_secret(char *s)
{
	int saved = errno;

	if (s)
		explicit_bzero(s, malloc_usable_size(s));
	free(s);
	errno = saved;
}
