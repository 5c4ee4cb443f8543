/* Command line: the subcommands and what they share. Each returns an exit status. */
#pragma once

#include "agent/client.h"
#include "agent/config.h"
#include "agent/options.h"
#include "agent/table.h"
#include "common/json.h"
#include "common/str.h"

enum cli_status {
	CLI_OK = 0,
	CLI_FAILED = 1, /* also: not healthy, not ready */
	CLI_USAGE = 2,
	CLI_UNREACHABLE = 3, /* no daemon answers */
	CLI_CONFIG = 78, /* sysexits.h's EX_CONFIG: the daemon's configuration is wrong */
	CLI_LATER = 256, /* of run alone, no exit status: CLI_FAILED, once a pause is over */
};

/* main() without the process's set-up. */
int cli_main(int argc, char **argv);

/* `words` are the command line's words after the command (in getopt's order), NULL-terminated. */
int cli_run(const struct options *o, char *const *words);
int cli_internal_agent(const struct options *o, char *const *words);
int cli_internal_publisher(const struct options *o, char *const *words);
int cli_internal_cache(const struct options *o, char *const *words);
int cli_internal_audit(const struct options *o, char *const *words);
int cli_internal_signaller(const struct options *o, char *const *words);
int cli_status(const struct options *o, char *const *words);
int cli_pods(const struct options *o, char *const *words);
int cli_volumes(const struct options *o, char *const *words);
int cli_top(const struct options *o, char *const *words);
int cli_explain(const struct options *o, char *const *words);
int cli_wait(const struct options *o, char *const *words);
int cli_secrets(const struct options *o, char *const *words);
int cli_refresh(const struct options *o, char *const *words);
int cli_mounts(const struct options *o, char *const *words);
int cli_env(const struct options *o, char *const *words);
int cli_pull_config(const struct options *o, char *const *words);
int cli_check(const struct options *o, char *const *words);
int cli_keygen(const struct options *o, char *const *words);
int cli_seal(const struct options *o, char *const *words);
int cli_cache(const struct options *o, char *const *words);
int cli_hook(const struct options *o, char *const *words);
int cli_version(const struct options *o, char *const *words);
int cli_internal_complete(const struct options *o, char *const *words);

/* With this first word, or this option (a bit), these options (bits; 0: there are no more conflicts) make no sense. */
struct cli_conflict {
	const char *word;
	uint32_t option, refused;
};

/* The commands that people use, for completion; NULL name: that were all. */
struct cli_command_info {
	const char *name, *usage, *help;
	uint32_t options;
	const struct cli_conflict *conflicts; /* NULL: none */
};
struct cli_command_info cli_command_info(size_t i);

/* Of a process that reads secrets: no core, not traceable. */
void cli_hide_memory(void);
/* Says e's sentence on stderr and returns `status`. */
int cli_fail(enum cli_status status, const struct err *e);
int cli_fail_memory(void);
/* The exit status for what client_get() returned when it failed. */
int cli_request_status(int r);
/* Says the "error" of an answer other than 200. */
int cli_fail_reply(const struct client_reply *reply);
/* client_get() with the usual time limit. */
int cli_get(const struct options *o, const char *path, struct client_reply *ret, struct err *e);
/* Whether what cli_get() returned is no answer but a daemon that is not there, or not yet, or no longer. */
bool cli_is_passing(int r, const struct client_reply *reply);
/* GET. CLI_OK: *ret_json; else the exit status, and the reason was said. */
int cli_fetch(const struct options *o, const char *path, json_t **ret_json);
/* The pods of an answer to it, as an array; see struct listing. */
int cli_pods_rows(const json_t *document, json_t **ret_rows, struct err *e);
/* The path of all pods, or of the one that the command line names. An exit status as of cli_fetch(). */
int cli_pods_path(const struct options *o, char **ret_path);
/* Asks about the pod args[0] until there is an answer that time will not change, or timeout_usec is over. What came last is
 * in ret or e. */
int cli_wait_for(const struct options *o, struct client_reply *ret, struct err *e);
/* Says why the pod is not ready; returns the exit status. */
int cli_wait_say(const struct options *o, const struct client_reply *reply);
/* --output is json or yaml. */
bool cli_is_for_programs(const struct options *o);
/* As YAML, if that is asked for, else as JSON. */
int cli_print(const struct options *o, const json_t *json);
int cli_print_json(const json_t *json);
int cli_print_json_line(const json_t *json);
/* table_new() that reports. */
int cli_table_new(size_t n_columns, const char *const *headers, struct table **ret_t);
/* Prints and frees. */
int cli_print_table(struct table *take_table);

/* Members of an answer; what is not there or of another type reads as "", 0, false. */
const char *cli_str(const json_t *obj, const char *key);
int64_t cli_int(const json_t *obj, const char *key);
bool cli_bool(const json_t *obj, const char *key);
/* "3m4s"; at least "0s". Returns text. */
const char *cli_age(int64_t seconds, char text[static STR_AGE_MAX]);
/* "3m4s" since an RFC 3339 time; "-" if it is none. Returns text. */
const char *cli_since(const char *rfc3339, char text[static STR_AGE_MAX]);
/* "3m4s" until an RFC 3339 time; "0s" when it is over, "-" if it is none. Returns text. */
const char *cli_until(const char *rfc3339, char text[static STR_AGE_MAX]);
enum table_style cli_volume_style(const char *state);
