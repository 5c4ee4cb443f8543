/* Errors for people: a code and one sentence, in fixed memory on the caller's stack. */
#pragma once

#include "common/base.h"

#define ERR_TEXT_MAX 512

struct err {
	int code; /* negative errno; 0 while nothing was set */
	unsigned reason; /* a word for machines, whose list is its user's; 0: none was given. err_set() takes it away */
	char text[ERR_TEXT_MAX];
};
#define ERR_INIT ((struct err){ .code = 0 })

/* Writes the sentence (printf-style; %m is errno's text) and returns `code` unchanged, so that
 * `return err_set(e, -errno, "open %s: %m", path);` is the whole failure path. `e` may be NULL; code is
 * negative. A text that is too long is cut and ends in "...". Keeps errno. Control characters that came in
 * through %s are replaced by '?' so that foreign names cannot forge log lines. */
int err_set(struct err *e, int code, const char *fmt, ...) attr_printf(3, 4);

/* Puts "<context>: " in front of what e says and returns e->code (`code` if e is NULL or empty). */
int err_wrap(struct err *e, int code, const char *fmt, ...) attr_printf(3, 4);

/* A sentence for as long as something is wrong, in an object of which there are many: mostly there is none, and then it
 * takes no memory. Never NULL; begins as ERR_NOTE_NONE, which is "", and ends with err_note_clear(). */
typedef const char *err_note;
extern const char err_note_none[];
#define ERR_NOTE_NONE err_note_none

/* Keeps a copy of the text, of at most ERR_TEXT_MAX - 1 bytes, instead of what was there; without memory for that it says
 * that there is none. `text` may be what was there. */
void err_note_set(err_note *note, const char *text);
static inline void err_note_clear(err_note *note)
{
	err_note_set(note, "");
}

/* The sentence, or strerror(-code) when nobody wrote one. Never NULL; valid as long as e is. */
const char *err_text(const struct err *e);
