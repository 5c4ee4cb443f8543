/* API: the paths, query strings and Status objects of the Kubernetes API, as far as we speak it. No policy. */
#pragma once

#include "common/err.h"
#include "common/json.h"

/* What is listed and watched. All texts are borrowed. */
struct api_resource {
	const char *plural; /* "secrets" */
	const char *kind; /* "Secret" */
	const char *list_kind; /* "SecretList" */
	const char *ns; /* NULL: all namespaces */
	const char *field; /* field selector "metadata.name=value"; NULL: none */
	const char *field_value;
};

struct api_list {
	unsigned limit; /* 0: all at once */
	const char *resource_version; /* NULL or "": the most recent; "0": any */
	const char *continue_token; /* NULL: the first page; else resource_version is not sent */
	bool exact; /* what there was at resource_version, and nothing newer (Kubernetes 1.19; older servers do not know it) */
};
/* "/api/v1/namespaces/NS/secrets?fieldSelector=metadata.name%3DNAME&limit=500&resourceVersion=0". -ENOMEM. */
int api_list_target(const struct api_resource *resource, const struct api_list *list, char **ret_target);
/* "...&watch=true", with bookmarks. */
int api_watch_target(const struct api_resource *resource, const char *resource_version, unsigned timeout_sec,
		     char **ret_target);

/* One object, its name in field_value: "/api/v1/namespaces/NS/secrets/NAME?resourceVersion=0". */
int api_object_target(const struct api_resource *resource, const char *resource_version, char **ret_target);

/* A watch that begins with all there is, as ADDED events, and a bookmark that says so (WatchList). resource_version: NULL
 * or "": the most recent state, else one at least as new. */
int api_stream_target(const struct api_resource *resource, const char *resource_version, unsigned timeout_sec,
		      char **ret_target);

/* Why a request failed, from the HTTP status and the Status object in the body if there is one. */
struct api_failure {
	int code; /* HTTP status, or Status.code in an ERROR event */
	char reason[64]; /* Status.reason: "Forbidden", "Expired"; "" when there is none */
	int64_t retry_after_sec; /* details.retryAfterSeconds; -1: not said */
	bool version_too_large; /* cause ResourceVersionTooLarge, or the text of it */
	bool namespace_ends; /* cause NamespaceTerminating: nothing new is made in it */
	struct err err; /* Status.message, or "server answered 503 Service Unavailable" */
};
/* body: the response's, may be anything. */
void api_failure_from_body(int http_status, const char *body, size_t len, struct api_failure *ret);
/* status: the object of an ERROR event. */
void api_failure_from_status(const json_t *status, struct api_failure *ret);
/* The API server's own word that there is no such object: a 404 with a Status that names it. A proxy has its own 404, and so
 * has a server that knows no such path. resource: field_value is the object's name. */
bool api_says_absent(const struct api_resource *resource, int http_status, const char *body, size_t len);
/* 410 or reason Expired or Gone: the resource version is too old. */
bool api_failure_is_expired(const struct api_failure *f);
