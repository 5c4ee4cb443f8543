/* HTTP ping: libcurl 7.88 sends a PING only where curl_easy_upkeep() asks for it, which does not look at a multi handle's
 * connections. So the program has an nghttp2_session_send() in front of nghttp2's, as in common/wipe_http2.c, and libcurl is made
 * to call it for the connection that is meant: when an upload that there is not goes on, it sees to it that what waits there
 * is written. The answer is a frame that nghttp2 takes and nobody looks at; that something came is what counts (agent/pulse.h). */
#include "agent/http_ping.h"

#include "common/dl.h"

struct nghttp2_session;
int nghttp2_session_send(struct nghttp2_session *s);

typedef int (*submit_fn)(struct nghttp2_session *s, uint8_t flags, const uint8_t *data);

static struct dl curl = { .name = "libcurl.so.4" };
static bool wanted; /* on the next connection that is written to */

int nghttp2_session_send(struct nghttp2_session *s)
{
	static typeof(&nghttp2_session_send) real;
	static submit_fn submit;

	if (!real)
		real = (typeof(real))dl_symbol(&curl, "nghttp2_session_send");
	if (wanted && !submit)
		submit = (submit_fn)dl_symbol(&curl, "nghttp2_submit_ping");
	if (wanted && submit(s, 0, NULL) == 0)
		wanted = false;
	return real(s);
}

bool http_ping(CURL *easy)
{
	bool is_sent;

	wanted = true;
	curl_easy_pause(easy, CURLPAUSE_SEND);
	curl_easy_pause(easy, CURLPAUSE_CONT);
	is_sent = !wanted;
	wanted = false;
	return is_sent;
}
