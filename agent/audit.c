/* Audit process. An event is a file descriptor of what was opened, a pid and a pidfd, and each of them is looked at and
 * closed at once: as long as the first is open, the mount is busy through which the opener has come. What is asked of the
 * descriptor is answered by the kernel from its own memory (statx(2) with AT_STATX_DONT_SYNC, the link in /proc/self/fd), so
 * that an agent that is away keeps nothing open; only the name of the node is asked for, over a socket, and the record
 * waits for it, not longer than NAMES_WAIT_USEC.
 *
 * Records are written in the order of the events. What can be lost is counted where it is lost: by the kernel
 * (FAN_Q_OVERFLOW, which does not say how many), by us (the file cannot be written), and by an end of this process (counted
 * in shared memory, which the next one reads).
 *
 * Rights: root's, to set the mark and to open the log's folder; from then on no capability, /proc as its root folder, and that
 * one folder (sandbox_enter_proc(), sandbox_confine_audit()). */
#include "agent/audit.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "agent/audit_names.h"
#include "agent/audit_proc.h"
#include "agent/audit_sink.h"
#include "agent/keeper.h"
#include "agent/link.h"
#include "agent/sandbox.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/list.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/map.h"
#include "common/str.h"
#include "common/version.h"

#define EVENTS_BYTES	3072 /* of one read: 64 events or more, and two descriptors for each */
#define WAITING_MAX	4096 /* records that wait for a name */
#define NAMES_MAX	8192 /* that are remembered */
#define NAMES_WAIT_USEC (5 * USEC_PER_SEC)
#define LINES_MAX	((size_t)256 * 1024)
#define RETRY_USEC	USEC_PER_SEC
#define STOP_BATCHES	512 /* more than a full queue */
#define TELL_USEC	USEC_PER_SEC
#define LOST_USEC	(10 * USEC_PER_SEC) /* without the log's folder, until another process looks for it */

#define OPEN_START "{\"type\":\"open\","

/* What a node is called. A node's id is of one content for ever, so what was once answered stays right. */
struct names {
	struct list link; /* in unasked, asked or known */
	uint64_t node;
	char *text; /* AUDIT_NAMES_N strings; NULL: not known (yet) */
	bool asked, answered;
};

struct record {
	struct list link;
	uint64_t node, realtime_usec, until_usec;
	char *path;
	json_t *process;
};

struct audit {
	const char *target;
	struct loop *loop;
	struct audit_counts *counts;
	struct audit_sink *sink;
	int group, link, agent; /* agent -1: it is away */
	struct loop_source *group_source, *link_source, *agent_source, *names_timer, *retry, *tell;
	uint64_t boot_usec;
	uint64_t started_usec; /* CLOCK_MONOTONIC */

	struct list waiting; /* in the order of the events */
	size_t n_waiting;
	struct map by_node;
	struct list unasked, asked, known; /* known: the one used last at the end */
	size_t n_asked, n_known;

	struct buf lines; /* of opens, to be written */
	char *owed; /* the first record, until it is written */
	char error[AUDIT_ERROR_MAX]; /* why nothing can be written */
	uint64_t failing_usec; /* CLOCK_REALTIME since when; 0: all is well */
	pid_t last_pid; /* of this batch of events: what /proc said of it */
	json_t *last_process;
	bool telling, retrying;
};

/* ---- writing ---- */

static void tell_soon(struct audit *a)
{
	if (a->telling || a->agent < 0)
		return;
	a->telling = loop_timer_set(a->tell, TELL_USEC) == 0;
}

/* Never later than that: as long as opens come, what fails does so again and again. */
static void retry_soon(struct audit *a)
{
	if (!a->retrying)
		a->retrying = loop_timer_set(a->retry, RETRY_USEC) == 0;
}

static void failed(struct audit *a, uint64_t n_opens, const struct err *e)
{
	a->counts->n_failed += n_opens;
	if (!a->failing_usec) {
		/* once, however long it lasts */
		a->failing_usec = clock_realtime_usec();
		log_error(NULL, "records cannot be written and are dropped: %s", err_text(e));
	}
	snprintf(a->error, sizeof(a->error), "%s", err_text(e));
	retry_soon(a);
}

