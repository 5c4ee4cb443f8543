/* fuzz: at most 4096 bytes
 * Slots: whatever a dead agent has left of its connection in shared memory, the next one comes up or says why not, answers
 * what is left once at most, and then serves.
 *
 * Input: what is done with the saved INIT, the slot's numbers, then the request. */
#include "test/fuzz/fuzz.h"

#include <linux/fuse.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "common/log.h"
#include "fusefs/publish.h"
#include "fusefs/session.h"

#define PUBLISHER 77
#define UNIQUE	  UINT64_C(0x40000002)

static bool old_kernel;

/* A kernel before 6.9 knows no notification to send requests again. */
ssize_t write(int fd, const void *data, size_t len)
{
	const struct fuse_out_header *head = data;

	if (old_kernel && fd > STDERR_FILENO && len == sizeof *head && head->unique == 0 && head->error > 0) {
		errno = EINVAL;
		return -1;
	}
	return syscall(SYS_write, fd, data, len);
}

static void ended(void *userdata, int r)
{
	*(bool *)userdata = true;
}

static void init_make(struct arena_connection *c, struct fuzz_input *in)
{
	struct {
		struct fuse_in_header head;
		struct fuse_init_in in;
	} init = { .head = { .len = sizeof init, .opcode = FUSE_INIT, .unique = 2 },
		   .in = { .major = FUSE_KERNEL_VERSION, .minor = 45, .max_readahead = 131072, .flags = UINT32_MAX } };
	struct fuzz_input bytes;
	uint8_t how = fuzz_u8(in);

	memcpy(c->init, &init, sizeof init);
	c->init_len = sizeof init;
	if (how & 1) {
		c->init_len = fuzz_u32(in);
		bytes = fuzz_take(in, sizeof c->init);
		if (bytes.len > 0)
			memcpy(c->init, bytes.data, bytes.len);
	}
	if (how & 2)
		c->init[fuzz_u8(in)] = fuzz_u8(in);
	if (how & 4)
		c->flags = (uint64_t)fuzz_u32(in) << 32 | fuzz_u32(in);
	old_kernel = how & 8;
	c->publisher = how & 16 ? PUBLISHER : 0;
	if (how & 32)
		c->doubt = fuzz_u8(in);
}

/* Numbers near those of the tree as often as any. */
static uint64_t number(struct fuzz_input *in)
{
	uint8_t n = fuzz_u8(in);

	return n < 0xf0 ? n % 8 : (uint64_t)fuzz_u32(in) << 32 | fuzz_u32(in);
}

static void slot_make(struct arena_slot *slot, struct fuzz_input *in)
{
	struct fuse_in_header *head = (void *)slot->request;
	uint8_t how = fuzz_u8(in);

	slot->since_usec = number(in);
	slot->deadly_unique = how & 1 ? UNIQUE : number(in);
	slot->n_deaths = number(in);
	slot->count_id = number(in);
	slot->count_after = number(in);
	slot->n_forgotten = number(in);
	head->len = (how & 2) ? fuzz_u32(in) : sizeof *head + MIN(in->len, sizeof slot->request - sizeof *head);
	head->opcode = fuzz_u8(in);
	head->unique = how & 4 ? number(in) : UNIQUE;
	head->nodeid = number(in);
	head->pid = how & 8 ? PUBLISHER : fuzz_u8(in);
	if (how & 16) /* what lies behind it, of an earlier request */
		memset(head + 1, fuzz_u8(in) | 1, sizeof slot->request - sizeof *head);
	if (in->len > 0)
		memcpy(head + 1, in->data, MIN(in->len, sizeof slot->request - sizeof *head));
}

static struct tree *tree_make(void)
{
	struct tree *t;
	struct node *dir, *n;

	FUZZ_CHECK(tree_new(1, &t) == 0);
	FUZZ_CHECK(tree_stage_dir(t, tree_node(t, TREE_ROOT_ID), "a", 0755, 0, &dir) == 0);
	FUZZ_CHECK(tree_fill_dir(t, dir, "b", 0755, 0, &n) == 0);
	FUZZ_CHECK(tree_fill_link(t, dir, "c", "target", &n) == 0);
	FUZZ_CHECK(tree_commit_mkdir(t, tree_node(t, TREE_ROOT_ID), "a", &dir) == 0);
	tree_ref_lookup(t, dir);
	return t;
}

/* How many answers have come; each is one, whole. */
static size_t answers(int kernel, uint64_t unique, int32_t *ret_error)
{
	static uint8_t answer[256 << 10];
	struct fuse_out_header head;
	size_t n_ours = 0;
	ssize_t n;

	while ((n = recv(kernel, answer, sizeof answer, MSG_DONTWAIT)) > 0) {
		FUZZ_CHECK((size_t)n >= sizeof head);
		memcpy(&head, answer, sizeof head);
		FUZZ_CHECK(head.len == (size_t)n);
		if (head.unique != unique)
			continue;
		*ret_error = head.error;
		n_ours++;
	}
	return n_ours;
}

static int32_t getattr_root(struct session *s, int kernel)
{
	struct {
		struct fuse_in_header head;
		struct fuse_getattr_in in;
	} ask = { .head = { .len = sizeof ask, .opcode = FUSE_GETATTR, .unique = 1002, .nodeid = FUSE_ROOT_ID } };
	int32_t error = 1;

	FUZZ_CHECK(send(kernel, &ask, sizeof ask, 0) == sizeof ask);
	session_answer(s);
	FUZZ_CHECK(answers(kernel, 1002, &error) == 1);
	return error;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct arena_connection *c;
	struct fuzz_input in = { .data = data, .len = size };
	struct session *s = NULL;
	struct publish *p;
	struct loop *loop;
	struct tree *t;
	struct err e = ERR_INIT;
	bool finished = false, is_init;
	uint64_t unique;
	int ends[2], r;
	int32_t error;

	if (!c) {
		log_set_level(LOG_LEVEL_ERROR);
		c = malloc(sizeof *c);
	}
	FUZZ_CHECK(c && loop_new(&loop) == 0);
	memset(c, 0, sizeof *c);
	init_make(c, &in);
	slot_make(&c->slot, &in);
	unique = ((struct fuse_in_header *)(void *)c->slot.request)->unique;
	is_init = ((struct fuse_in_header *)(void *)c->slot.request)->opcode == FUSE_INIT;
	t = tree_make();
	FUZZ_CHECK(publish_new(loop, t, &p) == 0);
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);

	session_note_doubt(c);
	session_slot_name(&c->slot);
	FUZZ_CHECK(publish_resume(p, &c->doubt) == 0);
	r = session_new(loop, ends[1], t, p, c, ended, &finished, &s, &e);
	if (r < 0) {
		FUZZ_CHECK(*err_text(&e));
	} else {
		FUZZ_CHECK(answers(ends[0], unique, &error) <= 1 || is_init || unique == 0);
		/* without INIT, none has come yet */
		if (session_stats(s)->initialised) {
			FUZZ_CHECK(getattr_root(s, ends[0]) <= 0);
			FUZZ_CHECK(tree_stats(t).n_nodes == 4);
		}
	}
	session_free(s);
	publish_free(p);
	tree_free(t);
	loop_free(loop);
	close(ends[0]);
	return 0;
}
