/* Order: what travels between publish_order.c and the publisher process, over SOCK_SEQPACKET. A message is a head and steps;
 * steps are run one after the other until one fails. One message is under way at a time, and one answer names it.
 *
 * What a node's number in the kernel is dropped by, is written to /dev/fuse. A message with such steps has none of others, and
 * brings the fd (SCM_RIGHTS), which is closed after it. For as long as somebody has it open, the connection does not end; and
 * whoever waits in a path of the mount, for an agent that never comes, could not even be killed. */
#pragma once

#include "common/base.h"

#define ORDER_MAX      (32u << 10) /* bytes of one message */
#define ORDER_PATH_MAX 4096 /* with its NUL, as PATH_MAX */

enum order_op {
	ORDER_MKDIR,
	ORDER_CHMOD, /* to 0755 */
	ORDER_SYMLINK, /* path is made, path2 is what it says */
	ORDER_RENAME, /* path becomes path2 */
	ORDER_UNLINK,
	ORDER_RMDIR,
	ORDER_MKNOD, /* a regular file */
	ORDER_INVAL_ATTR, /* the kernel forgets the node's attributes */
	ORDER_INVAL, /* these and what is in it */
	ORDER_TOUCH, /* sets the time, of a file of uid 0's: who watches it gets an IN_MODIFY */
	ORDER_STAT, /* from here on: reads, to have it all in the kernel's caches */
	ORDER_READ_FILE,
	ORDER_READ_LINK,
	ORDER_READ_DIR,
	ORDER_OPS
};

#define ORDER_IGNORE_ALL UINT16_MAX

static inline bool order_op_needs_fuse(enum order_op op)
{
	return op == ORDER_INVAL_ATTR || op == ORDER_INVAL;
}

struct order_head {
	uint64_t id;
	uint32_t n_steps, reserved;
};

struct order_step {
	uint32_t index; /* the caller's number for it */
	uint16_t op;
	uint16_t ignored; /* an errno that is a success here, or ORDER_IGNORE_ALL; 0: none */
	uint16_t path_len, path2_len; /* with the NUL; 0: none. The bytes follow the step. */
	uint32_t mark; /* the time of its success is wanted */
	uint64_t node; /* for the steps that need no path; it is there all the same, for people */
};

#define ORDER_DONE UINT32_MAX

struct order_answer {
	uint64_t id;
	uint32_t failed; /* index of the step that failed, or ORDER_DONE */
	uint32_t error; /* its errno */
	uint64_t realtime_usec; /* of the marked step; 0: there was none */
};
