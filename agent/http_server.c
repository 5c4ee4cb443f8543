/* The API server's address: read once, with curl's own parser, so that it is what curl will take it for. */
#include "agent/http_server.h"

#include <arpa/inet.h>

#include "agent/proxy.h"
#include "common/str.h"

struct url {
	char *scheme, *host, *port, *shown_port;
};

DEFINE_CLEANUP(CURLU *, curl_url_cleanup);

static void url_deinit(struct url *u)
{
	curl_free(u->scheme);
	curl_free(u->host);
	curl_free(u->port);
	curl_free(u->shown_port);
}

static bool has_part(CURLU *u, CURLUPart part)
{
	char *text = NULL;
	bool has = curl_url_get(u, part, &text, 0) == CURLUE_OK;

	curl_free(text);
	return has;
}

static int parse_parts(CURLU *u, const char *server, struct url *ret, struct err *e)
{
	const char *authority = strstr(server, "://");

	if (!u)
		return -ENOMEM;
	/* curl takes one slash, or three, for two */
	if (!authority || authority[3] == '/' || curl_url_set(u, CURLUPART_URL, server, 0) != CURLUE_OK)
		return err_set(e, -EINVAL, "\"%s\" is not a URL with https:// or http://", server);
	if (has_part(u, CURLUPART_USER) || has_part(u, CURLUPART_PASSWORD) || has_part(u, CURLUPART_OPTIONS))
		return err_set(e, -EINVAL, "the URL must not hold a user or a password");
	if (has_part(u, CURLUPART_QUERY) || has_part(u, CURLUPART_FRAGMENT))
		return err_set(e, -EINVAL, "\"%s\" must not have a query or a fragment", server);
	if (curl_url_get(u, CURLUPART_SCHEME, &ret->scheme, 0) != CURLUE_OK ||
	    curl_url_get(u, CURLUPART_HOST, &ret->host, 0) != CURLUE_OK ||
	    curl_url_get(u, CURLUPART_PORT, &ret->port, CURLU_DEFAULT_PORT) != CURLUE_OK)
		return err_set(e, -EINVAL, "\"%s\" is not a URL with https:// or http://", server);
	if (!str_eq(ret->scheme, "https") && !str_eq(ret->scheme, "http"))
		return err_set(e, -EINVAL, "\"%s\" is not a URL with https:// or http://", server);
	return 0;
}

/* curl takes the name to check from the URL, so the URL gets the other name, and is connected to the real host. */
static int use_server_name(const struct http_options *o, struct http_server *s, const struct url *u)
{
	const char *name = o->tls_server_name, *path = strchr(strstr(s->name, "://") + 3, '/');
	cleanup_free char *to = str_format("%s:%s:%s:%s", name, u->port, u->host, u->port);

	s->connect_to = to ? curl_slist_append(NULL, to) : NULL;
	s->host_header = str_format("%s:%s", u->host, u->port);
	s->base = str_format("https://%s:%s%s", name, u->port, path ? path : "");
	return s->connect_to && s->host_header && s->base ? 0 : -ENOMEM;
}

static int take_url(const struct http_options *o, struct http_server *s, const struct url *u)
{
	s->https = str_eq(u->scheme, "https");
	s->name = strdup(o->server);
	if (!s->name)
		return -ENOMEM;
	for (size_t len = strlen(s->name); len > 0 && s->name[len - 1] == '/'; len--)
		s->name[len - 1] = '\0';
	if (s->https && o->tls_server_name)
		return use_server_name(o, s, u);
	s->base = strdup(s->name);
	return s->base ? 0 : -ENOMEM;
}

static int find_proxy(const struct http_options *o, struct http_server *s, const struct url *u, struct err *e)
{
	const struct proxy_environment env = proxy_environment_get();
	cleanup_free char *host = strdup(u->host[0] == '[' ? u->host + 1 : u->host);

	if (!host)
		return -ENOMEM;
	host[strcspn(host, "]")] = '\0';
	return o->proxy ? proxy_url_check("proxy-url", o->proxy, &s->proxy, e)
			: proxy_from_environment(&env, u->scheme, host, u->port, &s->proxy, e);
}

static int take_proxy(const struct http_options *o, struct http_server *s, const struct url *u, struct err *e)
{
	cleanup_free char *proxy = NULL;
	int r;

	r = find_proxy(o, s, u, e);
	if (r < 0)
		return r;
	proxy = s->proxy ? proxy_shown(s->proxy) : NULL;
	s->shown = s->proxy ? str_format("%s through %s", s->name, proxy ? proxy : "a proxy") : strdup(s->name);
	return s->shown ? 0 : -ENOMEM;
}

static bool is_address(const char *host)
{
	struct in6_addr a;

	return host[0] == '[' || inet_pton(AF_INET, host, &a) == 1 || inet_pton(AF_INET6, host, &a) == 1;
}

/* A port that a proxy's URL does not name is what curl takes for it. */
static int take_target(const struct http_options *o, struct http_server *s, const struct url *u)
{
	cleanup(curl_url_cleanupp) CURLU *parser = s->proxy ? curl_url() : NULL;
	char *host = NULL, *port = NULL;
	bool tls = s->https;

	s->target.system_ca = s->https && !o->tls.ca && !o->insecure;
	if (s->proxy) {
		tls = strncasecmp(s->proxy, "https:", 6) == 0;
		s->target.system_ca = s->target.system_ca || tls;
		if (!parser ||
		    curl_url_set(parser, CURLUPART_URL, s->proxy, CURLU_NON_SUPPORT_SCHEME | CURLU_GUESS_SCHEME) !=
			    CURLUE_OK ||
		    curl_url_get(parser, CURLUPART_HOST, &host, 0) != CURLUE_OK)
			return -ENOMEM;
		(void)curl_url_get(parser, CURLUPART_PORT, &port, 0);
	}
	s->target.by_name = !is_address(host ? host : u->host);
	s->target.port = s->proxy ? (uint16_t)atoi(port ? port : tls ? "443" : "1080") : (uint16_t)atoi(u->port);
	curl_free(host);
	curl_free(port);
	return 0;
}

int http_server_parse(const struct http_options *o, struct http_server *s, struct err *e)
{
	CURLU *parser = curl_url();
	struct url u = { NULL };
	int r;

	r = parse_parts(parser, o->server, &u, e);
	if (r == 0)
		r = take_url(o, s, &u);
	if (r == 0)
		r = take_proxy(o, s, &u, e);
	if (r == 0)
		r = take_target(o, s, &u);
	curl_url_cleanup(parser);
	url_deinit(&u);
	return r == -ENOMEM ? err_set(e, r, "out of memory") : r;
}

void http_server_deinit(struct http_server *s)
{
	curl_slist_free_all(s->connect_to);
	free(s->host_header);
	free(s->base);
	free(s->name);
	free(s->shown);
	str_free_secret(s->proxy);
}
