/* Proxy: curl reads the environment too, but by rules of its own: it takes ALL_PROXY, ignores HTTP_PROXY in capitals, has
 * no exception for loopback addresses and knows no ports in NO_PROXY. So it is told the proxy, and never asks by itself. */
#include "agent/proxy.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>

#include "common/str.h"

enum { ENTRY_MAX = 320 };

/* ---- addresses ---- */

/* IPv4 as an IPv4-mapped IPv6 address, as in Go. */
static bool parse_ip(const char *text, struct in6_addr *ret)
{
	struct in_addr v4;

	if (inet_pton(AF_INET6, text, ret) == 1)
		return true;
	if (inet_pton(AF_INET, text, &v4) != 1)
		return false;
	*ret = (struct in6_addr){ .s6_addr = { [10] = 0xff, [11] = 0xff } };
	memcpy(&ret->s6_addr[12], &v4, sizeof(v4));
	return true;
}

static bool is_loopback(const struct in6_addr *ip)
{
	return IN6_IS_ADDR_LOOPBACK(ip) || (IN6_IS_ADDR_V4MAPPED(ip) && ip->s6_addr[12] == 127);
}

static bool same_prefix(const struct in6_addr *a, const struct in6_addr *b, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;

	if (memcmp(a, b, bytes) != 0)
		return false;
	return rest == 0 || (a->s6_addr[bytes] ^ b->s6_addr[bytes]) >> (8 - rest) == 0;
}

/* ---- NO_PROXY ---- */

struct target {
	char host[ENTRY_MAX]; /* lower case */
	const char *port;
	struct in6_addr ip;
	bool is_ip;
};

/* false: `entry` is no network */
static bool match_network(const struct target *t, char *entry, bool *ret_match)
{
	char *slash = strchr(entry, '/');
	struct in6_addr net;
	uint64_t bits;
	bool is_v4;

	if (!slash)
		return false;
	*slash = '\0';
	is_v4 = !strchr(entry, ':');
	if (!parse_ip(entry, &net) || str_parse_u64(slash + 1, is_v4 ? 32 : 128, &bits) < 0) {
		*slash = '/';
		return false;
	}
	*ret_match = t->is_ip && same_prefix(&net, &t->ip, (unsigned)bits + (is_v4 ? 96 : 0));
	return true;
}

/* "host:port" and "[host]:port" are cut in two; a bare IPv6 address has no port. */
static const char *split_port(char **host)
{
	char *colon = strrchr(*host, ':'), *end;

	if (**host == '[') {
		end = strchr(*host, ']');
		if (!end || (end[1] != ':' && end[1]))
			return "";
		(*host)++;
		*end = '\0';
		return end[1] ? end + 2 : "";
	}
	if (!colon || strchr(*host, ':') != colon)
		return "";
	*colon = '\0';
	return colon + 1;
}

static bool match_domain(const struct target *t, const char *domain)
{
	size_t host_len = strlen(t->host), len;
	bool is_host_too;

	if (str_starts(domain, "*."))
		domain++;
	is_host_too = *domain != '.';
	domain += !is_host_too;
	len = strlen(domain);
	if (is_host_too && str_eq(t->host, domain))
		return true;
	return host_len > len && str_eq(t->host + host_len - len, domain) && t->host[host_len - len - 1] == '.';
}

static bool match_entry(const struct target *t, char *entry)
{
	struct in6_addr ip;
	const char *port;
	bool match;

	if (str_eq(entry, "*"))
		return true;
	if (match_network(t, entry, &match))
		return match;
	port = split_port(&entry);
	if (!*entry || (*port && !str_eq(port, t->port)))
		return false;
	if (parse_ip(entry, &ip))
		return t->is_ip && memcmp(&ip, &t->ip, sizeof(ip)) == 0;
	return match_domain(t, entry);
}

