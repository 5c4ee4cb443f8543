/* Control API: any bytes on a connection to the control socket. Whatever is asked, only valid names get to the agent, and
 * what is answered is HTTP. */
#include "test/fuzz/fuzz.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "agent/control.h"
#include "common/str.h"

enum { TURNS_MAX = 64, QUIET_TURNS = 2 };

static struct loop *loop;
static struct control *control;
static struct sockaddr_un address = { .sun_family = AF_UNIX };
static socklen_t address_len = sizeof(sa_family_t);

static void check_ref(const char *ref, bool may_be_uid)
{
	cleanup_free char *ns = strdup(ref);
	char *name = strchr(ns, '/');

	if (!name) {
		FUZZ_CHECK(may_be_uid && *ref && !str_eq(ref, "..") && !str_eq(ref, "."));
		return;
	}
	*name++ = '\0';
	FUZZ_CHECK(str_is_dns_label(ns) && str_is_dns_subdomain(name));
}

/* Some of what is asked for is not there. */
static int some(const char *ref, json_t **ret, struct err *e)
{
	if (strlen(ref) % 4 == 3)
		return err_set(e, strlen(ref) % 8 == 3 ? -ENOENT : -EAGAIN, "there is no %s", ref);
	*ret = json_pack("{s:b}", "ready", 1);
	return *ret ? 0 : -ENOMEM;
}

static int on_all(void *userdata, json_t **ret, struct err *e)
{
	return some("", ret, e);
}

static int on_pod(void *userdata, const char *ref, json_t **ret, struct err *e)
{
	check_ref(ref, true);
	return some(ref, ret, e);
}

static int on_secrets(void *userdata, unsigned kinds, const struct selector *selector, json_t **ret, struct err *e)
{
	return some("", ret, e);
}

static int on_secret(void *userdata, const char *ref, json_t **ret, struct err *e)
{
	check_ref(ref, false);
	return some(ref, ret, e);
}

static int on_mounts(void *userdata, const char *ref, const char *container, struct control_later *later, json_t **ret,
		     struct err *e)
{
	check_ref(ref, true);
	FUZZ_CHECK(str_is_dns_label(container));
	return some(container, ret, e);
}

static int on_pull_config(void *userdata, const char *ref, const char *container, struct control_later *later,
			  json_t **ret, struct err *e)
{
	check_ref(ref, true);
	FUZZ_CHECK(!container);
	return some(ref, ret, e);
}

static const struct control_ops OPS = {
	.status = on_all,
	.pods = on_all,
	.pod = on_pod,
	.secrets = on_secrets,
	.secret = on_secret,
	.refresh = on_secret,
	.mounts = on_mounts,
	.env = on_mounts,
	.pull_config = on_pull_config,
};

static void set_up(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	json_setup();
	signal(SIGPIPE, SIG_IGN);
	/* the kernel chooses an abstract name */
	FUZZ_CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, address_len) == 0 && listen(fd, 16) == 0);
	address_len = sizeof(address);
	FUZZ_CHECK(getsockname(fd, (struct sockaddr *)&address, &address_len) == 0);
	FUZZ_CHECK(loop_new(&loop) == 0 && control_new(loop, fd, &OPS, NULL, &control, NULL) == 0);
	if (geteuid() != 0) /* whoever fuzzes is to be answered */
		control_allow_group(control, getegid());
}

/* One answer after the other, each with its length and JSON, up to one of libmicrohttpd's own (0.9.75 has the head twice when
 * it finds Content-Length wrong). What a HEAD is answered has no body. */
static void check_answers(const char *text, size_t len, bool is_head)
{
	while (len > 0) {
		const char *end = memmem(text, len, "\r\n\r\n", 4), *field;
		cleanup_json json_t *json = NULL;
		size_t n_body, n_head;
		int status;

		FUZZ_CHECK(len < 7 || str_starts(text, "HTTP/1."));
		if (!end)
			return; /* it was cut off */
		n_head = (size_t)(end - text) + 4;
		FUZZ_CHECK(sscanf(text, "HTTP/1.%*c %d", &status) == 1 && status >= 100 && status < 600);
		field = strcasestr(text, "\r\nContent-Type: application/json");
		if (is_head || ((!field || field > end) && status != 100)) {
			FUZZ_CHECK(is_head || status >= 400);
			return;
		}
		field = strcasestr(text, "\r\nContent-Length:");
		FUZZ_CHECK(status == 100 || (field && field < end));
		n_body = field && field < end ? strtoul(field + strlen("\r\nContent-Length:"), NULL, 10) : 0;
		if (n_body > len - n_head)
			return;
		FUZZ_CHECK(status == 100 || json_parse(text + n_head, n_body, &json, NULL) == 0);
		text += n_head + n_body;
		len -= n_head + n_body;
	}
}

/* Until nothing happens any more. Returns how many bytes were answered. */
static size_t turn(int fd, char *answer, size_t size)
{
	size_t len = 0;
	int quiet = 0;

	for (int i = 0; i < TURNS_MAX && quiet < QUIET_TURNS; i++) {
		ssize_t n = 0;

		FUZZ_CHECK(loop_run_once(loop, 0) >= 0);
		if (fd >= 0 && len + 1 < size)
			n = recv(fd, answer + len, size - 1 - len, MSG_DONTWAIT);
		if (n > 0)
			len += (size_t)n;
		quiet = n > 0 || i < 4 ? 0 : quiet + 1;
	}
	answer[len] = '\0';
	return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char answer[8192];
	size_t len;
	int fd;

	if (!control)
		set_up();
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	FUZZ_CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&address, address_len) == 0);
	if (send(fd, data, size, MSG_DONTWAIT) < 0)
		FUZZ_CHECK(size > 0);
	len = turn(fd, answer, sizeof(answer));
	FUZZ_CHECK(len == strlen(answer));
	check_answers(answer, len, memmem(data, size, "HEAD", 4));
	close(fd);
	turn(-1, answer, sizeof(answer));
	return 0;
}
