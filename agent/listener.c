/* Listener: each connection is for one request, and has to be through with it in time, whether it asks slowly, reads slowly or
 * does nothing: libmicrohttpd's own limit begins anew with each byte. Where as many as there may be do that, others wait in
 * the kernel's queue; the agent itself waits for nobody.
 *
 * A page is made on the agent's loop, where readers wait meanwhile. So however often it is asked for, it is made once in
 * FRESH_USEC, and all who ask within that time share the one text. */
#include "agent/listener.h"

#include <sys/socket.h>

#include "agent/httpd.h"
#include "common/str.h"

#define CONNECTIONS_MAX	  16
#define CONNECTION_MEMORY ((size_t)8 * 1024)
#define LIFE_USEC	  (10 * USEC_PER_SEC)
#define FRESH_USEC	  USEC_PER_SEC
#define BODY_MAX	  ((size_t)4 * 1024)
#define BACKLOG		  64
#define SEND_BUFFER	  (64 * 1024) /* that a connection may fill and nobody read */

/* A page as it was made last. */
struct kept {
	struct MHD_Response *response; /* NULL: never, or there was no memory for it */
	unsigned status;
	uint64_t made_usec; /* 0: never */
};

struct listener {
	struct loop *loop;
	struct httpd httpd;
	struct listener_options options;
	struct kept kept[PAGES_N][2]; /* and verbose */
};

struct visitor {
	struct listener *listener;
	struct loop_source *timer;
	int fd; /* libmicrohttpd's */
};

struct visit {
	size_t body_len;
};

int listener_open(const struct bind_address *address, int *ret_fd, struct err *e)
{
	cleanup_fd int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const int on = 1, room = SEND_BUFFER;

	if (fd < 0)
		return err_set(e, -errno, "socket: %m");
	/* connections of the last agent may still be in TIME_WAIT */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return err_set(e, -errno, "SO_REUSEADDR: %m");
	/* connections get it from here */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)) < 0)
		return err_set(e, -errno, "SO_SNDBUF: %m");
	if (bind(fd, &address->any, address->len) < 0)
		return err_set(e, -errno, "bind: %m");
	if (listen(fd, BACKLOG) < 0)
		return err_set(e, -errno, "listen: %m");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* text: taken (its memory, not the struct). NULL: out of memory. */
static struct MHD_Response *make_response(const char *type, struct buf *take_text)
{
	size_t len = take_text->len;
	char *text = buf_take(take_text);
	struct MHD_Response *response = text ? MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE) : NULL;

	if (!response) {
		free(text);
		return NULL;
	}
	MHD_add_response_header(response, "Content-Type", type);
	MHD_add_response_header(response, "Cache-Control", "no-store");
	MHD_add_response_header(response, "Connection", "close");
	return response;
}

static struct MHD_Response *make_sentence(const char *sentence)
{
	cleanup_buf struct buf text = BUF_INIT(256);

	if (buf_printf(&text, "%s\n", sentence) < 0)
		return NULL;
	return make_response("text/plain; charset=utf-8", &text);
}

static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned status, const char *sentence)
{
	struct MHD_Response *response = make_sentence(sentence);
	enum MHD_Result ok;

	if (!response)
		return MHD_NO;
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, "Allow", "GET, HEAD");
	ok = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return ok;
}

/* Connections that still send it have references of their own. */
static void kept_drop(struct kept *k)
{
	if (k->response)
		MHD_destroy_response(TAKE_PTR(k->response));
}

/* One that could not be made is kept, too: to try again costs as much. */
static void kept_make(struct kept *k, struct listener *l, enum page page, bool verbose)
{
	cleanup_buf struct buf text = BUF_INIT(PAGE_BYTES_MAX);
	int r = l->options.page(l->options.userdata, page, verbose, &text);

	kept_drop(k);
	k->made_usec = loop_now(l->loop);
	k->status = r < 0 ? MHD_HTTP_INTERNAL_SERVER_ERROR : (unsigned)r;
	k->response = r < 0 ? make_sentence(strerror(-r)) : make_response(page_type(page), &text);
}

