/* The log. A line is built in one fixed buffer, cleaned on the way in, and leaves with one system call that does not
 * wait: poll(2) first where stderr is shared (its flags belong to everybody who has it), MSG_DONTWAIT where it is a
 * socket of ours. libsystemd's sd_journal_sendv() blocks when the journal is slow, so the journal's datagram protocol
 * (systemd.io/JOURNAL_NATIVE_PROTOCOL) is spoken here; without line ends in values it is `KEY=value` lines. */
#include "common/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "common/str.h"

#define LOG_LINE_MAX	 4096
#define LOG_DATAGRAM_MAX (4 * LOG_LINE_MAX)
#define JOURNAL_SOCKET	 "/run/systemd/journal/socket"

static struct {
	const char *program;
	_Atomic enum log_level max;
	_Atomic uint64_t n_dropped;
	_Atomic uint64_t n_unreported;
	int journal_fd; /* -1: stderr */
} logger = { .program = "secretlet", .max = LOG_LEVEL_INFO, .journal_fd = -1 };

static const struct {
	const char *name;
	const char *priority; /* syslog's */
} LEVELS[] = {
	[LOG_LEVEL_ERROR] = { "error", "3" },
	[LOG_LEVEL_WARNING] = { "warning", "4" },
	[LOG_LEVEL_INFO] = { "info", "6" },
	[LOG_LEVEL_DEBUG] = { "debug", "7" },
};

/* Text under construction; once something did not fit, nothing more is added. */
struct line {
	char *text;
	size_t len, max;
	bool cut;
};

static void line_add(struct line *l, const char *s, size_t len)
{
	if (l->cut || len > l->max - l->len) {
		l->cut = true;
		return;
	}
	memcpy(l->text + l->len, s, len);
	l->len += len;
}

static void line_add_str(struct line *l, const char *s)
{
	line_add(l, s, strlen(s));
}

static void line_add_hex(struct line *l, unsigned char c)
{
	char hex[5];

	snprintf(hex, sizeof(hex), "\\x%02x", c);
	line_add(l, hex, 4);
}

/* C0, DEL, and C1 in UTF-8. */
static bool is_control(const char *s)
{
	unsigned char c = (unsigned char)s[0];

	return c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)s[1] < 0xa0);
}

/* Control characters and what is not UTF-8 become \xNN; `quoted`: quotes and backslashes get a backslash. */
static void line_add_clean(struct line *l, const char *s, bool quoted)
{
	for (size_t len = strlen(s), n; len > 0; s += n, len -= n) {
		n = str_utf8_len(s, len);
		if (n == 0 || is_control(s)) {
			n = MAX(n, (size_t)1);
			for (size_t i = 0; i < n; i++)
				line_add_hex(l, (unsigned char)s[i]);
			continue;
		}
		if (quoted && (s[0] == '"' || s[0] == '\\'))
			line_add_str(l, "\\");
		line_add(l, s, n);
	}
}

static bool value_is_plain(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++)
		if ((unsigned char)*s <= ' ' || *s == 0x7f || *s == '"' || *s == '\\' || *s == '=')
			return false;
	return true;
}

static void line_add_field(struct line *l, const struct log_field *field)
{
	line_add_str(l, " ");
	line_add_str(l, field->key);
	line_add_str(l, "=");
	if (value_is_plain(field->value)) {
		line_add_clean(l, field->value, false);
		return;
	}
	line_add_str(l, "\"");
	line_add_clean(l, field->value, true);
	line_add_str(l, "\"");
}

/* "message key=value" */
static void line_add_message(struct line *l, const char *message, const struct log_field *fields)
{
	line_add_clean(l, message, false);
	for (; fields && fields->key; fields++)
		if (fields->value)
			line_add_field(l, fields);
}

/* Room for this was kept free by line_begin(). */
static void line_end(struct line *l)
{
	l->max += sizeof("...");
	if (l->cut) {
		l->cut = false;
		line_add_str(l, "...");
	}
	line_add_str(l, "\n");
}

static void line_begin(struct line *l, char *text, size_t size)
{
	*l = (struct line){ .text = text, .max = size - sizeof("...") };
}

static void line_add_time(struct line *l)
{
	char text[STR_TIME_MAX], msec[8];
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	str_format_time((uint64_t)now.tv_sec * USEC_PER_SEC, text);
	snprintf(msec, sizeof(msec), ".%03uZ ", (unsigned)(now.tv_nsec / 1000000) % 1000);
	line_add(l, text, strlen(text) - 1);
	line_add_str(l, msec);
}

static bool stderr_write(enum log_level level, const struct log_field *fields, const char *message)
{
	struct pollfd pfd = { .fd = STDERR_FILENO, .events = POLLOUT };
	char text[LOG_LINE_MAX];
	struct line l;

	/* a pipe without a reader reports POLLERR; writing there would raise SIGPIPE */
	if (poll(&pfd, 1, 0) != 1 || (pfd.revents & (POLLOUT | POLLERR)) != POLLOUT)
		return false;

	line_begin(&l, text, sizeof(text));
	line_add_time(&l);
	line_add_str(&l, LEVELS[level].name);
	line_add_str(&l, " ");
	line_add_clean(&l, logger.program, false);
	line_add_str(&l, ": ");
	line_add_message(&l, message, fields);
	line_end(&l);
	return write(STDERR_FILENO, text, l.len) == (ssize_t)l.len;
}

