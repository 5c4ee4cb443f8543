/* Client: requests to a running daemon over its control socket, one curl handle for each. What the daemon sends is
 * bounded and parsed as anybody else's would be.
 *
 * Curl connects without blocking, which on a unix socket whose backlog is full is no wait but a failure, and it does not
 * say which failure it was. Then a connect(2) of our own waits for room, or says what is wrong. (Curl 7.88 cannot be
 * given a connected unix socket: it connects it again.) */

#include "agent/client.h"

#include <curl/curl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/str.h"

#define REPLY_MAX  ((size_t)64 * 1024 * 1024)
#define RETRY_USEC (10 * USEC_PER_MSEC)
#define REF_MAX	   ((size_t)512)

static void curl_cleanupp(CURL **c)
{
	if (*c)
		curl_easy_cleanup(*c);
}
#define cleanup_curl cleanup(curl_cleanupp)

void client_reply_deinit(struct client_reply *r)
{
	json_decref(r->json);
	r->json = NULL;
}

static size_t on_body(char *data, size_t size, size_t n, void *userdata)
{
	return buf_add(userdata, data, size * n) < 0 ? 0 : size * n;
}

static int curl_new(CURL **ret_curl)
{
	CURL *c;

	/* no TLS here: the library's tables stay unloaded */
	if (curl_global_init(CURL_GLOBAL_NOTHING) != CURLE_OK)
		return -ENOMEM;
	c = curl_easy_init();
	if (!c)
		return -ENOMEM;
	*ret_curl = c;
	return 0;
}

static int curl_prepare(CURL *c, const char *socket_path, const char *url, bool post, uint64_t timeout_usec,
			struct buf *body)
{
	long timeout_msec = (long)MAX(timeout_usec / USEC_PER_MSEC, UINT64_C(1));
	CURLcode code = CURLE_OK;

#define SET(option, value) (code = code != CURLE_OK ? code : curl_easy_setopt(c, option, value))
	SET(CURLOPT_UNIX_SOCKET_PATH, socket_path);
	SET(CURLOPT_URL, url);
	SET(CURLOPT_PROTOCOLS_STR, "http");
	SET(CURLOPT_PATH_AS_IS, 1L);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_TIMEOUT_MS, timeout_msec);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, body);
	if (post)
		SET(CURLOPT_POSTFIELDS, "");
#undef SET
	return code == CURLE_OK ? 0 : -ENOMEM;
}

static int refuse_unreachable(const char *socket_path, int why, struct err *e)
{
	switch (why) {
	case ENOENT:
		return err_set(e, -ENOTCONN,
			       "cannot reach secretlet at %s: no such file: it does not run (see `systemctl status "
			       "secretlet`), or has another --runtime-dir",
			       socket_path);
	case ECONNREFUSED:
		return err_set(e, -ENOTCONN,
			       "cannot reach secretlet at %s: nobody listens there: it does not run, see `systemctl "
			       "status secretlet`",
			       socket_path);
	case EACCES:
	case EPERM:
		return err_set(e, -EACCES,
			       "cannot reach secretlet at %s: permission denied: use sudo, or become a member of the "
			       "group that controlSocketGroup names (secretlet.yaml(5))",
			       socket_path);
	default:
		return err_set(e, -ENOTCONN, "cannot reach secretlet at %s: %s", socket_path, strerror(why));
	}
}

static int refuse_silent(const char *socket_path, struct err *e)
{
	return err_set(e, -ETIMEDOUT, "secretlet at %s does not answer; see `systemctl status secretlet` and its log",
		       socket_path);
}

/* Whether somebody listens; waits while the backlog is full. */
static int probe(const char *socket_path, uint64_t timeout_usec, struct err *e)
{
	uint64_t usec = MAX(timeout_usec % USEC_PER_SEC, UINT64_C(1));
	struct timeval tv = { .tv_sec = (time_t)(timeout_usec / USEC_PER_SEC), .tv_usec = (suseconds_t)usec };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) < 0)
		return err_set(e, -errno, "socket: %m");
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", socket_path);
	do {
		r = connect(fd, (struct sockaddr *)&sa, sizeof(sa));
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return errno == EAGAIN ? refuse_silent(socket_path, e) : refuse_unreachable(socket_path, errno, e);
	return 0;
}

static int refuse(CURLcode code, const char *socket_path, struct err *e)
{
	switch (code) {
	case CURLE_OPERATION_TIMEDOUT:
		return refuse_silent(socket_path, e);
	case CURLE_OUT_OF_MEMORY:
		return err_set(e, -ENOMEM, "out of memory");
	case CURLE_WRITE_ERROR:
		return err_set(e, -EPROTO, "the answer of secretlet at %s is too large", socket_path);
	default:
		return err_set(e, -ECONNRESET, "the connection to secretlet at %s broke: %s", socket_path,
			       curl_easy_strerror(code));
	}
}