static void trim_lower(const char *begin, const char *end, char entry[static ENTRY_MAX])
{
	size_t len;

	while (begin < end && isspace((unsigned char)*begin))
		begin++;
	while (end > begin && isspace((unsigned char)end[-1]))
		end--;
	len = (size_t)(end - begin);
	/* longer than any name: matches nothing */
	if (len >= ENTRY_MAX)
		len = 0;
	for (size_t i = 0; i < len; i++)
		entry[i] = (char)tolower((unsigned char)begin[i]);
	entry[len] = '\0';
}

static bool is_exempt(const struct target *t, const char *no_proxy)
{
	char entry[ENTRY_MAX];
	const char *end;

	if (str_eq(t->host, "localhost") || (t->is_ip && is_loopback(&t->ip)))
		return true;
	for (const char *p = no_proxy ? no_proxy : ""; *p; p = *end ? end + 1 : end) {
		end = strchrnul(p, ',');
		trim_lower(p, end, entry);
		if (*entry && match_entry(t, entry))
			return true;
	}
	return false;
}

/* ---- URLs ---- */

int proxy_url_check(const char *what, const char *url, char **ret_url, struct err *e)
{
	static const struct {
		const char *scheme, *curls;
	} SCHEMES[] = {
		{ "http://", "http://" },
		{ "https://", "https://" },
		{ "socks5://", "socks5h://" },
		{ "socks5h://", "socks5h://" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(SCHEMES); i++) {
		const char *rest = url + strlen(SCHEMES[i].scheme);

		if (strncasecmp(url, SCHEMES[i].scheme, strlen(SCHEMES[i].scheme)) != 0)
			continue;
		if (!*rest || *rest == '/' || strpbrk(rest, " \t\r\n"))
			break;
		*ret_url = str_format("%s%s", SCHEMES[i].curls, rest);
		return *ret_url ? 0 : err_set(e, -ENOMEM, "out of memory");
	}
	return err_set(e, -EINVAL, "%s must be a URL with http://, https:// or socks5://", what);
}

char *proxy_shown(const char *url)
{
	const char *scheme_end = strstr(url, "://"), *host = scheme_end ? scheme_end + 3 : url;
	size_t len = strcspn(host, "/?#");
	const char *at = memrchr(host, '@', len);
	size_t skip = at ? (size_t)(at + 1 - host) : 0;

	return str_format("%.*s%.*s", (int)(host - url), url, (int)(len - skip), host + skip);
}

/* ---- the environment ---- */

static const char *get(const char *upper, const char *lower)
{
	const char *value = getenv(upper);

	if (str_empty(value))
		value = getenv(lower);
	return str_empty(value) ? NULL : value;
}

struct proxy_environment proxy_environment_get(void)
{
	return (struct proxy_environment){ .http = get("HTTP_PROXY", "http_proxy"),
					   .https = get("HTTPS_PROXY", "https_proxy"),
					   .no_proxy = get("NO_PROXY", "no_proxy"),
					   .cgi = !str_empty(getenv("REQUEST_METHOD")) };
}

int proxy_from_environment(const struct proxy_environment *env, const char *scheme, const char *host, const char *port,
			   char **ret_url, struct err *e)
{
	bool is_https = str_eq(scheme, "https");
	const char *value = is_https ? env->https : env->http, *what = is_https ? "HTTPS_PROXY" : "HTTP_PROXY";
	cleanup_secret char *with_scheme = NULL;
	struct target t = { .port = port };

	*ret_url = NULL;
	if (str_empty(value))
		return 0;
	trim_lower(host, host + MIN(strlen(host), sizeof(t.host) - 1), t.host);
	t.is_ip = parse_ip(t.host, &t.ip);
	if (is_exempt(&t, env->no_proxy))
		return 0;
	if (!is_https && env->cgi)
		return err_set(e, -EINVAL, "HTTP_PROXY is not used when REQUEST_METHOD is set");
	if (!strstr(value, "://")) {
		with_scheme = str_format("http://%s", value);
		if (!with_scheme)
			return err_set(e, -ENOMEM, "out of memory");
	}
	return proxy_url_check(what, with_scheme ? with_scheme : value, ret_url, e);
}