static void journal_add_field(struct line *l, const struct log_field *field)
{
	struct line before = *l;

	line_add_str(l, "SECRETLET_");
	for (const char *c = field->key; *c; c++) {
		char upper = *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;

		if ((upper >= 'A' && upper <= 'Z') || (upper >= '0' && upper <= '9') || upper == '_')
			line_add(l, &upper, 1);
	}
	line_add_str(l, "=");
	line_add_clean(l, field->value, false);
	line_add_str(l, "\n");

	/* half a field would be a wrong one; the message has them all anyway */
	if (l->cut)
		*l = before;
}

static int journal_connect(void)
{
	static const struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET };
	int fd;

	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		fd = close_fd(fd);
	return fd;
}

/* A restarted journal refuses the old connection once. */
static bool journal_send(const char *data, size_t len)
{
	if (send(logger.journal_fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return true;
	if (errno != ECONNREFUSED && errno != ENOTCONN && errno != ECONNRESET)
		return false;
	close_fd(logger.journal_fd);
	logger.journal_fd = journal_connect();
	return logger.journal_fd >= 0 && send(logger.journal_fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static bool journal_write(enum log_level level, const struct log_field *fields, const char *message)
{
	char text[LOG_DATAGRAM_MAX];
	struct line l, m;

	line_begin(&l, text, sizeof(text));
	line_add_str(&l, "PRIORITY=");
	line_add_str(&l, LEVELS[level].priority);
	line_add_str(&l, "\nSYSLOG_IDENTIFIER=secretlet-");
	line_add_clean(&l, logger.program, false);
	line_add_str(&l, "\nMESSAGE=");

	line_begin(&m, text + l.len, LOG_LINE_MAX);
	line_add_message(&m, message, fields);
	line_end(&m);
	l.len += m.len;

	for (; fields && fields->key; fields++)
		if (fields->value)
			journal_add_field(&l, fields);
	return journal_send(text, l.len);
}

static bool line_write(enum log_level level, const struct log_field *fields, const char *message)
{
	if (logger.journal_fd >= 0)
		return journal_write(level, fields, message);
	return stderr_write(level, fields, message);
}

static bool report_dropped(void)
{
	uint64_t n = atomic_load(&logger.n_unreported);
	char message[64];

	if (n == 0)
		return true;
	snprintf(message, sizeof(message), "%llu log lines were dropped", (unsigned long long)n);
	if (!line_write(LOG_LEVEL_WARNING, NULL, message))
		return false;
	atomic_fetch_sub(&logger.n_unreported, n);
	return true;
}

void log_write(enum log_level level, const struct log_field *fields, const char *fmt, ...)
{
	char message[LOG_LINE_MAX];
	int saved = errno;
	va_list ap;
	int n;

	if (level > log_get_level())
		return;

	va_start(ap, fmt);
	n = vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	if (n < 0)
		message[0] = '\0';

	if (!report_dropped() || !line_write(level, fields, message)) {
		atomic_fetch_add(&logger.n_dropped, 1);
		atomic_fetch_add(&logger.n_unreported, 1);
	}
	errno = saved;
}

/* JOURNAL_STREAM is the "device:inode" of the journal's stream; whoever redirected stderr has left it behind. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;
	int end = 0;

	return stream && sscanf(stream, "%llu:%llu%n", &dev, &ino, &end) == 2 && !stream[end] &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

void log_init(const char *program, enum log_level max)
{
	logger.program = program;
	log_set_level(max);
	logger.journal_fd = close_fd(logger.journal_fd);
	if (stderr_is_journal())
		logger.journal_fd = journal_connect();
}

void log_set_level(enum log_level max)
{
	atomic_store(&logger.max, max);
}

enum log_level log_get_level(void)
{
	return atomic_load(&logger.max);
}

int log_level_parse(const char *text, enum log_level *ret_level)
{
	for (size_t i = 0; i < ARRAY_SIZE(LEVELS); i++)
		if (str_eq(text, LEVELS[i].name)) {
			*ret_level = (enum log_level)i;
			return 0;
		}
	return -EINVAL;
}

uint64_t log_dropped(void)
{
	return atomic_load(&logger.n_dropped);
}

bool log_limit_ok(struct log_limit *l, uint64_t now_usec)
{
	if (l->n_lines == 0 || now_usec - l->start_usec >= l->window_usec) {
		l->start_usec = now_usec;
		l->n_lines = 0;
	}
	if (l->n_lines >= l->burst) {
		l->n_held++;
		return false;
	}
	l->n_lines++;
	l->n_held_before = l->n_held;
	l->n_held = 0;
	return true;
}