static int perform(CURL *c, const char *socket_path, uint64_t timeout_usec, struct err *e)
{
	uint64_t end_usec = clock_monotonic_usec() + timeout_usec;

	for (;;) {
		CURLcode code = curl_easy_perform(c);
		uint64_t now;
		int r;

		if (code == CURLE_OK)
			return 0;
		if (code != CURLE_COULDNT_CONNECT)
			return refuse(code, socket_path, e);
		now = clock_monotonic_usec();
		if (now >= end_usec)
			return refuse_silent(socket_path, e);
		r = probe(socket_path, end_usec - now, e);
		if (r < 0)
			return r;
		usleep(RETRY_USEC);
	}
}

static int transfer(const char *runtime_dir, const char *path, bool post, uint64_t timeout_usec, unsigned *ret_status,
		    struct buf *body, struct err *e)
{
	cleanup_free char *socket_path = NULL, *url = NULL;
	cleanup_curl CURL *c = NULL;
	long status = 0;
	int r;

	if (str_printf(&socket_path, "%s/control.sock", runtime_dir) < 0 ||
	    str_printf(&url, "http://secretlet%s", path) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	if (strlen(socket_path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		return err_set(e, -ENAMETOOLONG, "%s: too long for the address of a socket", socket_path);
	r = curl_new(&c);
	if (r >= 0)
		r = curl_prepare(c, socket_path, url, post, timeout_usec, body);
	if (r < 0)
		return err_set(e, r, "out of memory");

	r = perform(c, socket_path, timeout_usec, e);
	if (r < 0)
		return r;
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	*ret_status = (unsigned)status;
	return 0;
}

static int request(const char *runtime_dir, const char *path, bool post, uint64_t timeout_usec,
		   struct client_reply *ret, struct err *e)
{
	cleanup_buf struct buf body = BUF_INIT(REPLY_MAX);
	struct err why = ERR_INIT;
	json_t *json = NULL;
	unsigned status;
	int r;

	r = transfer(runtime_dir, path, post, timeout_usec, &status, &body, e);
	if (r < 0)
		return r;
	if (json_parse(body.len ? body.data : "", body.len, &json, &why) < 0)
		return err_set(e, -EPROTO, "secretlet at %s/control.sock: the answer (HTTP %u) is no JSON: %s",
			       runtime_dir, status, err_text(&why));
	*ret = (struct client_reply){ .status = status, .json = json };
	return 0;
}

int client_get_text(const char *runtime_dir, const char *path, uint64_t timeout_usec, unsigned *ret_status,
		    char **ret_text, struct err *e)
{
	cleanup_buf struct buf body = BUF_INIT(REPLY_MAX);
	char *text;
	int r;

	r = transfer(runtime_dir, path, false, timeout_usec, ret_status, &body, e);
	if (r < 0)
		return r;
	text = buf_take(&body);
	if (!text)
		return err_set(e, -ENOMEM, "out of memory");
	*ret_text = text;
	return 0;
}

int client_get(const char *runtime_dir, const char *path, uint64_t timeout_usec, struct client_reply *ret,
	       struct err *e)
{
	return request(runtime_dir, path, false, timeout_usec, ret, e);
}

int client_post(const char *runtime_dir, const char *path, uint64_t timeout_usec, struct client_reply *ret,
		struct err *e)
{
	return request(runtime_dir, path, true, timeout_usec, ret, e);
}

int client_pod_path(const char *ref, const char *suffix, char **ret_path, struct err *e)
{
	const char *slash = strchr(ref, '/'), *second = slash ? slash + 1 : NULL;
	char *parts[2] = { NULL, NULL };
	CURL *c = NULL;
	int r = -ENOMEM;

	if (str_empty(ref) || slash == ref || (second && (!*second || strchr(second, '/'))) || strlen(ref) > REF_MAX)
		return err_set(e, -EINVAL, "'%s' is no pod: NAMESPACE/NAME or a UID is expected", ref);
	if (curl_new(&c) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	parts[0] = curl_easy_escape(c, ref, slash ? (int)(slash - ref) : 0);
	parts[1] = second ? curl_easy_escape(c, second, 0) : NULL;
	if (parts[0] && (!second || parts[1]))
		r = str_printf(ret_path, "/v1/pods/%s%s%s%s", parts[0], second ? "/" : "", second ? parts[1] : "",
			       suffix);
	curl_free(parts[0]);
	curl_free(parts[1]);
	curl_easy_cleanup(c);
	return r < 0 ? err_set(e, r, "out of memory") : 0;
}