static uint64_t count_opens(const char *lines, size_t len)
{
	const char *end = lines + len;
	uint64_t n = 0;

	while (lines < end) {
		const char *line_end = memchr(lines, '\n', (size_t)(end - lines));

		n += str_starts(lines, OPEN_START);
		lines = line_end ? line_end + 1 : end;
	}
	return n;
}

/* A record of ours, as a line of its own. */
static int put(struct audit *a, const char *message, json_t *record, struct err *e)
{
	cleanup_free char *text = record ? json_dump_printable(record) : NULL, *line = NULL;
	size_t taken;

	if (!text)
		return err_set(e, -ENOMEM, "out of memory");
	if (audit_sink_is_journal(a->sink))
		return audit_sink_send(a->sink, message, record, text, e);
	line = str_format("%s\n", text);
	if (!line)
		return err_set(e, -ENOMEM, "out of memory");
	return audit_sink_write(a->sink, line, strlen(line), clock_monotonic_usec(), &taken, e);
}

static char *time_text(uint64_t realtime_usec, char text[static STR_TIME_MAX + 8])
{
	str_format_time(realtime_usec, text);
	/* 2026-11-22T05:50:05Z -> 2026-11-22T05:50:05.123456Z */
	snprintf(text + strlen(text) - 1, 10, ".%06uZ", (unsigned)(realtime_usec % USEC_PER_SEC));
	return text;
}

/* The record with which this process begins. */
static int put_owed(struct audit *a, struct err *e)
{
	cleanup_json json_t *record = NULL;
	int r;

	if (!a->owed)
		return 0;
	record = json_loads(a->owed, 0, NULL);
	r = put(a,
		str_eq(json_string_value(json_object_get(record, "type")), "start")
			? "opens are recorded from here on"
			: "opens are recorded from here on; some may be missing from before",
		record, e);
	if (r == 0)
		free(TAKE_PTR(a->owed));
	return r;
}

/* What is missing and was not told yet. */
static int put_dropped(struct audit *a, struct err *e)
{
	struct audit_counts *c = a->counts;
	uint64_t n_failed = c->n_failed - c->told_failed, n_overflows = c->n_overflows - c->told_overflows;
	cleanup_json json_t *record = NULL;
	char time[STR_TIME_MAX + 8];
	int r;

	if (n_failed == 0 && n_overflows == 0)
		return 0;
	record = json_pack("{s:s, s:s, s:I, s:I, s:s*}", "type", "dropped", "time",
			   time_text(clock_realtime_usec(), time), "unwritten", (json_int_t)n_failed, "queueFull",
			   (json_int_t)n_overflows, "error", n_failed && a->error[0] ? a->error : NULL);
	r = put(a, "records are missing", record, e);
	if (r < 0)
		return r;
	c->told_failed += n_failed;
	c->told_overflows += n_overflows;
	log_warning(NULL,
		    "records are missing: %" PRIu64 " could not be written, the kernel's queue was full %" PRIu64
		    " times",
		    n_failed, n_overflows);
	return 0;
}

static void flush(struct audit *a)
{
	struct err e = ERR_INIT;
	uint64_t n_opens = count_opens(a->lines.data ?: "", a->lines.len), n_written = 0;
	size_t taken = 0;
	int r;

	r = put_owed(a, &e);
	if (r == 0 && a->failing_usec)
		r = put_dropped(a, &e);
	if (r == 0 && a->lines.len > 0) {
		r = audit_sink_write(a->sink, a->lines.data, a->lines.len, clock_monotonic_usec(), &taken, &e);
		n_written = count_opens(a->lines.data, taken);
		a->counts->n_written += n_written;
	}
	buf_clear(&a->lines);
	/* behind what came before it */
	if (r == 0)
		r = put_dropped(a, &e);
	if (r < 0) {
		failed(a, n_opens - n_written, &e);
	} else if (a->failing_usec) {
		log_info(NULL, "records are written again");
		a->failing_usec = 0;
		a->error[0] = '\0';
	}
	tell_soon(a);
}

