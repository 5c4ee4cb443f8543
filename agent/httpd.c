/* Httpd: libmicrohttpd parses the requests, because a process that holds secrets is no place for a hand-written HTTP
 * parser. Its own unescaping is off: "%2F" must not become a separator, nor "%00" an end. */
#include "agent/httpd.h"

#include <fcntl.h>
#include <stdarg.h>

#include "common/log.h"

static size_t keep_escapes(void *userdata, struct MHD_Connection *connection, char *s)
{
	return strlen(s);
}

static void on_log(void *userdata, const char *fmt, va_list ap) __attribute__((__format__(__printf__, 2, 0)));
static void on_log(void *userdata, const char *fmt, va_list ap)
{
	const struct httpd *h = userdata;
	char text[256];
	size_t len;

	vsnprintf(text, sizeof(text), fmt, ap);
	len = strcspn(text, "\n");
	text[len] = '\0';
	log_debug(NULL, "%s: %s", h->what, text);
}

static unsigned count_connections(const struct httpd *h)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

	return info ? info->num_connections : 0;
}

static void run(struct httpd *h)
{
	unsigned n_before = h->n_connections;
	MHD_UNSIGNED_LONG_LONG msec;

	if (MHD_run(h->daemon) != MHD_YES)
		log_debug(NULL, "%s: a run of the HTTP server failed", h->what);
	h->n_connections = count_connections(h);
	/* a daemon that was full listens again only in the run after the one that ended a connection */
	if (h->n_connections < n_before)
		loop_defer_set(h->again);
	if (MHD_get_timeout(h->daemon, &msec) != MHD_YES)
		loop_timer_off(h->timeout);
	else if (msec == 0)
		loop_defer_set(h->again);
	else
		loop_timer_set(h->timeout, MIN(msec, 3600000ULL) * USEC_PER_MSEC);
}

static void on_io(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	run(userdata);
}

static void on_due(struct loop_source *s, void *userdata)
{
	run(userdata);
}

void httpd_again(struct httpd *h)
{
	loop_defer_set(h->again);
}

bool httpd_has_argument(struct MHD_Connection *connection, const char *name)
{
	const char *value;
	size_t len;

	return MHD_lookup_connection_value_n(connection, MHD_GET_ARGUMENT_KIND, name, strlen(name), &value, &len) ==
	       MHD_YES;
}

static int start_daemon(struct httpd *h, int take_fd, const struct httpd_options *o, struct err *e)
{
	cleanup_fd int fd = take_fd;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_set(e, -errno, "%s: %m", h->what);
	h->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
				     o->request, o->userdata, MHD_OPTION_EXTERNAL_LOGGER, on_log, h,
				     MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, o->completed,
				     o->userdata, MHD_OPTION_NOTIFY_CONNECTION, o->connection, o->userdata,
				     MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, h, MHD_OPTION_CONNECTION_LIMIT,
				     o->connections_max, MHD_OPTION_CONNECTION_MEMORY_LIMIT, o->connection_memory,
				     MHD_OPTION_CONNECTION_TIMEOUT, o->idle_sec, MHD_OPTION_END);
	if (!h->daemon)
		return err_set(e, -EIO, "%s: the HTTP server does not start: %m", h->what);
	TAKE_FD(fd);
	return 0;
}

static int attach(struct httpd *h)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	int r;

	if (!info || info->epoll_fd < 0)
		return -ENOTSUP;
	r = loop_add_io(h->loop, info->epoll_fd, EPOLLIN, on_io, h, &h->io);
	if (r >= 0)
		r = loop_add_timer(h->loop, on_due, h, &h->timeout);
	if (r >= 0)
		r = loop_add_defer(h->loop, on_due, h, &h->again);
	return r;
}

int httpd_start(struct httpd *h, struct loop *l, int take_fd, const struct httpd_options *o, struct err *e)
{
	int r;

	*h = (struct httpd){ .loop = l, .what = o->what };
	r = start_daemon(h, take_fd, o, e);
	if (r < 0)
		return r;
	r = attach(h);
	if (r < 0) {
		httpd_stop(h);
		return err_set(e, r, "%s: %s", h->what, strerror(-r));
	}
	return 0;
}

void httpd_stop(struct httpd *h)
{
	loop_source_free(TAKE_PTR(h->io));
	loop_source_free(TAKE_PTR(h->timeout));
	loop_source_free(TAKE_PTR(h->again));
	if (h->daemon)
		MHD_stop_daemon(TAKE_PTR(h->daemon));
}
