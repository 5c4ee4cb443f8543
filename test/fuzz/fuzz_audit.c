/* Audit: what /proc says of a process whose name and cgroups anybody may choose, and what an audit process that has gone
 * mad asks the agent. Names are made of what was there, and of nothing else. The first byte says which. */
#include "test/fuzz/fuzz.h"

#include <signal.h>
#include <sys/socket.h>

#include "agent/audit_names.h"
#include "agent/audit_proc.h"
#include "common/log.h"
#include "common/str.h"

enum { SECMEM_BYTES = 1 << 20 };

/* --- cgroups --- */

static bool is_hex(const char *s, size_t len)
{
	return strspn(s, "0123456789abcdef") >= len;
}

static void check_id(const struct cgroup_id *id)
{
	static const size_t groups[] = { 8, 4, 4, 4, 12 };
	const char *s = id->pod;

	if (strchr(s, '-')) {
		for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
			FUZZ_CHECK(is_hex(s, groups[i]));
			s += groups[i];
			FUZZ_CHECK(*s == (i + 1 < ARRAY_SIZE(groups) ? '-' : '\0'));
			s++;
		}
	} else {
		FUZZ_CHECK(!*s || (strlen(s) == 32 && is_hex(s, 32)));
	}
	FUZZ_CHECK(strlen(id->container) < sizeof(id->container));
	FUZZ_CHECK(!id->runtime || *id->container);
}

static bool same_id(const struct cgroup_id *a, const struct cgroup_id *b)
{
	return str_eq(a->pod, b->pod) && str_eq(a->container, b->container) && a->runtime == b->runtime;
}

static void try_cgroup(struct fuzz_input in)
{
	cleanup_free char *text = fuzz_text(in), *copy = fuzz_text(in), *longer = NULL;
	struct cgroup_id id, again;
	const char *path = cgroup_parse(text, &id);

	check_id(&id);
	if (!path) {
		FUZZ_CHECK(!*id.pod && !*id.container);
		return;
	}
	FUZZ_CHECK(path > text && path < text + in.len && *path == '/' && !strchr(path, '\n'));
	FUZZ_CHECK(memcmp(path, copy + (path - text), strlen(path)) == 0);
	cgroup_identify(path, &again);
	FUZZ_CHECK(same_id(&id, &again));
	/* the pod is what the path says, but for systemd's underscores */
	for (char *c = copy; *c; c++)
		if (*c == '_')
			*c = '-';
	FUZZ_CHECK(!*id.pod || strstr(copy, id.pod));
	/* what is below in the hierarchy and says nothing changes nothing */
	longer = str_format("%s/init.scope", path);
	FUZZ_CHECK(longer);
	cgroup_identify(longer, &again);
	FUZZ_CHECK(str_eq(id.pod, again.pod));
	FUZZ_CHECK(!*id.container || *again.container);
}

/* --- stat and status, and the record that is made of all --- */

static void check_json(json_t *take_json)
{
	cleanup_json json_t *json = take_json;
	cleanup_free char *line = json ? json_dumps(json, JSON_COMPACT) : NULL;

	FUZZ_CHECK(line);
	for (const char *c = line; *c; c++)
		FUZZ_CHECK((unsigned char)*c >= 0x20);
	FUZZ_CHECK(str_is_utf8(line, strlen(line)));
}

static void try_proc(struct fuzz_input in)
{
	struct audit_proc p = { .login_uid = (uid_t)-1 };
	struct fuzz_input first = fuzz_take(&in, fuzz_u8(&in)), second = fuzz_take(&in, fuzz_u8(&in));
	cleanup_free char *stat = fuzz_text(first), *status = fuzz_text(second), *cgroup = fuzz_text(in);
	const char *path;

	if (audit_proc_parse_stat(stat, &p)) {
		FUZZ_CHECK(strlen(p.comm) < sizeof(p.comm) && strstr(stat, p.comm));
	} else {
		FUZZ_CHECK(!p.exiting && p.start_ticks == 0);
	}
	if (!audit_proc_parse_status(status, &p))
		FUZZ_CHECK(p.uid == 0 && p.euid == 0 && p.gid == 0);
	path = cgroup_parse(cgroup, &p.id);
	snprintf(p.cgroup, sizeof(p.cgroup), "%s", path ?: "");
	check_json(audit_proc_json(7, &p, 1));
}

/* --- questions --- */

static struct {
	struct loop *loop;
	struct tree *tree;
	struct store *store;
	struct publish *publish;
	struct pods *pods;
	struct audit_names *names;
	uint64_t file; /* the one that has a name */
} a;

static void pods_changed(void *userdata)
{
}

static void store_changed(void *userdata, const struct store_entry *entry)
{
}

