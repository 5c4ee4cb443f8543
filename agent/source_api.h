/* The API server as a source: pods by spec.nodeName, one reflector for each wanted Secret by metadata.name, all over one
 * shared set of HTTP/2 connections. */
#pragma once

#include "agent/files.h"
#include "agent/http.h"
#include "agent/source.h"
#include "common/loop.h"

struct source_api_options {
	const char *kubeconfig; /* path; NULL: in-cluster credentials */
	const char *service_account_dir; /* of these; NULL: KUBECONFIG_IN_CLUSTER_DIR */
	const char *node_name;
	uint64_t credentials_usec; /* how often credential files are read; 0: as credentials.h says */
	struct source_tuning tuning;
	uint64_t ping_usec; /* how often HTTP/2 connections are asked whether they live; 0: as http.h says */
	unsigned kube_api_qps, kube_api_burst; /* of requests that are no watches; qps 0: no limit */
};

/* Reads the kubeconfig and the files that it names (so: called with the privileges to do that), and puts the ones that
 * can rotate on the list of `files`. e names the file, and line and column where they matter. */
int source_api_new(struct loop *l, struct files *files, const struct source_api_options *options,
		   const struct source_sink *sink, void *userdata, struct source **ret_s, struct err *e);
/* Where its connections go, once it has started. */
struct http_target source_api_target(struct source *s);

/* For requests that are nobody's who waits: how long until the server can be asked something beside all else; 0: now,
 * and that one is counted in kubeAPIQPS. USEC_INFINITY: it does not answer, or has not been started yet. */
uint64_t source_api_admit(struct source *s);
/* It has begun to answer such a request, with this status: an outage is over with that, as with any other answer. */
void source_api_answered(struct source *s, int status);
/* Its client, once it has started. */
struct http *source_api_http(struct source *s);
