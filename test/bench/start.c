/* What start.sh counts instructions of: the agent's data path from the bytes of the connection to the commits in
 * the tree, put together as agent.c does it, against a real API server.
 *
 *   start KUBECONFIG SECRETS    as node-1: until so many volumes are ready and all watches run
 *
 * The publisher is in the process, for callgrind knows no mount: so FUSE's part is not in it. Nor are a publisher's own
 * instructions, nor those that look whether all is there: what is counted is below run_turn() and the commits. */
#include "agent/pods.h"
#include "agent/signals.h"
#include "agent/source_api.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/secmem.h"
#include "fusefs/arena.h"
#include "test/unit/publishing.h"

enum { HEAP = 256 << 20, LOG_SIZE = 256 << 20, WAIT_SEC = 1800 };

static struct source *source;
static struct store *store;
static struct pods *pods;
static struct signals *signals;

static _Noreturn void die(const char *what, const char *why)
{
	fprintf(stderr, "start: %s: %s\n", what, why);
	exit(1);
}

static void on_pod(void *userdata, struct pod *pod)
{
	pods_pod_changed(pods, pod);
}

static void on_pod_removed(void *userdata, const char *uid)
{
	pods_pod_removed(pods, uid);
}

static void on_synced(void *userdata)
{
}

static void on_object(void *userdata, enum object_kind kind, const char *ns, const char *name, struct secret *secret)
{
	store_object_changed(store, kind, ns, name, secret);
}

static void on_object_failed(void *userdata, enum object_kind kind, const char *ns, const char *name,
			     const struct err *e)
{
	store_object_failed(store, kind, ns, name, e);
}

static void on_object_fresh(void *userdata, enum object_kind kind, const char *ns, const char *name, uint64_t need)
{
	const struct store_entry *entry = store_object_fresh(store, kind, ns, name, need);

	if (entry)
		pods_object_fresh(pods, entry);
}

static const struct source_sink SINK = { .pod_changed = on_pod,
					 .pod_removed = on_pod_removed,
					 .pods_synced = on_synced,
					 .object_changed = on_object,
					 .object_failed = on_object_failed,
					 .object_fresh = on_object_fresh };

static void on_entry(void *userdata, const struct store_entry *entry)
{
	pods_object_changed(pods, entry);
}

static void on_pods(void *userdata)
{
	signals_look(signals);
}

static void set_up(const char *kubeconfig)
{
	const struct source_api_options options = { .kubeconfig = kubeconfig, .node_name = "node-1" };
	struct err e = ERR_INIT;
	struct arena *arena;
	struct files *files;
	int arena_fd, r;

	json_setup();
	f = (struct fixture){ .log = BUF_INIT(LOG_SIZE) };
	r = loop_new(&f.loop);
	r = r ?: arena_create(HEAP, &arena_fd, &e);
	r = r ?: arena_open(arena_fd, &arena, &e);
	r = r ?: tree_open(clock_realtime_usec(), arena, &f.tree, &e);
	r = r ?: publish_new(f.loop, f.tree, &f.publish);
	r = r ?: publish_resume(f.publish, &arena_connection(arena)->doubt);
	r = r ?: files_direct_new(f.loop, &files);
	r = r ?: source_api_new(f.loop, files, &options, &SINK, NULL, &source, &e);
	r = r ?: store_new(on_entry, NULL, &store);
	if (r < 0)
		die("set up", e.code ? err_text(&e) : strerror(-r));
	store_set_source(store, source);
	r = pods_new(f.loop, store, f.publish, on_pods, NULL, &pods);
	r = r ?: signals_new(f.loop, pods, false, &signals);
	r = r ?: source_start(source, &e);
	if (r < 0)
		die("set up", e.code ? err_text(&e) : strerror(-r));
	attach();
}

/* A function of its own, which callgrind can be told of. */
__attribute__((__noinline__)) static void run_turn(void)
{
	loop_run_once(f.loop, 100 * USEC_PER_MSEC);
}

static size_t n_ready(void)
{
	size_t n = 0;

	for (size_t i = 0; i < pods_count(pods); i++)
		for (size_t k = 0; k < pods_at(pods, i)->n_volumes; k++)
			n += pods_at(pods, i)->volumes[k].condition == VOLUME_READY;
	return n;
}

int main(int argc, char **argv)
{
	uint64_t n = 0, until = clock_monotonic_usec() + WAIT_SEC * USEC_PER_SEC;
	struct source_health h = { .n_watches = 0 };

	if (argc != 3 || str_parse_u64(argv[2], 1000000, &n) < 0)
		die("usage", "start KUBECONFIG SECRETS");
	set_up(argv[1]);
	while (n_ready() < n || h.n_watches < n + 1) {
		if (clock_monotonic_usec() > until)
			die("it does not become ready", h.last_error);
		run_turn();
		while (publisher_serve())
			f.log.len = 0;
		h = (struct source_health){ .n_watches = 0 };
		source_health(source, &h);
	}
	return 0;
}
