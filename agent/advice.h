/* Advice: for each word that says what is wrong (reason.h, and those of explain.c), what one does about it. A table, and
 * nothing else is known here. */
#pragma once

#include "common/err.h"
#include "common/json.h"

struct advice {
	const char *code; /* "KeyNotFound" */
	const char *text; /* a sentence or two; {name} stands for a word of the case at hand */
	const char *commands[3]; /* for a shell; NULL at the end */
	/* where a folder of manifests takes the API server's place, if it is something else */
	const char *manifests_text;
	const char *manifests_commands[2];
};

/* NULL: there is none of that code. */
const struct advice *advice_find(const char *code);
const struct advice *advice_at(size_t i); /* NULL: that were all */
/* Puts the words, strings of an object, into a text of the table; one that is not there reads as its name in capitals, for
 * people to fill in. shell: each word is quoted if it has to be. NULL: out of memory, or too long. */
char *advice_expand(const char *text, const json_t *words, bool shell);
