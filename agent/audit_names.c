/* Audit names. Questions are answered from the tree in memory, so many in one turn of the loop and no more: FUSE requests
 * come first. Nothing here waits: a process that does not take its answers is let go, and asks again when the keeper has
 * connected it anew. */
#include "agent/audit_names.h"

#include <sys/socket.h>

#include "common/buf.h"
#include "common/log.h"
#include "common/str.h"

#define TURN_MAX    8 /* questions in one turn of the loop */
#define DEPTH_MAX   64
#define ROOM_FOR(n) ((size_t)(n)*AUDIT_ANSWER_MAX)

/* Where a version's folder is below the pods dir: <uid>/volumes/<plugin>/<volume>/<version>. In a flat volume the key is where
 * others have the version, and what is not there yet is in <uid>/staging/<volume>/<version>/files. */
enum { LEVEL_UID, LEVEL_VOLUMES, LEVEL_PLUGIN, LEVEL_VOLUME, LEVEL_VERSION, LEVEL_KEY };
enum { STAGING_VOLUME = 2, STAGING_VERSION, STAGING_FILES };

struct audit_names {
	struct loop *loop;
	const struct tree *tree;
	const struct pods *pods;
	const struct publish *publish;
	int socket; /* -1: no audit process */
	struct loop_source *source;
	struct audit_state state;
};

int audit_names_new(struct loop *l, const struct tree *t, const struct pods *pods, const struct publish *publish,
		    struct audit_names **ret_a)
{
	struct audit_names *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	*a = (struct audit_names){ .loop = l,
				   .tree = t,
				   .pods = pods,
				   .publish = publish,
				   .socket = -1,
				   .state.presence.absent_since_usec = loop_now(l) };
	*ret_a = a;
	return 0;
}

static void let_go(struct audit_names *a)
{
	loop_source_free(TAKE_PTR(a->source));
	a->socket = close_fd(a->socket);
	presence_went(&a->state.presence, loop_now(a->loop));
	a->state.attached = false;
}

void audit_names_free(struct audit_names *a)
{
	if (!a)
		return;
	let_go(a);
	free(a);
}

void audit_names_state(const struct audit_names *a, struct audit_state *ret_s)
{
	*ret_s = a->state;
}

/* ---- names ---- */

/* The file, and the names from the root down; NULL: it is none, or they are not to be found out. */
static const struct node *climb(const struct tree *t, uint64_t id, const char *names[static DEPTH_MAX],
				size_t *ret_depth)
{
	const struct node *n = tree_node(t, id), *file;
	size_t depth = 0;

	/* a live file is the key that it shows now */
	n = file = n ? tree_follow(t, n) : NULL;

	if (!n || node_kind(n) != NODE_FILE)
		return NULL;
	while (node_id(n) != TREE_ROOT_ID) {
		if (depth == DEPTH_MAX)
			return NULL;
		n = tree_origin(t, n, &names[depth]);
		if (!n)
			return NULL;
		depth++;
	}
	for (size_t i = 0; i < depth / 2; i++) {
		const char *other = names[i];

		names[i] = names[depth - 1 - i];
		names[depth - 1 - i] = other;
	}
	*ret_depth = depth;
	return file;
}

struct found {
	const char *uid, *ns, *name;
};

static void match_pod(void *userdata, const char *ns, const char *name, const char *uid)
{
	struct found *f = userdata;

	if (!str_eq(uid, f->uid))
		return;
	f->ns = ns;
	f->name = name;
}

/* Which Secret the file at `key` is from; "": none. A finished pod's volumes have gone; one of one source needs none. */
static const char *find_secret(const struct pod_state *s, const char *volume, const char *key)
{
	const struct pod_volume *spec = pod_find_volume(s->pod, volume);
	const struct pod_volume_source *source = NULL;

	if (spec && spec->n_sources == 1)
		source = &spec->sources[0];
	for (size_t i = 0; i < s->n_volumes && !source; i++)
		if (str_eq(s->volumes[i].spec->name, volume))
			source = volume_find_source(&s->volumes[i], key);
	return source && source->kind == POD_SOURCE_SECRET ? source->name : "";
}

/* A pod of an earlier agent's time may be in the tree and not yet told by the source. */
static void find_pod(const struct audit_names *a, const char *uid, const char *volume, const char *key,
		     const char *names[AUDIT_NAMES_N])
{
	const struct pod_state *s = pods_find(a->pods, uid);
	struct found f = { .uid = uid };

	if (s)
		f = (struct found){ uid, s->pod->ns, s->pod->name };
	else
		publish_names(a->publish, match_pod, &f);
	names[AUDIT_POD_NAMESPACE] = f.ns ?: "";
	names[AUDIT_POD_NAME] = f.name ?: "";
	names[AUDIT_SECRET] = s ? find_secret(s, volume, key) : "";
}

