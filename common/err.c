/* Errors for people. A text is put together in a buffer of its own and then copied, so that a caller may quote the
 * sentence it is about to replace, and cleaned in one place, so that no foreign name can forge a log line. */
#include "common/err.h"

#include <stdarg.h>

/* Replaces control characters (C0, DEL, and C1 in UTF-8) by '?'. */
static void text_clean(char *text)
{
	for (unsigned char *c = (unsigned char *)text; *c; c++) {
		if (*c < 0x20 || *c == 0x7f)
			*c = '?';
		else if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f)
			c[0] = c[1] = '?';
	}
}

/* Ends a text that was cut in "...", not in the middle of a UTF-8 sequence. */
static void text_mark_cut(char text[static ERR_TEXT_MAX])
{
	size_t n = ERR_TEXT_MAX - sizeof("...");

	while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
		n--;
	memcpy(text + n, "...", sizeof("..."));
}

static void text_finish(char text[static ERR_TEXT_MAX], int len)
{
	if (len < 0)
		text[0] = '\0';
	else if (len >= ERR_TEXT_MAX)
		text_mark_cut(text);
	text_clean(text);
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	int saved = errno;
	va_list ap;
	int n;

	assert(code < 0);
	if (!e)
		return code;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	text_finish(text, n);

	e->code = code;
	e->reason = 0;
	memcpy(e->text, text, sizeof(text));
	errno = saved;
	return code;
}

int err_wrap(struct err *e, int code, const char *fmt, ...)
{
	char context[ERR_TEXT_MAX], text[ERR_TEXT_MAX];
	int saved = errno;
	va_list ap;
	int n;

	if (!e)
		return code;
	if (!e->code)
		e->code = code;

	va_start(ap, fmt);
	n = vsnprintf(context, sizeof(context), fmt, ap);
	va_end(ap);
	text_finish(context, n);

	n = snprintf(text, sizeof(text), "%s: %s", context, err_text(e));
	text_finish(text, n);

	memcpy(e->text, text, sizeof(text));
	errno = saved;
	return e->code;
}

const char err_note_none[] = "";
static const char note_no_memory[] = "out of memory";

void err_note_set(err_note *note, const char *text)
{
	const char *old = *note;
	char *copy = *text ? strndup(text, ERR_TEXT_MAX - 1) : NULL;

	*note = copy ? copy : *text ? note_no_memory : err_note_none;
	if (old != err_note_none && old != note_no_memory)
		free((void *)(uintptr_t)old);
}

const char *err_text(const struct err *e)
{
	const char *text;

	if (!e)
		return "unknown error";
	if (e->text[0])
		return e->text;

	text = strerrordesc_np(-e->code);
	return text ? text : "unknown error";
}
