/* The log: levels, key=value fields, to stderr or the journal. Never blocks and never prints secret bytes:
 * fields and messages are names, lengths, revisions and reasons; there is no call that takes a buffer. */
#pragma once

#include "common/base.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

struct log_field {
	const char *key; /* lower-case identifier */
	const char *value; /* NULL: the field is left out */
};
#define LOG_FIELDS_MAX 8

/* `program` names the process in each line (keeper, agent, publisher) and is kept by reference. Lines go to
 * the journal's socket in its native format (fields as SECRETLET_KEY) when stderr is the journal (JOURNAL_STREAM
 * matches), else to stderr as `2026-11-22T05:50:05.123Z info agent: message key=value`, each with one write(2) of at
 * most 4 KiB; what is longer is cut and ends in "...". When nobody takes the line at once it is dropped and counted,
 * and the next line that goes out is preceded by the count. */
void log_init(const char *program, enum log_level max);
void log_set_level(enum log_level max);
enum log_level log_get_level(void);
/* "error", "warning", "info", "debug" -> level. -EINVAL: none of these. */
int log_level_parse(const char *text, enum log_level *ret_level);
/* Lines dropped because nobody read them fast enough. */
uint64_t log_dropped(void);

/* For messages that foreign input can repeat at will: at most `burst` lines in `window_usec`. */
struct log_limit {
	uint64_t window_usec;
	unsigned burst;
	unsigned n_lines; /* let through in this window */
	uint64_t start_usec; /* of this window */
	uint64_t n_held; /* lines held back since the last one that was let through */
	uint64_t n_held_before; /* n_held as it was when the last line was let through: for that line's text */
};
#define LOG_LIMIT_INIT(window, n) ((struct log_limit){ .window_usec = (window), .burst = (n) })
/* Whether to write one more line; now is monotonic. */
bool log_limit_ok(struct log_limit *l, uint64_t now_usec);

/* fields: NULL, or an array that ends with a NULL key. Control characters and invalid UTF-8 are escaped as
 * \xNN; values with spaces or quotes are quoted. Keeps errno. */
void log_write(enum log_level level, const struct log_field *fields, const char *fmt, ...) attr_printf(3, 4);

/* log_info(LOG_F({ "pod", name }, { "volume", volume }), "published %zu files", n); NULL for no fields */
#define LOG_F(...)		 ((const struct log_field[]){ __VA_ARGS__, { NULL, NULL } })
#define log_error(fields, ...)	 log_write(LOG_LEVEL_ERROR, fields, __VA_ARGS__)
#define log_warning(fields, ...) log_write(LOG_LEVEL_WARNING, fields, __VA_ARGS__)
#define log_info(fields, ...)	 log_write(LOG_LEVEL_INFO, fields, __VA_ARGS__)
#define log_debug(fields, ...)                                                                                         \
	do {                                                                                                           \
		if (log_get_level() >= LOG_LEVEL_DEBUG)                                                                \
			log_write(LOG_LEVEL_DEBUG, fields, __VA_ARGS__);                                               \
	} while (0)
