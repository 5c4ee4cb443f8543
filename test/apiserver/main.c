/* The test API server as a program: for shells, for trying the agent out without a cluster, for measurements. */
#include <dirent.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sys/resource.h>

#include "common/file.h"
#include "common/json.h"
#include "common/str.h"
#include "test/apiserver/apiserver.h"

#define PEM_MAX	   (1024 * 1024)
#define OBJECT_MAX (16 * 1024 * 1024)

static const char usage[] =
	"usage: apiserver [OPTION...]\n"
	"\n"
	"A Kubernetes API server for tests: Pods, Secrets, ConfigMaps and Events, with list and watch. Prints its URL "
	"and runs "
	"until\n"
	"SIGTERM or SIGINT.\n"
	"\n"
	"  --port N              listen on 127.0.0.1:N (default: any free port)\n"
	"  --cert F --key F      PEM files; with them it speaks HTTPS\n"
	"  --client-ca F         PEM file; ask for client certificates that this CA has signed\n"
	"  --token-file F        ask for the bearer token in this file\n"
	"  --bookmark-msec N     send watches a bookmark every N milliseconds (default: never)\n"
	"  --watch-list WHAT     refused (default), served or ignored: what happens to sendInitialEvents=true\n"
	"  --node-authorizer     answer node identities as the Node authorizer does\n"
	"  --request-log F       append each request to F as kube-apiserver's audit log has it\n"
	"  --load DIR            put the objects of all *.json files in DIR, in the order of their names; a file "
	"holds\n"
	"                        one object or a List\n"
	"  --help                this text\n"
	"\n"
	"On SIGUSR1 running watches of Secrets hear of nothing any more, on SIGUSR2 of all that they have missed.\n"
	"curl drives it: POST to /api/v1/namespaces/NS/{pods,secrets,configmaps,events}; GET, PUT, PATCH "
	"(merge-patch+json) and DELETE\n"
	"on /api/v1/namespaces/NS/{pods,secrets,configmaps,events}/NAME.\n";

static int read_pem(const char *path, char **ret_text, struct err *e)
{
	size_t len;

	return file_read(AT_FDCWD, path, PEM_MAX, ret_text, &len, e);
}

static int put(struct apiserver *a, const char *path, json_t *obj, struct err *e)
{
	const char *kind = json_string_value(json_object_get(obj, "kind"));

	if (!str_eq(kind, "Secret") && !str_eq(kind, "ConfigMap") && !str_eq(kind, "Pod"))
		return err_set(e, -EINVAL, "%s: kind is %s, must be Secret, ConfigMap or Pod", path,
			       kind ? kind : "missing");
	apiserver_put(a, obj);
	return 0;
}

