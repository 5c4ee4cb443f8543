/* Credentials: follows the files that token, CA and client certificate were read from, and gives what is new in them to
 * the HTTP client. Loop thread only. */
#pragma once

#include "agent/files.h"
#include "agent/http.h"
#include "agent/kubeconfig.h"
#include "common/loop.h"

struct credentials;

/* Puts the kubeconfig's files on the list of `files`. All arguments are borrowed; the texts in k are replaced as the files
 * change. Every file is read each period_usec (0: 30 s). */
int credentials_new(struct loop *l, struct files *files, struct kubeconfig *k, uint64_t period_usec,
		    struct credentials **ret_c, struct err *e);
void credentials_free(struct credentials *c);
/* http has what k says; borrowed. */
int credentials_start(struct credentials *c, struct http *http);
/* fn is called after each reading of the files. */
void credentials_on_read(struct credentials *c, void (*fn)(void *userdata), void *userdata);
/* The server has refused us (401): reads the files now, unless that was done a moment ago. true: they are being read, or
 * have been before this returns; fn is called, or has been. */
bool credentials_doubt(struct credentials *c);
/* Another number each time something new has been taken. */
uint64_t credentials_generation(const struct credentials *c);
