/* The API server's address as libcurl wants it: the URL and what is made of it, and the proxy on the way there. */
#pragma once

#include <curl/curl.h>

#include "agent/http.h"

struct http_server {
	char *name; /* its URL without a trailing slash, for people */
	char *base; /* what requests are made of: the same, or with tls_server_name for the host */
	char *host_header; /* NULL: curl's own */
	struct curl_slist *connect_to; /* NULL: where the URL says */
	char *proxy; /* NULL: none; may hold a password */
	char *shown; /* name, and the proxy without its password */
	struct http_target target;
	bool https;
};

/* Of what o says of the server and the proxy, or the environment of the proxy. *ret is all zero before; after a failure, too,
 * it ends with http_server_deinit(). -EINVAL: a URL that is none, or says too much; -ENOMEM. */
int http_server_parse(const struct http_options *o, struct http_server *ret, struct err *e);
void http_server_deinit(struct http_server *s);
