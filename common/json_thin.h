/* JSON of an API server, for less than json_parse() takes: jansson looks at each byte of a string several times, and a Secret is
 * little else than one long string. */
#pragma once

#include "common/err.h"
#include "common/json.h"

/* As json_parse(), with the same document as its result, or the same error; but lists named managedFields, which nobody reads, are
 * empty in it, and it is not looked at whether they were well-formed inside. What is written once more for that is part of what it
 * may take (JSON_MEMORY_MAX): a document that takes too much with it, and not without, is the one that json_parse() makes. */
int json_parse_thin(const char *text, size_t len, json_t **ret_doc, struct err *e);
