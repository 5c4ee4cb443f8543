/* Screen: the few sequences that every terminal knows (those of the VT100, and xterm's for the other screen and the cursor).
 * Signals come through a signalfd, so that no handler has to put a terminal right in the middle of a line. */

#include "agent/screen.h"

#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>

#include "common/clock.h"

#define OTHER_SCREEN "\033[?1049h\033[?25l"
#define OWN_SCREEN   "\033[?25h\033[?1049l"
#define HOME	     "\033[H"
#define CLEAR_LINE   "\033[K"
#define CLEAR_BELOW  "\033[J"

static const int SIGNALS[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH };

struct screen {
	int signals; /* signalfd */
	sigset_t mask_before;
	bool has_modes; /* stdin is a terminal, whose modes are changed and put back, even if no key comes from it any more */
	bool has_keys, taken; /* keys come; the terminal shows our screen */
	struct termios before;
	size_t columns, rows;
	int signo; /* that has ended it */
};

/* Frames */

static const char *const colours[] = {
	[TABLE_PLAIN] = "",
	[TABLE_GOOD] = "\033[32m",
	[TABLE_BUSY] = "\033[33m",
	[TABLE_BAD] = "\033[31m",
};

void frame_deinit(struct frame *f)
{
	buf_deinit(&f->text);
}

static void append(struct frame *f, const char *text, size_t len)
{
	if (f->r == 0)
		f->r = buf_add(&f->text, text, len);
}

bool frame_is_full(const struct frame *f)
{
	return f->row >= f->rows;
}

/* Bytes of the first n characters, or of all; *io_n is how many there are. */
static size_t text_cut(const char *text, size_t *io_n)
{
	size_t len = 0, n = 0;

	while (text[len] && n < *io_n) {
		len++;
		while (((unsigned char)text[len] & 0xc0) == 0x80)
			len++;
		n++;
	}
	*io_n = n;
	return len;
}

void frame_add(struct frame *f, enum table_style style, const char *text)
{
	cleanup_free char *escaped = table_escape(text);
	bool coloured = f->colour && style != TABLE_PLAIN;
	size_t n = f->columns - f->column, len;

	if (!escaped) {
		f->r = -ENOMEM;
		return;
	}
	if (frame_is_full(f))
		return;
	len = text_cut(escaped, &n);
	if (coloured)
		append(f, colours[style], strlen(colours[style]));
	append(f, escaped, len);
	if (coloured)
		append(f, "\033[0m", strlen("\033[0m"));
	f->column += n;
}

void frame_addf(struct frame *f, enum table_style style, const char *fmt, ...)
{
	char text[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	frame_add(f, style, text);
}

void frame_pad(struct frame *f, size_t column)
{
	for (; f->column < MIN(column, f->columns) && !frame_is_full(f); f->column++)
		append(f, " ", 1);
}

/* No line break after the last line: it would move all up. */
void frame_end_line(struct frame *f)
{
	if (frame_is_full(f))
		return;
	if (f->drawn)
		append(f, CLEAR_LINE, strlen(CLEAR_LINE));
	f->row++;
	f->column = 0;
	if (!f->drawn || !frame_is_full(f))
		append(f, "\n", 1);
}

/* The terminal */

static int write_all(const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDOUT_FILENO, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		/* whoever shares the terminal may have made it so, for all */
		if (n < 0 && errno == EAGAIN && poll(&(struct pollfd){ STDOUT_FILENO, POLLOUT, 0 }, 1, -1) >= 0)
			continue;
		if (n < 0)
			return -EIO;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

static void measure(struct screen *s)
{
	struct winsize w = { .ws_row = 0 };

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) < 0 || w.ws_col == 0 || w.ws_row == 0)
		w = (struct winsize){ .ws_col = 80, .ws_row = 24 };
	s->columns = w.ws_col;
	s->rows = w.ws_row;
}

/* Keys come one by one and are not shown; ^C and ^Z stay what they are. */
static int take(struct screen *s)
{
	struct termios raw = s->before;

	measure(s);
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	if (s->has_modes && tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) < 0)
		return -errno;
	s->taken = true;
	return write_all(OTHER_SCREEN, strlen(OTHER_SCREEN));
}