/* The level of the key's first name; 0: it is no key. A key of a flat volume is of the version that the volume shows, as long as
 * it is there. */
static size_t locate(const struct audit_names *a, const struct node *n, const char *path[], size_t depth,
		     const char *found[AUDIT_NAMES_N])
{
	struct publish_result res;
	bool whole;

	if (depth <= LEVEL_VERSION)
		return 0;
	found[AUDIT_POD_UID] = path[LEVEL_UID];
	if (str_eq(path[LEVEL_VOLUMES], "staging") && depth > STAGING_FILES + 1) {
		found[AUDIT_VOLUME] = path[STAGING_VOLUME];
		found[AUDIT_VERSION] = path[STAGING_VERSION];
		return STAGING_FILES + 1;
	}
	found[AUDIT_VOLUME] = path[LEVEL_VOLUME];
	found[AUDIT_VERSION] = path[LEVEL_VERSION];
	if (str_starts(path[LEVEL_VERSION], ".."))
		return depth > LEVEL_KEY ? LEVEL_KEY : 0;
	found[AUDIT_VERSION] = "";
	if (node_parent(n) &&
	    publish_find(a->publish, &(struct volume_path){ path[LEVEL_UID], path[LEVEL_PLUGIN], path[LEVEL_VOLUME] },
			 &res, &whole))
		found[AUDIT_VERSION] = res.version;
	return LEVEL_VERSION;
}

size_t audit_names_find(const struct audit_names *a, uint64_t node, char *names, size_t size)
{
	cleanup_buf struct buf text = BUF_INIT(size), key = BUF_INIT(size);
	const char *path[DEPTH_MAX], *found[AUDIT_NAMES_N] = { NULL };
	const struct node *file;
	size_t depth = 0, first;
	int r = 0;

	file = climb(a->tree, node, path, &depth);
	first = file ? locate(a, file, path, depth, found) : 0;
	if (first == 0)
		return 0;
	for (size_t i = first; i < depth && r == 0; i++)
		r = buf_printf(&key, "%s%s", i > first ? "/" : "", path[i]);
	if (r < 0)
		return 0;
	found[AUDIT_KEY] = key.data;
	find_pod(a, path[LEVEL_UID], found[AUDIT_VOLUME], key.data, found);
	for (size_t i = 0; i < AUDIT_NAMES_N && r == 0; i++)
		r = buf_add(&text, found[i], strlen(found[i]) + 1);
	if (r < 0)
		return 0;
	memcpy(names, text.data, text.len);
	return text.len;
}

/* ---- the socket ---- */

static int answer(struct audit_names *a, uint64_t node)
{
	static char packet[AUDIT_ANSWER_MAX]; /* one thread */
	const struct audit_answer head = { .node = node };
	size_t len;

	memcpy(packet, &head, sizeof(head));
	len = audit_names_find(a, node, packet + sizeof(head), sizeof(packet) - sizeof(head));
	return send(a->socket, packet, sizeof(head) + len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int handle(struct audit_names *a, const struct audit_ask *ask, size_t len)
{
	int r = 0;

	if (len != sizeof(*ask))
		return -EBADMSG;
	switch (ask->kind) {
	case AUDIT_ASK_NAMES:
		if (ask->n > AUDIT_ASK_MAX)
			return -EBADMSG;
		for (uint32_t i = 0; i < ask->n && r == 0; i++)
			r = answer(a, ask->nodes[i]);
		return r;
	case AUDIT_ASK_TELL:
		a->state.attached = a->state.told = true;
		presence_came(&a->state.presence, loop_now(a->loop));
		a->state.counts = ask->tell.counts;
		memcpy(a->state.error, ask->tell.error, sizeof(a->state.error));
		a->state.error[sizeof(a->state.error) - 1] = '\0';
		return 0;
	}
	return -EBADMSG;
}

static void on_readable(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct audit_names *a = userdata;
	struct audit_ask ask;

	for (int i = 0; i < TURN_MAX; i++) {
		ssize_t n = recv(fd, &ask, sizeof(ask), MSG_DONTWAIT);
		int r;

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			let_go(a);
			return;
		}
		r = handle(a, &ask, (size_t)n);
		if (r < 0) {
			log_warning(NULL, "the audit process is let go: %s", strerror(-r));
			let_go(a);
			return;
		}
	}
}

int audit_names_attach(struct audit_names *a, int take_fd)
{
	const int room = (int)ROOM_FOR(AUDIT_ASK_MAX);
	int r;

	let_go(a);
	a->socket = take_fd;
	(void)setsockopt(take_fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	r = loop_add_io(a->loop, a->socket, EPOLLIN, on_readable, a, &a->source);
	if (r < 0)
		let_go(a);
	return r;
}
