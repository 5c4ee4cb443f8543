/* HTTP ping: libcurl sends a PING only where curl_easy_upkeep() asks for it, which does not look at a multi handle's
 * connections. So the program has an nghttp2_session_send() in front of nghttp2's, as in common/wipe_http2.c, and libcurl is made
 * to call it for the connection that is meant: when an upload that there is not goes on, it sees to it that what waits there
 * is written. libcurl 7.88 does so at once, 8.14 when it runs the request next, and only if nghttp2 says that something waits. The
 * answer is a frame that nghttp2 takes and nobody looks at; that something came is what counts (agent/pulse.h). */
#include "agent/http_ping.h"

#include "common/dl.h"

struct nghttp2_session;
int nghttp2_session_send(struct nghttp2_session *s);
int nghttp2_session_want_write(struct nghttp2_session *s);

typedef int (*submit_fn)(struct nghttp2_session *s, uint8_t flags, const uint8_t *data);

static struct dl curl = { .name = "libcurl.so.4" };
static bool wanted; /* on the next connection that is written to */
static bool is_submitted;

int nghttp2_session_want_write(struct nghttp2_session *s)
{
	static typeof(&nghttp2_session_want_write) real;

	if (!real)
		real = (typeof(real))dl_symbol(&curl, "nghttp2_session_want_write");
	return wanted || real(s);
}

int nghttp2_session_send(struct nghttp2_session *s)
{
	static typeof(&nghttp2_session_send) real;
	static submit_fn submit;

	if (!real)
		real = (typeof(real))dl_symbol(&curl, "nghttp2_session_send");
	if (wanted && !submit)
		submit = (submit_fn)dl_symbol(&curl, "nghttp2_submit_ping");
	/* tried once: libcurl goes on for as long as something waits */
	if (wanted)
		is_submitted = submit(s, 0, NULL) == 0;
	wanted = false;
	return real(s);
}

/* The request is given its turn: now, or when it is run. */
static void want(CURL *easy)
{
	wanted = true;
	is_submitted = false;
	curl_easy_pause(easy, CURLPAUSE_SEND);
	curl_easy_pause(easy, CURLPAUSE_CONT);
}

bool http_ping(CURLM *multi, CURL *easy)
{
	int running;

	want(easy);
	if (wanted)
		curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
	wanted = false;
	return is_submitted;
}
