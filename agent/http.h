/* HTTP: requests to one server on the loop, over as few connections as the server's stream limit allows. Credentials
 * stay in memory; nothing of them is ever given to curl as a path. Loop thread only. */
#pragma once

#include "agent/api_calls.h"
#include "common/err.h"
#include "common/loop.h"

struct http;
struct http_request;

/* Copied. */
struct http_tls {
	const char *ca; /* PEM; NULL: the system's */
	const char *cert, *key; /* PEM of the client certificate; NULL: none */
};

/* All texts are borrowed until http_free(). */
struct http_options {
	const char *server; /* "https://host:port/prefix"; http:// is spoken without credentials */
	const char *tls_server_name; /* SNI and name in the certificate, if not the URL's host */
	struct http_tls tls;
	const char *proxy; /* http, https or socks5 URL; NULL: the environment says (proxy.h) */
	bool insecure; /* the server's certificate is not checked */
	const char *user_agent;
	uint64_t connect_usec; /* for making a connection, TLS included; 0: 30 s */
	uint64_t ping_usec; /* an HTTP/2 connection that is silent for so long is asked something; 0: 15 s */
};

/* -EINVAL: not an absolute http(s) URL without user, query and fragment; e says what. */
int http_new(struct loop *l, const struct http_options *o, struct http **ret_h, struct err *e);
/* Cancels what runs. Not from inside a request's callback. */
void http_free(struct http *h);
DEFINE_CLEANUP(struct http *, http_free);
/* The bearer token of requests that start from now on (copied); NULL: none. -ENOMEM. */
int http_set_token(struct http *h, const char *token);
/* CA and client certificate of connections that are made from now on; a request that starts later uses no older one. A
 * long-lived request that runs is ended (-ECONNABORTED) so that it can be started anew: one first, and when a new
 * connection has been accepted, the others, not all at once. -ENOMEM. */
int http_set_tls(struct http *h, const struct http_tls *tls);
/* The machine has slept, and the connections of before are likely dead: all are given up at once. What runs is done
 * from in here: -ECONNRESET, as where the other end gives it up, if it is long-lived and had begun (200); else
 * -ECONNABORTED: nothing is wrong, and it is to be asked again. */
void http_reopen(struct http *h);
/* What making a connection takes: valid as long as h. */
struct http_target {
	uint16_t port; /* of the server, or of the proxy: the only one that is connected to */
	bool by_name; /* it is looked up */
	bool system_ca; /* some certificate is checked with the system's CAs */
};
struct http_target http_target(const struct http *h);
/* The server's URL without a trailing slash. */
const char *http_server(const struct http *h);

struct http_result {
	int status; /* 0: no complete head came */
	int64_t retry_after_sec; /* -1: the server did not say */
	/* code 0: the response came to its proper end; else why not ("connect to https://...: Connection refused").
	 * -ECONNREFUSED and -ETIMEDOUT are what they say; -EPROTONOSUPPORT: what came is no HTTP that we know. */
	struct err err;
};
/* Of a result's error, where no head came: nobody answered. Not: with what is no HTTP, or with a head that is too long
 * (-EFBIG, and -ENOMEM, which libcurl takes for the same). */
static inline bool http_is_silence(int code)
{
	return code != -EBADMSG && code != -EFBIG && code != -EPROTONOSUPPORT && code != -ENOMEM;
}
/* Called from the loop or http_reopen(), never from inside http_get(). Each may cancel any request, its own included. */
struct http_callbacks {
	void (*head)(void *userdata, int status);
	void (*body)(void *userdata, const char *data, size_t len);
	/* Last and once, unless it is cancelled; the request is gone afterwards. */
	void (*done)(void *userdata, const struct http_result *result);
};
/* What a request brings along. Copied. */
struct http_body {
	const char *method; /* "POST", "PATCH" */
	const char *type; /* "application/json" */
	const char *data;
	size_t len;
};
struct http_get {
	const char *target; /* "/api/v1/..."; appended to the server's URL */
	uint64_t timeout_usec; /* for all of it; 0: none */
	uint64_t silence_usec; /* so long without a byte is an error (whole seconds); 0: any time */
	bool long_lived; /* a watch: many at once, little data */
	const struct http_body *body; /* NULL: GET */
};
/* -ENOMEM. Everything else that goes wrong is told through done. */
int http_get(struct http *h, const struct http_get *get, const struct http_callbacks *callbacks, void *userdata,
	     struct http_request **ret_r);
/* No callback is called for it from here on. NULL is fine. */
void http_cancel(struct http_request *r);

struct http_stats {
	uint64_t n_requests; /* started since http_new() */
	size_t n_running;
	size_t n_connections; /* sockets open now */
	uint64_t n_opened; /* since http_new() */
};
struct http_stats http_stats(const struct http *h);
/* What was asked and answered; valid as long as h. */
const struct api_calls *http_calls(const struct http *h);
