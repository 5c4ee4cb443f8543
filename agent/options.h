/* Options: one table of all command line options, of which each command takes a subset. */
#pragma once

#include "agent/table.h"
#include "common/base.h"
#include "common/err.h"
#include "common/log.h"

enum option_id {
	OPTION_CONFIG,
	OPTION_KUBECONFIG,
	OPTION_MANIFESTS,
	OPTION_NODE_NAME,
	OPTION_PODS_DIR,
	OPTION_RUNTIME_DIR,
	OPTION_USER,
	OPTION_LOG_LEVEL,
	/* --output: of a listing, of mounts, of check and of env */
	OPTION_OUTPUT,
	OPTION_MOUNTS_OUTPUT,
	OPTION_CHECK_OUTPUT,
	OPTION_ENV_OUTPUT,
	OPTION_COLOR,
	OPTION_WATCH,
	OPTION_READY,
	OPTION_BATCH,
	OPTION_NULL,
	OPTION_TIMEOUT,
	OPTION_QUIET,
	OPTION_SELECTOR,
	OPTION_KIND,
	OPTION_OUT,
	OPTION_PUBLIC_KEY,
	OPTION_HELP,
	OPTIONS_N,
};
#define OPTION_BIT(id) (UINT32_C(1) << (id))

enum options_output { OUTPUT_TABLE, OUTPUT_WIDE, OUTPUT_JSON, OUTPUT_YAML, OUTPUT_LINE, OUTPUT_NULL, OUTPUTS_N };

#define OPTIONS_RUNTIME_DIR   "/run/secretlet"
#define OPTIONS_WAIT_USEC     (30 * USEC_PER_SEC)
#define OPTIONS_WAIT_MAX_USEC (7 * 24 * 3600 * USEC_PER_SEC)

/* What a command line says. All strings are borrowed from argv; NULL: not given. */
struct options {
	const char *config, *kubeconfig, *manifests, *node_name, *pods_dir, *user, *out, *public_key, *selector, *kind;
	const char *runtime_dir; /* OPTIONS_RUNTIME_DIR unless has_runtime_dir */
	bool has_runtime_dir;
	enum log_level log_level;
	bool has_log_level;
	enum options_output output; /* the option's default, if it is allowed and not given */
	enum table_colour colour;
	uint64_t timeout_usec;
	bool quiet, watch, ready, batch, help;
	uint32_t given; /* bits */
	char *const *args; /* the words that are no options */
	size_t n_args;
};

/* Parses argv (argv[0] is the command's name, argv[argc] NULL) with the options whose bits are in `allowed`;
 * --help always is. Options and words may be mixed: argv is put in order. -EINVAL: e names what is wrong. */
int options_parse(uint32_t allowed, int argc, char **argv, struct options *ret_o, struct err *e);
/* The name of the first of these options (bits) that is given; NULL: none is. */
const char *options_given(const struct options *o, uint32_t ids);
struct option_info {
	const char *name; /* without the dashes */
	char letter;
	const char *arg; /* "FILE"; NULL: takes none */
	const char *help; /* NULL: that is which formats there are */
	char expected
		[128]; /* of a FORMAT, LEVEL, KIND or WHEN: "table or json"; of others what it says of them, or nothing */
};
struct option_info options_info(enum option_id id);
/* One line for each allowed option, as --help shows them. */
void options_print(FILE *f, uint32_t allowed);
