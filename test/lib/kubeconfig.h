/* Kubeconfig: one with one cluster, for tests of the API server's source. */
#pragma once

/* Writes it to path, 0600. cluster, user: what they have beside the URL, in YAML's flow style (", certificate-authority: ca.crt",
 * "token: sesame"). Fails the running cmocka test. */
void kubeconfig_write(const char *path, const char *url, const char *cluster, const char *user);