static json_t *record_json(const struct record *rec, const char *text)
{
	const char *names[AUDIT_NAMES_N] = { NULL };
	char time[STR_TIME_MAX + 8];
	json_t *pod = NULL;

	for (size_t i = 0; text && i < AUDIT_NAMES_N; i++, text += strlen(text) + 1)
		names[i] = *text ? text : NULL;
	if (names[AUDIT_POD_UID])
		pod = json_pack("{s:o*, s:o*, s:o}", "namespace",
				names[AUDIT_POD_NAMESPACE] ? json_text(names[AUDIT_POD_NAMESPACE]) : NULL, "name",
				names[AUDIT_POD_NAME] ? json_text(names[AUDIT_POD_NAME]) : NULL, "uid",
				json_text(names[AUDIT_POD_UID]));
#define NAME(i) (names[i] ? json_text(names[i]) : NULL)
	/* the type first: count_opens() */
	return json_pack("{s:s, s:s, s:o*, s:o*, s:o*, s:o*, s:o*, s:I, s:o*, s:O}", "type", "open", "time",
			 time_text(rec->realtime_usec, time), "pod", pod, "volume", NAME(AUDIT_VOLUME), "secret",
			 NAME(AUDIT_SECRET), "key", NAME(AUDIT_KEY), "version", NAME(AUDIT_VERSION), "node",
			 (json_int_t)rec->node, "path", rec->path ? json_text(rec->path) : NULL, "process",
			 rec->process);
#undef NAME
}

/* For people, in the journal: the fields have it all. */
static char *record_message(const json_t *record)
{
	const json_t *pod = json_object_get(record, "pod"), *process = json_object_get(record, "process");
	const char *ns = json_string_value(json_object_get(pod, "namespace"));

	return str_format("%s (pid %lld) opened %s of %s/%s, volume %s",
			  json_string_value(json_object_get(process, "comm")) ?: "a process that has gone",
			  (long long)json_integer_value(json_object_get(process, "pid")),
			  json_string_value(json_object_get(record, "key")) ?: "a file", ns ?: "?",
			  json_string_value(json_object_get(pod, "name")) ?: "?",
			  json_string_value(json_object_get(record, "volume")) ?: "?");
}

static void send_record(struct audit *a, json_t *json)
{
	cleanup_free char *message = record_message(json);
	struct err e = ERR_INIT;
	int r;

	r = put_owed(a, &e);
	if (r == 0)
		r = put(a, message ?: "", json, &e);
	if (r < 0)
		failed(a, 1, &e);
	else
		a->counts->n_written++;
}

static void add_line(struct audit *a, const json_t *json)
{
	cleanup_free char *text = json_dump_printable(json);
	size_t before;
	int r;

	if (text && a->lines.len + strlen(text) + 1 > LINES_MAX)
		flush(a);
	before = a->lines.len;
	r = text ? buf_add_str(&a->lines, text) : -ENOMEM;
	if (r == 0)
		r = buf_add(&a->lines, "\n", 1);
	if (r == 0)
		return;
	/* half a line would be one more record to the next */
	if (a->lines.len > before)
		a->lines.data[a->lines.len = before] = '\0';
	failed(a, 1, &(struct err){ .code = r, .text = "out of memory" });
}

static void write_record(struct audit *a, struct record *rec, const char *names)
{
	cleanup_json json_t *json = record_json(rec, names);

	if (!names)
		a->counts->n_unnamed++;
	if (!json)
		failed(a, 1, &(struct err){ .code = -ENOMEM, .text = "out of memory" });
	else if (audit_sink_is_journal(a->sink))
		send_record(a, json);
	else
		add_line(a, json);
}

/* ---- names ---- */

static void names_free(struct audit *a, struct names *n)
{
	list_remove(&n->link);
	map_remove(&a->by_node, &n->node, sizeof(n->node));
	free(n->text);
	free(n);
}

static void names_use(struct audit *a, struct names *n)
{
	list_remove(&n->link);
	list_append(&a->known, &n->link);
}

