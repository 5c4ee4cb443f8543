/* Frames: a byte stream -> complete documents, one per line, as the API server frames the events of a watch. Bounded;
 * what is kept of an incomplete document is wiped and given back as soon as it is complete. */
#pragma once

#include "common/buf.h"

#define FRAMES_BYTES_MAX ((size_t)(4 * 1024 * 1024)) /* of one document: an object of 1.5 MiB in etcd, and room */

struct frames {
	struct buf partial;
	size_t max;
	size_t n_blank; /* bytes of empty lines since the last document */
};
#define FRAMES_INIT(max_bytes) ((struct frames){ .partial = BUF_INIT(max_bytes), .max = (max_bytes) })

/* One document, without its line end; doc is not NUL-terminated and gone afterwards. Anything but 0 ends the feeding:
 * frames_feed() returns it and does not touch the frames any more, so they may be gone. */
typedef int (*frames_fn)(void *userdata, const char *doc, size_t len);

void frames_deinit(struct frames *f);
/* Empty lines are skipped. -EFBIG: a document, or what is empty between two, is longer than the maximum; -ENOMEM; else what fn returned. After an
 * error only frames_deinit() and frames_reset() make sense. */
int frames_feed(struct frames *f, const char *data, size_t len, frames_fn fn, void *userdata);
/* Bytes of a document whose end has not come. */
size_t frames_pending(const struct frames *f);
/* Forgets them. */
void frames_reset(struct frames *f);
