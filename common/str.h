/* Strings: number and duration parsing, prefixes, joins, and the name rules of Kubernetes' machinery that are
 * plain string facts (DNS-1123). */
#pragma once

#include "common/base.h"

static inline bool str_starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}
static inline bool str_empty(const char *s)
{
	return !s || !*s;
}
/* printf into fresh memory. -ENOMEM. */
int str_printf(char **ret_s, const char *fmt, ...) attr_printf(2, 3) attr_warn_unused;
/* Like str_printf; NULL when out of memory. */
char *str_format(const char *fmt, ...) attr_printf(1, 2) attr_warn_unused;
/* Whole string as decimal, no sign, no space. -EINVAL, -ERANGE (greater than max). */
int str_parse_u64(const char *s, uint64_t max, uint64_t *ret_value);
/* Go duration: "30s", "1m30s", "250ms", "1h", "1.5s", "0". -EINVAL, -ERANGE. */
int str_parse_duration(const char *s, uint64_t *ret_usec);
/* For people: "250ms", "12s", "3m4s", "5h2m", "8d3h"; at least 16 bytes. Returns text. */
#define STR_AGE_MAX 24
const char *str_format_age(uint64_t usec, char text[static STR_AGE_MAX]);
/* RFC 3339 UTC with seconds, "2026-11-22T05:50:05Z", from microseconds since the epoch. */
#define STR_TIME_MAX 32
const char *str_format_time(uint64_t realtime_usec, char text[static STR_TIME_MAX]);
/* With microseconds: "2026-11-22T02:52:48.110488Z" */
const char *str_format_time_usec(uint64_t realtime_usec, char text[static STR_TIME_MAX]);
/* DNS-1123 label (63) and subdomain (253): lower-case letters, digits, '-', and '.' between labels. */
bool str_is_dns_label(const char *s);
bool str_is_dns_subdomain(const char *s);
/* What labels consist of in Kubernetes: 1 to 63 letters, digits, '-', '_' and '.', the first and the last one a letter or
 * a digit; and that behind an optional prefix, a DNS subdomain and '/'. */
bool str_is_label_name(const char *s);
bool str_is_qualified_name(const char *s);
/* Some element of the path is "..". */
bool str_has_dotdot(const char *path);
bool str_is_utf8(const char *s, size_t len);
/* Bytes of the UTF-8 sequence that starts at s (strict: no surrogates, nothing overlong); 0: none does. */
size_t str_utf8_len(const char *s, size_t len);
/* Zeroes and frees a string that may hold a credential; NULL is fine. */
void str_free_secret(char *s);
static inline void str_free_secretp(char **s)
{
	str_free_secret(*s);
}
#define cleanup_secret cleanup(str_free_secretp)
