/* Audit sink: where records go, a file of JSON lines or the journal. Only the audit process waits for it. */
#pragma once

#include "common/err.h"
#include "common/json.h"

struct audit_sink;

/* A path, or AUDIT_JOURNAL. What cannot be opened now is tried again with each write. -ENOMEM. */
int audit_sink_new(const char *target, struct audit_sink **ret_s);
void audit_sink_free(struct audit_sink *s);
DEFINE_CLEANUP(struct audit_sink *, audit_sink_free);
/* For a process that gives up every other path: the folder of the file (made, if it is not there) or of the journal's socket,
 * O_PATH, to be closed by the caller. */
int audit_sink_open_folder(const struct audit_sink *s, struct err *e);
/* From now on that is reached through this descriptor of its folder alone (negative errno: there is none), and /proc is the
 * root folder. */
void audit_sink_keep_folder(struct audit_sink *s, int take_dirfd);
/* That folder is not there (any more): it takes another process to find it. */
bool audit_sink_is_lost(const struct audit_sink *s);
/* The file is opened anew before the next write; so it is when another one has got its name. */
void audit_sink_reopen(struct audit_sink *s);
/* Whole lines, of which those that are in the file afterwards are counted in *ret_taken (bytes). 0, or why the rest is not;
 * the file never ends in a part of a line. now_usec is monotonic. */
int audit_sink_write(struct audit_sink *s, const char *lines, size_t len, uint64_t now_usec, size_t *ret_taken,
		     struct err *e);
/* For the journal, which takes record by record; `line` is the record's text. */
bool audit_sink_is_journal(const struct audit_sink *s);
int audit_sink_send(struct audit_sink *s, const char *message, json_t *record, const char *line, struct err *e);