static void set_up(void)
{
	struct node *n, *dir, *root;

	if (a.loop)
		return;
	log_set_level(LOG_LEVEL_ERROR);
	json_setup();
	signal(SIGPIPE, SIG_IGN);
	FUZZ_CHECK(secmem_init(SECMEM_BYTES, NULL) == 0 && loop_new(&a.loop) == 0 && tree_new(1, &a.tree) == 0);
	root = tree_node(a.tree, TREE_ROOT_ID);
	FUZZ_CHECK(tree_stage_dir(a.tree, root, "uid", 0755, 0, &dir) == 0);
	FUZZ_CHECK(tree_fill_dir(a.tree, dir, "volumes", 0755, 0, &n) == 0);
	FUZZ_CHECK(tree_fill_dir(a.tree, n, "kubernetes.io~secret", 0755, 0, &n) == 0);
	FUZZ_CHECK(tree_fill_dir(a.tree, n, "v", 0755, 0, &n) == 0);
	FUZZ_CHECK(tree_fill_version(a.tree, n, "..1", 0755, 0, NULL, &n) == 0);
	FUZZ_CHECK(tree_fill_dir(a.tree, n, "d", 0755, 0, &n) == 0);
	FUZZ_CHECK(tree_fill_file(a.tree, n, "key", &(struct payload_file){ .mode = 0644 }, &n) == 0);
	a.file = node_id(n);
	FUZZ_CHECK(tree_commit_mkdir(a.tree, root, "uid", &n) == 0);
	FUZZ_CHECK(store_new(store_changed, NULL, &a.store) == 0 && publish_new(a.loop, a.tree, &a.publish) == 0);
	FUZZ_CHECK(pods_new(a.loop, a.store, a.publish, pods_changed, NULL, &a.pods) == 0);
	FUZZ_CHECK(audit_names_new(a.loop, a.tree, a.pods, a.publish, &a.names) == 0);
}

static void turns(void)
{
	for (int i = 0; i < 100; i++)
		if (loop_run_once(a.loop, 0) <= 0)
			return;
}

/* Each node that was asked for has one answer, in order, with all strings or none. Returns how many came. */
static uint32_t take_answers(int fd, const struct audit_ask *ask)
{
	static const char want[] = "uid\0\0\0v\0\0..1\0d/key";
	static char packet[AUDIT_ANSWER_MAX + 1];
	struct audit_answer head;
	uint32_t n = 0;
	ssize_t len;

	while ((len = recv(fd, packet, sizeof(packet), MSG_DONTWAIT)) > 0) {
		FUZZ_CHECK((size_t)len >= sizeof(head) && (size_t)len <= AUDIT_ANSWER_MAX);
		memcpy(&head, packet, sizeof(head));
		FUZZ_CHECK(n < ask->n && head.node == ask->nodes[n]);
		if (head.node == a.file)
			FUZZ_CHECK((size_t)len - sizeof(head) == sizeof(want) &&
				   memcmp(packet + sizeof(head), want, sizeof(want)) == 0);
		else
			FUZZ_CHECK((size_t)len == sizeof(head));
		n++;
	}
	return n;
}

static void try_asks(struct fuzz_input in)
{
	struct audit_state state;
	int ends[2];

	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
	FUZZ_CHECK(audit_names_attach(a.names, ends[0]) == 0);
	for (int i = 0; i < 20 && in.len > 0; i++) {
		uint8_t how = fuzz_u8(&in);
		struct audit_ask ask;
		size_t len = sizeof(ask);
		struct fuzz_input bytes;
		bool good;
		uint32_t n;

		memset(&ask, how & 1 ? 0xff : 0, sizeof(ask));
		ask.kind = how & 2 ? fuzz_u8(&in) : AUDIT_ASK_NAMES;
		ask.n = how & 4 ? fuzz_u32(&in) : fuzz_u8(&in) % (AUDIT_ASK_MAX + 2);
		if (how & 8) {
			bytes = fuzz_take(&in, fuzz_u8(&in));
			if (bytes.len > 0)
				memcpy(ask.nodes, bytes.data,
				       MIN(bytes.len, sizeof(ask) - offsetof(struct audit_ask, nodes)));
		} else {
			for (size_t k = 0; k < AUDIT_ASK_MAX; k++)
				ask.nodes[k] = fuzz_u8(&in) % 16;
		}
		if (how & 16)
			len = (size_t)fuzz_u8(&in) << 8 | fuzz_u8(&in);
		len = MIN(len, sizeof(ask));
		if (send(ends[1], &ask, len, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)len)
			break; /* it was let go */
		turns();
		good = len == sizeof(ask) && ask.kind <= AUDIT_ASK_TELL;
		n = good && ask.kind == AUDIT_ASK_NAMES && ask.n <= AUDIT_ASK_MAX ? ask.n : 0;
		FUZZ_CHECK(take_answers(ends[1], &ask) == n);
		audit_names_state(a.names, &state);
		FUZZ_CHECK(strnlen(state.error, sizeof(state.error)) < sizeof(state.error));
		FUZZ_CHECK(!(good && ask.kind == AUDIT_ASK_TELL) ||
			   (state.attached && memcmp(&state.counts, &ask.tell.counts, sizeof(state.counts)) == 0));
	}
	close(ends[1]);
	turns();
	audit_names_state(a.names, &state);
	FUZZ_CHECK(!state.attached);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { .data = data, .len = size };

	set_up();
	switch (fuzz_u8(&in)) {
	case 'c':
		try_cgroup(in);
		break;
	case 'p':
		try_proc(in);
		break;
	default:
		try_asks(in);
	}
	return 0;
}
