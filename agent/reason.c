/* Reason: the words, and what a status or an errno of a request amounts to where nobody has said it more exactly. */
#include "agent/reason.h"

static const char *const NAMES[REASONS_N] = {
	[REASON_NONE] = "",
	[REASON_NOT_FETCHED] = "NotFetched",
	[REASON_SECRET_NOT_FOUND] = "SecretNotFound",
	[REASON_CONFIG_MAP_NOT_FOUND] = "ConfigMapNotFound",
	[REASON_KEY_NOT_FOUND] = "KeyNotFound",
	[REASON_NO_TOKENS] = "NoTokens",
	[REASON_TOKEN_FORBIDDEN] = "TokenForbidden",
	[REASON_ACCOUNT_NOT_FOUND] = "ServiceAccountNotFound",
	[REASON_OBJECT_INVALID] = "ObjectInvalid",
	[REASON_MANIFEST_INVALID] = "ManifestInvalid",
	[REASON_SEALED_UNREADABLE] = "SealedValueUnreadable",
	[REASON_SECRET_MEMORY_FULL] = "SecretMemoryFull",
	[REASON_SOURCE_UNUSABLE] = "SourceUnusable",
	[REASON_API_SERVER_UNREACHABLE] = "ApiServerUnreachable",
	[REASON_CERTIFICATE_EXPIRED] = "CertificateExpired",
	[REASON_CERTIFICATE_NOT_YET_VALID] = "CertificateNotYetValid",
	[REASON_CERTIFICATE_UNKNOWN_AUTHORITY] = "CertificateUnknownAuthority",
	[REASON_CERTIFICATE_WRONG_NAME] = "CertificateWrongName",
	[REASON_TLS_FAILED] = "TLSFailed",
	[REASON_UNAUTHORIZED] = "Unauthorized",
	[REASON_FORBIDDEN] = "Forbidden",
	[REASON_NOT_FOUND_AT_SERVER] = "NotFoundAtServer",
	[REASON_TOO_MANY_REQUESTS] = "TooManyRequests",
	[REASON_API_SERVER_ERROR] = "ApiServerError",
	[REASON_ANSWER_INVALID] = "AnswerInvalid",
	[REASON_ANSWER_TOO_LARGE] = "AnswerTooLarge",
	[REASON_LIST_DOUBTED] = "PodListDoubted",
	[REASON_NO_ROOM_FOR_POD] = "NoRoomForPod",
	[REASON_STATIC_POD] = "StaticPod",
	[REASON_VOLUME_INVALID] = "VolumeInvalid",
	[REASON_OPTION_INVALID] = "VolumeOptionInvalid",
	[REASON_LAYOUT_STAYS] = "LayoutUnchangeable",
	[REASON_PATH_INVALID] = "PathInvalid",
	[REASON_MOUNT_PATH_INVALID] = "MountPathInvalid",
	[REASON_TOO_LARGE] = "TooLarge",
	[REASON_FIELD_INVALID] = "FieldInvalid",
	[REASON_NODE_NOT_FETCHED] = "NodeNotFetched",
	[REASON_PUBLISH_FAILED] = "PublishFailed",
	[REASON_FOLDER_HELD] = "FolderHeld",
	[REASON_RENAME_HELD] = "RenameHeld",
	[REASON_OUT_OF_MEMORY] = "OutOfMemory",
	[REASON_OTHER] = "Other",
};

const char *reason_name(enum reason reason)
{
	return reason < REASONS_N ? NAMES[reason] : NAMES[REASON_OTHER];
}

enum reason reason_of_error(const struct err *e)
{
	if (e->code == 0)
		return REASON_NONE;
	if (e->reason != REASON_NONE)
		return (enum reason)e->reason;
	return e->code == -ENOMEM ? REASON_OUT_OF_MEMORY : REASON_OTHER;
}

int reason_set(struct err *e, enum reason reason, int r)
{
	if (e)
		e->reason = reason;
	return r;
}

static enum reason of_no_answer(const struct err *e)
{
	if (e->reason != REASON_NONE)
		return (enum reason)e->reason;
	switch (e->code) {
	case -ENOMEM:
		return REASON_OUT_OF_MEMORY;
	case -EFBIG:
		return REASON_ANSWER_TOO_LARGE;
	case -EBADMSG:
	case -EPROTONOSUPPORT:
		return REASON_ANSWER_INVALID;
	case -EPROTO:
		return REASON_TLS_FAILED;
	default:
		return REASON_API_SERVER_UNREACHABLE;
	}
}

enum reason reason_of_answer(int status, const struct err *e)
{
	switch (status) {
	case 401:
		return REASON_UNAUTHORIZED;
	case 403:
		return REASON_FORBIDDEN;
	case 404:
		return REASON_NOT_FOUND_AT_SERVER;
	case 429:
		return REASON_TOO_MANY_REQUESTS;
	default:
		/* one that was good as far as it came is none */
		return status >= 300 ? REASON_API_SERVER_ERROR : of_no_answer(e);
	}
}
