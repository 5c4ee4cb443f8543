/* Kubeconfig: the file that says which API server, and with which credentials. What would change how we authenticate and
 * is not supported (exec plugins, passwords, impersonation) is refused by name and never passed over. */
#pragma once

#include "common/base.h"
#include "common/err.h"

/* The current context's cluster and user. Texts of files were read already. */
struct kubeconfig {
	char *server; /* as it is in the file */
	char *tls_server_name; /* NULL: the server's host */
	char *proxy; /* proxy-url, secret: may hold a password; NULL: as the environment says */
	bool insecure; /* insecure-skip-tls-verify */
	char *ca; /* PEM; NULL: the system's */
	char *client_cert; /* PEM; NULL: none */
	char *client_key; /* PEM, secret */
	char *token; /* secret; of tokenFile if there is one */
	char *token_file; /* absolute; NULL: the token does not change */
	char *ca_file, *cert_file, *key_file; /* absolute; where these were read from; NULL: not from a file */
};

enum kubeconfig_pem { KUBECONFIG_CA, KUBECONFIG_CERT, KUBECONFIG_KEY };

#define KUBECONFIG_TOKEN_MAX 65536

/* Every error is `FILE:LINE:COLUMN: reason`, or names the file that could not be read. */
int kubeconfig_load(const char *path, struct kubeconfig **ret_k, struct err *e);
/* What a pod of the cluster is given: address in KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT, `token` and `ca.crt`
 * in the folder. -ENOENT: these variables are not set. */
#define KUBECONFIG_IN_CLUSTER_DIR "/var/run/secrets/kubernetes.io/serviceaccount"
int kubeconfig_in_cluster(const char *dir, struct kubeconfig **ret_k, struct err *e);
/* The variables are set and the files are there. */
bool kubeconfig_is_in_cluster(const char *dir);
void kubeconfig_free(struct kubeconfig *k);
DEFINE_CLEANUP(struct kubeconfig *, kubeconfig_free);
#define cleanup_kubeconfig cleanup(kubeconfig_freep)
/* Reads a PEM text from an fd of ca_file, cert_file or key_file; what does not look like one: -EINVAL. */
int kubeconfig_read_pem(int fd, const char *name, enum kubeconfig_pem kind, char **ret_text, struct err *e);
/* Reads a token from an fd of token_file: white space around it is dropped; empty, or with control characters in it:
 * -EINVAL. */
int kubeconfig_read_token(int fd, const char *name, char **ret_token, struct err *e);
