/* What profile.sh counts instructions of: reads of a key of which the kernel has forgotten all, as after a drop of its caches.
 *
 *   coldread N
 *
 * The agent's session, its operations, tree and memory are the real ones, and so is libfuse; this program is the kernel, over a
 * socket in place of /dev/fuse: valgrind has no fsopen(2), so it cannot run what mounts. A read is what the kernel asks when a
 * container opens and reads "key" in its bind mount: four lookups and two links (key, ..data, the version, the key in it), the
 * content, and in the end a FORGET of each node. The key is of 1 KiB. */
#include "test/unit/publishing.h"

#include <linux/fuse.h>

#include "fusefs/session.h"

enum { VALUE_LEN = 1024, ANSWER_MAX = 64 << 10, LEARNED_MAX = 8 };

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "coldread: %s\n", what);
	exit(1);
}

static struct session *session;
static int kernel;
static uint64_t unique;
static uint8_t answer[ANSWER_MAX];
static uint64_t learned[LEARNED_MAX]; /* in this read, to be forgotten at its end */
static size_t n_learned;

static void ended(void *userdata, int r)
{
	die("the session has ended");
}

static void send_request(uint32_t opcode, uint64_t nodeid, const void *body, size_t len)
{
	struct fuse_in_header head = {
		.opcode = opcode, .nodeid = nodeid, .pid = 1, .uid = UINT32_MAX, .gid = UINT32_MAX
	};
	uint8_t request[512];

	if (len > sizeof(request) - sizeof(head))
		die("a request is too long");
	head.unique = unique += 2;
	head.len = (uint32_t)(sizeof(head) + len);
	memcpy(request, &head, sizeof(head));
	if (len > 0)
		memcpy(request + sizeof(head), body, len);
	if (send(kernel, request, head.len, 0) != (ssize_t)head.len)
		die("a request cannot be sent");
	session_answer(session);
}

/* Returns the answer's length without its head; it is in `answer`. */
static size_t ask(uint32_t opcode, uint64_t nodeid, const void *body, size_t len)
{
	static uint8_t raw[sizeof(struct fuse_out_header) + ANSWER_MAX];
	struct fuse_out_header head;
	ssize_t n;

	send_request(opcode, nodeid, body, len);
	n = recv(kernel, raw, sizeof(raw), MSG_DONTWAIT);
	if (n < (ssize_t)sizeof(head))
		die("there is no answer");
	memcpy(&head, raw, sizeof(head));
	if (head.error != 0 || head.unique != unique)
		die("the answer is an error");
	memcpy(answer, raw + sizeof(head), (size_t)n - sizeof(head));
	return (size_t)n - sizeof(head);
}

static uint64_t look_up(uint64_t dir, const char *name)
{
	struct fuse_entry_out out;

	if (ask(FUSE_LOOKUP, dir, name, strlen(name) + 1) != sizeof(out))
		die(name);
	memcpy(&out, answer, sizeof(out));
	if (n_learned == LEARNED_MAX)
		die("too many nodes");
	return learned[n_learned++] = out.nodeid;
}

/* The caller's to free. */
static char *read_link(uint64_t link)
{
	size_t len = ask(FUSE_READLINK, link, NULL, 0);

	return strndup((const char *)answer, len);
}

static void forget_all(void)
{
	while (n_learned > 0) {
		struct fuse_forget_in in = { .nlookup = 1 };

		send_request(FUSE_FORGET, learned[--n_learned], &in, sizeof(in)); /* it has no answer */
	}
}

static void init(void)
{
	struct fuse_init_in in = { .major = FUSE_KERNEL_VERSION,
				   .minor = FUSE_KERNEL_MINOR_VERSION,
				   .max_readahead = 131072,
				   .flags = UINT32_MAX,
				   .flags2 = UINT32_MAX };

	ask(FUSE_INIT, 0, &in, sizeof(in));
}

static uint64_t walk(const char *const names[])
{
	uint64_t at = FUSE_ROOT_ID;

	for (size_t i = 0; names[i]; i++)
		at = look_up(at, names[i]);
	return at;
}

static void cold_read(uint64_t volume, const char *expected)
{
	struct fuse_read_in in = { .size = 4096 };
	cleanup_free char *version = NULL, *target = NULL;
	uint64_t key;

	target = read_link(look_up(volume, "key"));
	version = read_link(look_up(volume, "..data"));
	if (!target || !version || !str_eq(target, "..data/key"))
		die("the links are not the kubelet's");
	key = look_up(look_up(volume, version), "key");
	if (ask(FUSE_READ, key, &in, sizeof(in)) != VALUE_LEN || memcmp(answer, expected, VALUE_LEN) != 0)
		die("the content is another");
	forget_all();
}

int main(int argc, char **argv)
{
	char spec[sizeof("key=") + VALUE_LEN] = "key=", *value = spec + strlen("key=");
	struct result result;
	struct err e = ERR_INIT;
	uint64_t n = 0, volume;
	int ends[2];

	if (argc != 2 || str_parse_u64(argv[1], 1000000, &n) < 0)
		die("usage: coldread N");
	setup(NULL);
	memset(value, 'x', VALUE_LEN);
	if (publish(spec, &result) < 0)
		die(result.error);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		die(strerror(errno));
	kernel = ends[0];
	if (session_new(f.loop, ends[1], f.tree, f.publish, NULL, ended, NULL, &session, &e) < 0)
		die(err_text(&e));
	init();
	volume = walk((const char *const[]){ AT.pod_uid, "volumes", AT.plugin, AT.name, NULL });
	n_learned = 0; /* the mount keeps them */
	for (uint64_t i = 0; i < n; i++)
		cold_read(volume, value);
	session_free(session);
	close(kernel);
	teardown(NULL);
	return 0;
}