static void give_back(struct screen *s)
{
	if (!s->taken)
		return;
	s->taken = false;
	write_all(OWN_SCREEN, strlen(OWN_SCREEN));
	if (s->has_modes)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &s->before);
}

int screen_open(struct screen **ret_s, struct err *e)
{
	cleanup_screen struct screen *s = calloc(1, sizeof(*s));
	sigset_t set;
	int r;

	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	s->signals = -1;
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(SIGNALS); i++)
		sigaddset(&set, SIGNALS[i]);
	sigprocmask(SIG_BLOCK, &set, &s->mask_before);
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->signals < 0)
		return err_set(e, -errno, "signalfd: %m");
	s->has_modes = s->has_keys = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &s->before) == 0;
	r = take(s);
	if (r < 0)
		return err_set(e, r, "terminal: %s", strerror(-r));
	*ret_s = TAKE_PTR(s);
	return 0;
}

void screen_close(struct screen *s)
{
	if (!s)
		return;
	give_back(s);
	close_fd(s->signals);
	sigprocmask(SIG_SETMASK, &s->mask_before, NULL);
	free(s);
}

void screen_frame(const struct screen *s, struct frame *f)
{
	buf_clear(&f->text);
	f->columns = s->columns;
	f->rows = s->rows;
	f->column = f->row = 0;
	f->colour = table_wants_colour(stdout);
	f->drawn = true;
	f->r = 0;
	append(f, HOME, strlen(HOME));
}

int screen_draw(struct screen *s, const struct frame *f)
{
	int r;

	if (f->r < 0)
		return f->r;
	r = write_all(f->text.data, f->text.len);
	/* a frame that fills the screen has nothing below */
	if (r == 0 && !frame_is_full(f))
		r = write_all(CLEAR_BELOW, strlen(CLEAR_BELOW));
	return r;
}

/* As if there were no screen: the shell gets its terminal, and it comes back with SIGCONT. */
static void stop(struct screen *s)
{
	sigset_t set;

	give_back(s);
	sigemptyset(&set);
	sigaddset(&set, SIGTSTP);
	raise(SIGTSTP);
	sigprocmask(SIG_UNBLOCK, &set, NULL); /* stops here */
	sigprocmask(SIG_BLOCK, &set, NULL);
	take(s);
}

/* What waits in the signalfd. SCREEN_DUE: nothing of interest. */
static enum screen_event read_signal(struct screen *s)
{
	struct signalfd_siginfo info;

	if (read(s->signals, &info, sizeof(info)) != sizeof(info))
		return SCREEN_DUE;
	switch ((int)info.ssi_signo) {
	case SIGWINCH:
		measure(s);
		return SCREEN_CHANGED;
	case SIGTSTP:
		stop(s);
		return SCREEN_CHANGED;
	case SIGCONT:
		/* SIGSTOP was not told, and whoever had the terminal meanwhile has put it right for himself */
		take(s);
		return SCREEN_CHANGED;
	default:
		s->signo = (int)info.ssi_signo;
		return SCREEN_ENDED;
	}
}

enum screen_event screen_wait(struct screen *s, uint64_t timeout_usec, char *ret_key)
{
	uint64_t end_usec = clock_monotonic_usec() + timeout_usec;

	for (;;) {
		struct pollfd fds[] = { { s->signals, POLLIN, 0 }, { s->has_keys ? STDIN_FILENO : -1, POLLIN, 0 } };
		uint64_t now = clock_monotonic_usec();
		enum screen_event event;
		ssize_t len;
		int n;

		n = poll(fds, ARRAY_SIZE(fds), now < end_usec ? (int)((end_usec - now + 999) / USEC_PER_MSEC) : 0);
		if (n == 0)
			return SCREEN_DUE;
		event = fds[0].revents ? read_signal(s) : SCREEN_DUE;
		if (event != SCREEN_DUE)
			return event;
		if (!fds[1].revents)
			continue;
		len = read(STDIN_FILENO, ret_key, 1);
		if (len == 1)
			return SCREEN_KEY;
		/* EAGAIN: somebody else has got the key. Otherwise it has been closed */
		s->has_keys = len < 0 && (errno == EAGAIN || errno == EINTR);
	}
}

void screen_die(struct screen *take_screen)
{
	int signo = take_screen->signo;

	screen_close(take_screen);
	raise(signo);
}
