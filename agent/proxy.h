/* Proxy: which proxy, if any, the environment wants for a server, by Go's rules (net/http.ProxyFromEnvironment), which are
 * those of kubectl and the kubelet and not curl's. Pure. */
#pragma once

#include "common/base.h"
#include "common/err.h"

/* What the environment says; NULL: not set. */
struct proxy_environment {
	const char *http, *https, *no_proxy;
	bool cgi; /* REQUEST_METHOD is set: HTTP_PROXY may be a header of a stranger's */
};

struct proxy_environment proxy_environment_get(void);
/* *ret_url: the proxy for a server of this scheme ("http", "https"), host (IPv6 without brackets) and port; NULL: none.
 * Caller frees with str_free_secret(): it may hold a password. -EINVAL: the variable holds no usable URL; e says which
 * variable, not what is in it. */
int proxy_from_environment(const struct proxy_environment *env, const char *scheme, const char *host, const char *port,
			   char **ret_url, struct err *e);
/* A URL for curl out of one of ours: socks5 resolves names at the proxy, as in Go. http, https, socks5 and socks5h only:
 * -EINVAL. `what` names it in e. */
int proxy_url_check(const char *what, const char *url, char **ret_url, struct err *e);
/* "http://proxy:3128": without user and password, for people. NULL: out of memory. */
char *proxy_shown(const char *url);
