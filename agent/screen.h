/* Screen: a terminal that is drawn on as a whole, frame after frame, and left as it was, whatever ends it. Frames can also be
 * text alone, for pipes. */
#pragma once

#include "agent/table.h"
#include "common/buf.h"
#include "common/err.h"

/* One picture: lines that are cut to the width, until there is no more room. */
struct frame {
	struct buf text;
	size_t columns, rows; /* SIZE_MAX: no limit */
	size_t column, row; /* where the next text goes */
	bool colour;
	bool drawn; /* on a screen: the rest of each line is cleared */
	int r; /* the first failure; 0 */
};
#define FRAME_MAX  ((size_t)16 * 1024 * 1024)
#define FRAME_INIT ((struct frame){ .text = BUF_INIT(FRAME_MAX), .columns = SIZE_MAX, .rows = SIZE_MAX })
void frame_deinit(struct frame *f);
#define cleanup_frame cleanup(frame_deinit)
/* Text may come from anywhere: it is escaped. */
void frame_add(struct frame *f, enum table_style style, const char *text);
void frame_addf(struct frame *f, enum table_style style, const char *fmt, ...) attr_printf(3, 4);
/* Spaces up to this column. */
void frame_pad(struct frame *f, size_t column);
void frame_end_line(struct frame *f);
bool frame_is_full(const struct frame *f);

struct screen;

enum screen_event {
	SCREEN_DUE, /* the time is up */
	SCREEN_CHANGED, /* another size, or it was taken away and given back: draw again */
	SCREEN_KEY,
	SCREEN_ENDED, /* by a signal, which is to end the process after screen_close(): screen_die() */
};

/* Takes over the terminal that is stdout; the keys come from stdin, if that is a terminal. SIGINT, SIGTERM, SIGHUP, SIGQUIT,
 * SIGTSTP, SIGCONT and SIGWINCH are blocked and become events. -errno. */
int screen_open(struct screen **ret_s, struct err *e);
/* The terminal is as it was before. NULL is fine. */
void screen_close(struct screen *s);
DEFINE_CLEANUP(struct screen *, screen_close);
#define cleanup_screen cleanup(screen_closep)
/* An empty frame of the screen's size. */
void screen_frame(const struct screen *s, struct frame *f);
/* -EIO: nobody shows it any more. */
int screen_draw(struct screen *s, const struct frame *f);
enum screen_event screen_wait(struct screen *s, uint64_t timeout_usec, char *ret_key);
/* Ends the process by the signal of SCREEN_ENDED; returns if that is ignored. */
void screen_die(struct screen *take_screen);
