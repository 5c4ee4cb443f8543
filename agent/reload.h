/* Reload: the configuration file is read again while the agent runs, and what can change at once does: the change
 * detection strategy, syncFrequency, secretCacheTTL and the log level. */
#pragma once

#include "agent/config.h"
#include "agent/files.h"
#include "agent/source.h"

struct reload;

/* The whole configuration from the file's text, as at the start: with what the command line says over it, finished. */
typedef int (*reload_parse_fn)(void *userdata, const char *path, const char *text, size_t len, struct config **ret_c,
			       struct err *e);
/* A reload is over: the log level in force and what the source was tuned to, or it was refused (already logged) with a
 * negative errno. */
typedef void (*reload_done_fn)(void *userdata, int log_level_or_error, const struct source_tuning *tuning);

/* Puts the file on the list of `files`, which must not be sealed yet. All is borrowed and outlives it. */
int reload_new(struct files *files, const struct config *c, reload_parse_fn parse, void *parse_userdata,
	       reload_done_fn done, void *userdata, struct reload **ret_r);
void reload_free(struct reload *r);
DEFINE_CLEANUP(struct reload *, reload_free);
/* Reads the file and tunes the source; done is called once, later or from inside. One at a time: however many are asked
 * for while another runs, the file is read once more behind it, and done is called after that. */
void reload_begin(struct reload *r, struct source *source);
