/* Status objects of the test API server, with the texts of the real one. */
#pragma once

#include <jansson.h>

#include "common/base.h"

/* A Failure. reason "" is left out, as the real server does; details may be NULL, else it is taken. */
json_t *status_failure(int code, const char *reason, json_t *take_details, const char *fmt, ...) attr_printf(4, 5);
json_t *status_success(const char *resource, const char *name, const char *uid);
/* {"name": NAME, "kind": RESOURCE}; name may be NULL. */
json_t *status_details(const char *resource, const char *name);

json_t *status_not_found(const char *resource, const char *name);
json_t *status_no_such_resource(void);
json_t *status_method_not_allowed(void);
json_t *status_unauthorized(void);
json_t *status_bad_request(const char *fmt, ...) attr_printf(1, 2);
/* 410; what a watch sends as ERROR event, too. */
json_t *status_expired(uint64_t rv, uint64_t oldest);
json_t *status_continue_expired(const char *inconsistent_token);
/* 504 with the cause that clients look for. */
json_t *status_rv_too_large(uint64_t rv, uint64_t current);
json_t *status_rv_invalid(const char *text);
/* The status code that a Status object carries. */
int status_code(const json_t *status);

/* 422, collected field by field. */
struct field_errors {
	json_t *causes; /* NULL while there are none */
};
/* what: "Invalid", "Required", "Forbidden", "TooLong". The text follows "Invalid value: " and the like as given. */
void field_errors_add(struct field_errors *f, const char *what, const char *field, const char *fmt, ...)
	attr_printf(4, 5);
/* NULL when there were none. Empties f. */
json_t *field_errors_status(struct field_errors *f, const char *kind, const char *name);
