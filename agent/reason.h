/* Reason: why something cannot be had or shown, as a word for machines. It stands in struct err's `reason`, beside the
 * sentence, and is set where the sentence is made; it is never found out from the sentence. The words are a promise:
 * scripts and `secretlet explain` go by them. secretlet(8) has the list. */
#pragma once

#include "common/secmem.h"

enum reason {
	REASON_NONE,
	REASON_SECRET_MEMORY_FULL = SECMEM_FULL,
	/* of an object */
	REASON_NOT_FETCHED,
	REASON_SECRET_NOT_FOUND,
	REASON_CONFIG_MAP_NOT_FOUND,
	REASON_KEY_NOT_FOUND,
	REASON_NO_TOKENS,
	REASON_TOKEN_FORBIDDEN,
	REASON_ACCOUNT_NOT_FOUND,
	REASON_OBJECT_INVALID,
	REASON_MANIFEST_INVALID,
	REASON_SEALED_UNREADABLE,
	/* of the source */
	REASON_SOURCE_UNUSABLE,
	REASON_API_SERVER_UNREACHABLE,
	REASON_CERTIFICATE_EXPIRED,
	REASON_CERTIFICATE_NOT_YET_VALID,
	REASON_CERTIFICATE_UNKNOWN_AUTHORITY,
	REASON_CERTIFICATE_WRONG_NAME,
	REASON_TLS_FAILED,
	REASON_UNAUTHORIZED,
	REASON_FORBIDDEN,
	REASON_NOT_FOUND_AT_SERVER,
	REASON_TOO_MANY_REQUESTS,
	REASON_API_SERVER_ERROR,
	REASON_ANSWER_INVALID,
	REASON_ANSWER_TOO_LARGE,
	REASON_LIST_DOUBTED,
	REASON_NO_ROOM_FOR_POD,
	/* of the volume */
	REASON_STATIC_POD,
	REASON_VOLUME_INVALID,
	REASON_OPTION_INVALID,
	REASON_LAYOUT_STAYS,
	REASON_PATH_INVALID,
	REASON_MOUNT_PATH_INVALID,
	REASON_TOO_LARGE,
	REASON_FIELD_INVALID,
	REASON_NODE_NOT_FETCHED,
	REASON_PUBLISH_FAILED,
	REASON_FOLDER_HELD,
	REASON_RENAME_HELD,
	REASON_OUT_OF_MEMORY,
	REASON_OTHER,
	REASONS_N,
};

/* "KeyNotFound"; "" for REASON_NONE. */
const char *reason_name(enum reason reason);
/* e's; REASON_NONE while nothing has failed, REASON_OTHER where nobody has said. */
enum reason reason_of_error(const struct err *e);
/* For a sentence that has just been written: returns r. */
int reason_set(struct err *e, enum reason reason, int r);
/* What an HTTP status says, of an answer that is no success; 0, of none: what e says. */
enum reason reason_of_answer(int status, const struct err *e);