static enum MHD_Result answer(struct listener *l, struct MHD_Connection *connection, const char *url,
			      const char *method)
{
	bool verbose = httpd_has_argument(connection, "verbose");
	enum page page = page_find(url);
	struct kept *k;

	if (page == PAGES_N || !(l->options.pages & 1U << page))
		return refuse(connection, MHD_HTTP_NOT_FOUND, "no such path");
	if (!str_eq(method, MHD_HTTP_METHOD_GET) && !str_eq(method, MHD_HTTP_METHOD_HEAD))
		return refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET is possible here");
	/* metrics are never verbose */
	k = &l->kept[page][verbose && page != PAGE_METRICS];
	if (!k->made_usec || loop_now(l->loop) - k->made_usec >= l->options.fresh_usec)
		kept_make(k, l, page, verbose);
	return k->response ? MHD_queue_response(connection, k->status, k->response) : MHD_NO;
}

/* libmicrohttpd calls it once for the head, for each piece of a body, and at the end. */
static enum MHD_Result on_request(void *userdata, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *body, size_t *body_len,
				  void **con_cls)
{
	struct visit *v = *con_cls;

	if (!v) {
		*con_cls = calloc(1, sizeof(*v));
		return *con_cls ? MHD_YES : MHD_NO;
	}
	if (*body_len > 0) {
		v->body_len += *body_len;
		*body_len = 0;
		return v->body_len > BODY_MAX ? MHD_NO : MHD_YES;
	}
	return answer(userdata, connection, url, method);
}

static void on_completed(void *userdata, struct MHD_Connection *connection, void **con_cls,
			 enum MHD_RequestTerminationCode code)
{
	free(*con_cls);
	*con_cls = NULL;
}

/* libmicrohttpd reads the end of the stream then. */
static void on_life_over(struct loop_source *s, void *userdata)
{
	struct visitor *v = userdata;

	shutdown(v->fd, SHUT_RDWR);
	httpd_again(&v->listener->httpd);
}

static void visitor_free(struct visitor *v)
{
	if (!v)
		return;
	loop_source_free(v->timer);
	free(v);
}
DEFINE_CLEANUP(struct visitor *, visitor_free);

static struct visitor *visitor_new(struct listener *l, int fd)
{
	cleanup(visitor_freep) struct visitor *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->listener = l;
	v->fd = fd;
	if (loop_add_timer(l->loop, on_life_over, v, &v->timer) < 0 ||
	    loop_timer_set(v->timer, l->options.life_usec) < 0)
		return NULL;
	return TAKE_PTR(v);
}

static void on_connection(void *userdata, struct MHD_Connection *connection, void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	const union MHD_ConnectionInfo *info;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		visitor_free(*context);
		*context = NULL;
		return;
	}
	info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (!info)
		return;
	*context = visitor_new(userdata, info->connect_fd);
	/* without a limit it may not stay */
	if (!*context)
		shutdown(info->connect_fd, SHUT_RDWR);
}

int listener_new(struct loop *l, int take_fd, const struct listener_options *o, struct listener **ret_l, struct err *e)
{
	cleanup(listener_freep) struct listener *listener = calloc(1, sizeof(*listener));
	int r;

	if (!listener) {
		close_fd(take_fd);
		return err_set(e, -ENOMEM, "out of memory");
	}
	listener->loop = l;
	listener->options = *o;
	listener->options.life_usec = o->life_usec ?: LIFE_USEC;
	listener->options.fresh_usec = o->fresh_usec ?: FRESH_USEC;
	r = httpd_start(&listener->httpd, l, take_fd,
			&(struct httpd_options){ .what = "listener",
						 .connections_max = CONNECTIONS_MAX,
						 .idle_sec = LIFE_USEC / USEC_PER_SEC,
						 .connection_memory = CONNECTION_MEMORY,
						 .request = on_request,
						 .completed = on_completed,
						 .connection = on_connection,
						 .userdata = listener },
			e);
	if (r < 0)
		return r;
	*ret_l = TAKE_PTR(listener);
	return 0;
}

void listener_free(struct listener *l)
{
	if (!l)
		return;
	httpd_stop(&l->httpd);
	for (size_t i = 0; i < PAGES_N; i++)
		for (size_t j = 0; j < ARRAY_SIZE(l->kept[i]); j++)
			kept_drop(&l->kept[i][j]);
	free(l);
}
