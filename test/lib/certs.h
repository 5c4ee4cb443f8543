/* Certificates for tests: a CA, a server, clients. */
#pragma once

#include "common/err.h"

/* Writes into dir (which exists), with the openssl program: ca.crt, ca.key; server.crt and server.key for localhost and
 * 127.0.0.1; node-1.* and node-2.* (system:node:NAME, system:nodes); admin.* (system:masters); and stranger.*, which
 * claims to be admin and is signed by another CA. PEM; valid for a day. */
int certs_make(const char *dir, struct err *e);