static int load_file(struct apiserver *a, const char *path, struct err *e)
{
	cleanup_free char *text = NULL;
	cleanup_json json_t *doc = NULL;
	json_t *items, *obj;
	size_t len, i;
	int r;

	r = file_read(AT_FDCWD, path, OBJECT_MAX, &text, &len, e);
	if (r < 0)
		return r;
	r = json_parse(text, len, &doc, e);
	if (r < 0)
		return err_wrap(e, r, "%s", path);

	items = json_object_get(doc, "items");
	if (!json_is_array(items))
		return put(a, path, doc, e);
	json_array_foreach (items, i, obj) {
		r = put(a, path, obj, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int is_json(const struct dirent *d)
{
	size_t len = strlen(d->d_name);

	return len > 5 && str_eq(d->d_name + len - 5, ".json");
}

static int load(struct apiserver *a, const char *dir, struct err *e)
{
	struct dirent **names;
	int n = scandir(dir, &names, is_json, alphasort), r = 0;

	if (n < 0)
		return err_set(e, -errno, "open %s: %m", dir);
	for (int i = 0; i < n; i++) {
		cleanup_free char *path = file_join(dir, names[i]->d_name);

		if (r == 0)
			r = path ? load_file(a, path, e) : err_set(e, -ENOMEM, "out of memory");
		free(names[i]);
	}
	free(names);
	return r;
}

enum {
	OPT_PORT,
	OPT_CERT,
	OPT_KEY,
	OPT_CLIENT_CA,
	OPT_TOKEN_FILE,
	OPT_BOOKMARK_MSEC,
	OPT_WATCH_LIST,
	OPT_NODE_AUTHORIZER,
	OPT_REQUEST_LOG,
	OPT_LOAD,
	OPT_HELP
};

struct arguments {
	struct apiserver_options options;
	char *cert, *key, *client_ca, *token;
	const char *load;
	bool help;
};

static void arguments_deinit(struct arguments *args)
{
	free(args->cert);
	free(args->key);
	free(args->client_ca);
	free(args->token);
}

static int parse_number(const char *name, const char *text, uint64_t max, uint64_t *ret, struct err *e)
{
	int r = str_parse_u64(text, max, ret);

	return r < 0 ? err_set(e, r, "--%s: %s is no number up to %llu", name, text, (unsigned long long)max) : 0;
}

static int parse_watch_list(const char *text, enum apiserver_watch_list *ret, struct err *e)
{
	static const char *const names[] = { [APISERVER_WATCH_LIST_REFUSED] = "refused",
					     [APISERVER_WATCH_LIST_SERVED] = "served",
					     [APISERVER_WATCH_LIST_IGNORED] = "ignored" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq(text, names[i])) {
			*ret = (enum apiserver_watch_list)i;
			return 0;
		}
	return err_set(e, -EINVAL, "--watch-list: must be refused, served or ignored");
}

static int apply(struct arguments *args, int option, const char *value, struct err *e)
{
	uint64_t n = 0;
	int r = 0;

	switch (option) {
	case OPT_PORT:
		r = parse_number("port", value, UINT16_MAX, &n, e);
		args->options.port = (uint16_t)n;
		return r;
	case OPT_BOOKMARK_MSEC:
		r = parse_number("bookmark-msec", value, UINT32_MAX, &n, e);
		args->options.bookmark_msec = (unsigned)n;
		return r;
	case OPT_CERT:
		return read_pem(value, &args->cert, e);
	case OPT_KEY:
		return read_pem(value, &args->key, e);
	case OPT_CLIENT_CA:
		return read_pem(value, &args->client_ca, e);
	case OPT_TOKEN_FILE:
		r = read_pem(value, &args->token, e);
		if (r == 0)
			args->token[strcspn(args->token, "\r\n")] = '\0';
		return r;
	case OPT_WATCH_LIST:
		return parse_watch_list(value, &args->options.watch_list, e);
	case OPT_NODE_AUTHORIZER:
		args->options.node_authorizer = true;
		return 0;
	case OPT_REQUEST_LOG:
		args->options.request_log = value;
		return 0;
	case OPT_LOAD:
		args->load = value;
		return 0;
	case OPT_HELP:
		args->help = true;
		return 0;
	default:
		return err_set(e, -EINVAL, "see apiserver --help");
	}
}

static int parse_arguments(int argc, char **argv, struct arguments *args, struct err *e)
{
	static const struct option options[] = {
		{ "port", required_argument, NULL, OPT_PORT },
		{ "cert", required_argument, NULL, OPT_CERT },
		{ "key", required_argument, NULL, OPT_KEY },
		{ "client-ca", required_argument, NULL, OPT_CLIENT_CA },
		{ "token-file", required_argument, NULL, OPT_TOKEN_FILE },
		{ "bookmark-msec", required_argument, NULL, OPT_BOOKMARK_MSEC },
		{ "watch-list", required_argument, NULL, OPT_WATCH_LIST },
		{ "node-authorizer", no_argument, NULL, OPT_NODE_AUTHORIZER },
		{ "request-log", required_argument, NULL, OPT_REQUEST_LOG },
		{ "load", required_argument, NULL, OPT_LOAD },
		{ "help", no_argument, NULL, OPT_HELP },
		{ NULL, 0, NULL, 0 },
	};
	int option, r = 0;

	while (r == 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1)
		r = apply(args, option, optarg, e);
	if (r < 0)
		return r;
	if (optind < argc)
		return err_set(e, -EINVAL, "unexpected argument %s", argv[optind]);
	if (!args->cert != !args->key || (args->client_ca && !args->cert))
		return err_set(e, -EINVAL, "--cert and --key belong together, and --client-ca needs them");
	args->options.cert = args->cert;
	args->options.key = args->key;
	args->options.client_ca = args->client_ca;
	args->options.token = args->token;
	return 0;
}

/* A connection per watch needs as many descriptors as we may have. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void wait_for_the_end(struct apiserver *a, const sigset_t *set)
{
	int sig = 0;

	while (sigwait(set, &sig) == 0 && (sig == SIGUSR1 || sig == SIGUSR2))
		fprintf(stderr, "apiserver: %zu watches %s\n", apiserver_hold_watches(a, "Secret", sig == SIGUSR1),
			sig == SIGUSR1 ? "held" : "released");
}

static int run(const struct arguments *args, struct err *e)
{
	struct apiserver *a;
	sigset_t set;
	int r;

	/* blocked before the threads exist, so that sigwait() gets them */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise_file_limit();

	r = apiserver_start(&args->options, &a, e);
	if (r < 0)
		return r;
	r = args->load ? load(a, args->load, e) : 0;
	if (r == 0) {
		puts(apiserver_url(a));
		fflush(stdout);
		wait_for_the_end(a, &set);
	}
	apiserver_stop(a);
	return r;
}

int main(int argc, char **argv)
{
	cleanup(arguments_deinit) struct arguments args = { .load = NULL };
	struct err e = ERR_INIT;
	int r;

	json_setup();
	r = parse_arguments(argc, argv, &args, &e);
	if (r == 0 && args.help) {
		fputs(usage, stdout);
		return 0;
	}
	if (r == 0)
		r = run(&args, &e);
	if (r < 0)
		fprintf(stderr, "apiserver: %s\n", err_text(&e));
	return r < 0 ? 1 : 0;
}