/* NULL: out of memory. One that the agent did not know is asked for again. */
static struct names *names_want(struct audit *a, uint64_t node)
{
	struct names *n = map_get(&a->by_node, &node, sizeof(node));

	if (n && n->answered && !n->text) {
		names_free(a, n);
		a->n_known--;
		n = NULL;
	}
	if (n) {
		if (n->answered)
			names_use(a, n);
		return n;
	}
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->node = node;
	if (map_add(&a->by_node, &n->node, sizeof(n->node), n) < 0) {
		free(n);
		return NULL;
	}
	list_append(&a->unasked, &n->link);
	return n;
}

static void record_free(struct audit *a, struct record *rec)
{
	list_remove(&rec->link);
	a->n_waiting--;
	json_decref(rec->process);
	free(rec->path);
	free(rec);
}

/* Writes what need not wait any more; `all`: everything. */
static void write_waiting(struct audit *a, bool all)
{
	uint64_t now = clock_monotonic_usec();
	struct record *rec;

	while ((rec = list_first(&a->waiting, struct record, link))) {
		const struct names *n = map_get(&a->by_node, &rec->node, sizeof(rec->node));

		if (n && !n->answered && !all && now < rec->until_usec && a->n_waiting <= WAITING_MAX) {
			loop_timer_set(a->names_timer, rec->until_usec - now);
			break;
		}
		write_record(a, rec, n ? n->text : NULL);
		record_free(a, rec);
	}
	if (a->lines.len > 0 || a->owed || a->counts->n_overflows != a->counts->told_overflows)
		flush(a);
	tell_soon(a);
	while (a->n_known > NAMES_MAX) {
		names_free(a, list_first(&a->known, struct names, link));
		a->n_known--;
	}
}

static void lose_agent(struct audit *a)
{
	struct names *n;

	loop_source_free(TAKE_PTR(a->agent_source));
	a->agent = close_fd(a->agent);
	while ((n = list_first(&a->asked, struct names, link))) {
		list_remove(&n->link);
		n->asked = false;
		list_append(&a->unasked, &n->link);
	}
	a->n_asked = 0;
	/* the keeper connects us with its next one; and again with the same one, if that is what it takes */
	retry_soon(a);
}

static void ask(struct audit *a)
{
	struct audit_ask q = { .kind = AUDIT_ASK_NAMES };
	struct names *n;

	while (a->agent >= 0 && q.n + a->n_asked < AUDIT_ASK_MAX && (n = list_first(&a->unasked, struct names, link))) {
		q.nodes[q.n++] = n->node;
		list_remove(&n->link);
		n->asked = true;
		list_append(&a->asked, &n->link);
	}
	if (q.n == 0)
		return;
	a->n_asked += q.n;
	if (send(a->agent, &q, sizeof(q), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		lose_agent(a);
}

/* The agent reads what comes from the network: its answers are taken for text and nothing else. */
static int take_answer(struct audit *a, const char *packet, size_t len)
{
	struct audit_answer head;
	struct names *n;
	size_t strings = 0;

	if (len < sizeof(head))
		return -EBADMSG;
	memcpy(&head, packet, sizeof(head));
	packet += sizeof(head);
	len -= sizeof(head);
	for (size_t i = 0; i < len; i++)
		strings += !packet[i];
	if (len > 0 && (strings != AUDIT_NAMES_N || packet[len - 1]))
		return -EBADMSG;
	n = map_get(&a->by_node, &head.node, sizeof(head.node));
	if (!n || !n->asked || n->answered)
		return -EBADMSG;
	if (len > 0) {
		n->text = malloc(len);
		if (!n->text)
			return -ENOMEM;
		memcpy(n->text, packet, len);
	}
	n->answered = true;
	names_use(a, n);
	a->n_known++;
	a->n_asked--;
	return 0;
}

static void on_agent(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	static char packet[AUDIT_ANSWER_MAX];
	struct audit *a = userdata;

	for (;;) {
		ssize_t n = recv(fd, packet, sizeof(packet), MSG_DONTWAIT | MSG_TRUNC);
		int r;

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		r = n <= 0 ? -EPIPE : (size_t)n > sizeof(packet) ? -EBADMSG : take_answer(a, packet, (size_t)n);
		if (r < 0) {
			if (r != -EPIPE)
				log_warning(NULL, "an answer of the agent: %s", strerror(-r));
			lose_agent(a);
			break;
		}
	}
	write_waiting(a, false);
	ask(a);
}

static void on_tell(struct loop_source *s, void *userdata)
{
	struct audit *a = userdata;
	struct audit_ask q = { .kind = AUDIT_ASK_TELL, .tell.counts = *a->counts };

	a->telling = false;
	if (a->agent < 0)
		return;
	snprintf(q.tell.error, sizeof(q.tell.error), "%s", a->error);
	if (send(a->agent, &q, sizeof(q), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		lose_agent(a);
}

static void on_names_late(struct loop_source *s, void *userdata)
{
	write_waiting(userdata, false);
}

static void on_retry(struct loop_source *s, void *userdata)
{
	struct audit *a = userdata;

	a->retrying = false;
	if (a->failing_usec || a->owed)
		flush(a);
	if (a->failing_usec && audit_sink_is_lost(a->sink) && clock_monotonic_usec() - a->started_usec >= LOST_USEC) {
		log_error(NULL, "the log's folder is not there: another process is to look for it");
		loop_exit(a->loop, EXIT_FAILURE);
		return;
	}
	if (a->agent < 0) {
		(void)link_send(a->link, LINK_AUDIT, 0, 0, NULL, -1);
		retry_soon(a);
	}
}

/* ---- events ---- */

static json_t *process_of(struct audit *a, pid_t pid, int pidfd)
{
	static struct audit_proc p;
	json_t *json;

	/* all of a batch had happened before any of it is looked at: the second look would see no older state */
	if (a->last_process && a->last_pid == pid)
		return json_incref(a->last_process);
	json = audit_proc_read(pid, pidfd, &p) ? audit_proc_json(pid, &p, a->boot_usec) : audit_proc_gone(pid);
	json_decref(a->last_process);
	a->last_process = json_incref(json);
	a->last_pid = pid;
	return json;
}

static int record_new(struct audit *a, int fd, pid_t pid, int pidfd)
{
	struct statx st = { .stx_mask = 0 };
	char link[64], path[PATH_MAX];
	struct record *rec;
	ssize_t n;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &st) < 0)
		return -errno;
	rec = calloc(1, sizeof(*rec));
	if (!rec)
		return -ENOMEM;
	/* beneath /proc, our root folder */
	snprintf(link, sizeof(link), "/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	rec->path = n > 0 ? strndup(path, (size_t)n) : NULL;
	rec->process = process_of(a, pid, pidfd);
	rec->node = st.stx_ino;
	rec->realtime_usec = clock_realtime_usec();
	rec->until_usec = clock_monotonic_usec() + NAMES_WAIT_USEC;
	list_append(&a->waiting, &rec->link);
	a->n_waiting++;
	if (!rec->process)
		return 0; /* record_json() will fail, and be counted */
	(void)names_want(a, rec->node);
	return 0;
}

static int event_pidfd(const struct fanotify_event_metadata *m)
{
	const char *at = (const char *)m + m->metadata_len, *end = (const char *)m + m->event_len;

	while ((size_t)(end - at) >= sizeof(struct fanotify_event_info_header)) {
		struct fanotify_event_info_pidfd info;

		memcpy(&info.hdr, at, sizeof(info.hdr));
		if (info.hdr.len < sizeof(info.hdr) || info.hdr.len > end - at)
			break;
		if (info.hdr.info_type == FAN_EVENT_INFO_TYPE_PIDFD && info.hdr.len >= sizeof(info)) {
			memcpy(&info, at, sizeof(info));
			return info.pidfd;
		}
		at += info.hdr.len;
	}
	return FAN_NOPIDFD;
}

static void take_event(struct audit *a, const struct fanotify_event_metadata *m)
{
	cleanup_fd int fd = m->fd, pidfd = event_pidfd(m);
	int r;

	if (m->mask & FAN_Q_OVERFLOW) {
		a->counts->n_overflows++;
		return;
	}
	r = fd < 0 ? -EBADF : record_new(a, fd, m->pid, pidfd);
	if (r < 0)
		failed(a, 1, &(struct err){ .code = r, .text = "an event could not be looked at" });
}

/* 1: there may be more. */
static int read_events(struct audit *a)
{
	char bytes[EVENTS_BYTES] __attribute__((__aligned__(__alignof__(struct fanotify_event_metadata))));
	ssize_t len = read(a->group, bytes, sizeof(bytes)), left = len;

	if (len < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	/* at once: should we end before all are looked at, they are lost and not unknown */
	for (const struct fanotify_event_metadata *m = (void *)bytes; FAN_EVENT_OK(m, left);
	     m = FAN_EVENT_NEXT(m, left))
		a->counts->n_opens += !(m->mask & FAN_Q_OVERFLOW);
	for (const struct fanotify_event_metadata *m = (void *)bytes; FAN_EVENT_OK(m, len);
	     m = FAN_EVENT_NEXT(m, len)) {
		if (m->vers != FANOTIFY_METADATA_VERSION)
			return -EPROTO;
		take_event(a, m);
	}
	json_decref(TAKE_PTR(a->last_process));
	return 1;
}

static void on_events(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct audit *a = userdata;
	int r = read_events(a);

	if (r == -EPROTO) {
		log_error(NULL, "fanotify events of an unknown version");
		loop_exit(a->loop, EXIT_FAILURE);
		return;
	}
	/* an event that has come, but that there was no descriptor for, is gone */
	if (r < 0)
		failed(a, 0, &(struct err){ .code = r, .text = "an event could not be read" });
	ask(a);
	write_waiting(a, false);
}

/* ---- the keeper's words ---- */

static void attach(struct audit *a, int take_fd)
{
	lose_agent(a);
	a->agent = take_fd;
	if (take_fd < 0 || loop_add_io(a->loop, a->agent, EPOLLIN, on_agent, a, &a->agent_source) < 0) {
		lose_agent(a);
		return;
	}
	ask(a);
	on_tell(NULL, a);
}

/* What has happened until now is written, without the names that nobody can give any more. */
static void stop(struct audit *a)
{
	for (int i = 0; i < STOP_BATCHES && read_events(a) > 0; i++)
		;
	write_waiting(a, true);
	loop_exit(a->loop, EXIT_SUCCESS);
}

static void on_link(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	static struct link_message m; /* 4 KiB, one thread */
	struct audit *a = userdata;

	for (;;) {
		int with = -1, r = link_receive(fd, &m, &with);

		if (r == -EAGAIN)
			return;
		if (r < 0) {
			loop_exit(a->loop, EXIT_FAILURE);
			return;
		}
		switch (m.type) {
		case LINK_AUDIT:
			attach(a, with);
			break;
		case LINK_AUDIT_REOPEN:
			close_fd(with);
			audit_sink_reopen(a->sink);
			flush(a);
			break;
		case LINK_STOP:
			close_fd(with);
			stop(a);
			return;
		default:
			close_fd(with);
			log_warning(NULL, "unknown message %u of the keeper", m.type);
		}
	}
}

/* ---- start ---- */

/* What the public mount and all binds of it show is marked by the superblock; the private mount's opens are the publisher's,
 * which reads each new volume once. May wait for the agent. */
static int mark(int group, int private_mount, struct err *e)
{
	cleanup_fd int root = openat(private_mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		return err_set(e, -errno, "open the mount: %m");
	if (fanotify_mark(group, FAN_MARK_ADD | FAN_MARK_MOUNT | FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY,
			  FAN_OPEN, root, NULL) < 0 ||
	    fanotify_mark(group, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN, root, NULL) < 0)
		return err_set(e, -errno, "fanotify_mark: %m");
	return 0;
}

/* Without its folder it goes on, and says what is missing. */
static int confine(struct audit *a, struct err *e)
{
	struct err no_folder = ERR_INIT;
	int folder = audit_sink_open_folder(a->sink, &no_folder), r;

	if (folder < 0)
		log_error(NULL, "%s", err_text(&no_folder));
	r = sandbox_enter_proc(&folder, e);
	if (r == 0)
		r = sandbox_confine_audit(folder, e);
	audit_proc_is_root();
	audit_sink_keep_folder(a->sink, folder);
	return r;
}

/* What the process before this one had read and not written can only be counted. */
static int begin_counts(struct audit *a, enum audit_reason reason)
{
	struct audit_counts *c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED, KEEPER_FD_AUDIT_COUNTS, 0);
	cleanup_json json_t *record = NULL;
	uint64_t now = clock_realtime_usec(), n_lost;
	char time[STR_TIME_MAX + 8];

	if (c == MAP_FAILED)
		return -errno;
	a->counts = c;
	c->n_lost += c->n_opens - c->n_written - c->n_failed - c->n_lost;
	c->n_gaps += reason != AUDIT_START;
	c->since_usec = c->since_usec ?: now;
	n_lost = c->n_lost - c->told_lost;
	c->told_lost = c->n_lost;
	record = json_pack("{s:s, s:s, s:s, s:s}", "type", reason == AUDIT_START && !n_lost ? "start" : "gap", "time",
			   time_text(now, time), "reason", audit_reason_name(reason), "version", SECRETLET_VERSION);
	/* of an earlier keeper's time nobody has counted */
	if (record && reason != AUDIT_KEEPER)
		json_object_set_new(record, "lost", json_integer((json_int_t)n_lost));
	a->owed = record ? json_dumps(record, JSON_COMPACT) : NULL;
	return a->owed ? 0 : -ENOMEM;
}

static int setup_loop(struct audit *a)
{
	int r = loop_new(&a->loop);

	if (r == 0)
		r = loop_add_io(a->loop, a->link, EPOLLIN, on_link, a, &a->link_source);
	if (r == 0)
		r = loop_add_io(a->loop, a->group, EPOLLIN, on_events, a, &a->group_source);
	if (r == 0)
		r = loop_add_timer(a->loop, on_names_late, a, &a->names_timer);
	if (r == 0)
		r = loop_add_timer(a->loop, on_retry, a, &a->retry);
	if (r == 0)
		r = loop_add_timer(a->loop, on_tell, a, &a->tell);
	/* the keeper's words before a queue that may never be empty */
	return r < 0 ? r : loop_source_set_priority(a->link_source, -1);
}

static int setup(struct audit *a, enum audit_reason reason, struct err *e)
{
	int r;

	r = sandbox_begin(e);
	if (r < 0)
		return r;
	r = audit_sink_new(a->target, &a->sink);
	if (r < 0)
		return err_set(e, r, "out of memory");
	r = mark(KEEPER_FD_AUDIT_GROUP, KEEPER_FD_FUSE, e);
	if (r < 0)
		return r;
	close(KEEPER_FD_FUSE);
	r = begin_counts(a, reason);
	if (r < 0)
		return err_set(e, r, "the audit's counts: %s", strerror(-r));
	r = setup_loop(a);
	if (r < 0)
		return err_set(e, r, "event loop: %s", strerror(-r));
	return confine(a, e);
}

int audit_run(const struct config *c, enum audit_reason reason)
{
	static struct audit a = { .agent = -1, .link = KEEPER_FD_LINK, .group = KEEPER_FD_AUDIT_GROUP };
	struct err e = ERR_INIT;
	int r;

	a.target = c->audit_log;
	a.started_usec = clock_monotonic_usec();
	a.boot_usec = clock_realtime_usec() - clock_usec(CLOCK_BOOTTIME);
	a.lines = BUF_INIT(LINES_MAX);
	a.by_node = MAP_INIT;
	list_init(&a.waiting);
	list_init(&a.unasked);
	list_init(&a.asked);
	list_init(&a.known);
	r = setup(&a, reason, &e);
	if (r < 0) {
		log_error(NULL, "%s", err_text(&e));
		return EXIT_FAILURE;
	}
	log_info(LOG_F({ "log", a.target }), "opens are recorded%s",
		 reason == AUDIT_START ? "" : "; some may be missing from before");
	/* whether records can be written is known from the start */
	flush(&a);
	r = loop_run(a.loop);
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
