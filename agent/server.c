/* Server: it is asked by trying, because nothing else is reliable: the version says nothing about feature gates (1.33
 * has it off, 1.32 and 1.34 on), and servers before 1.19 do not even refuse the parameters. */
#include "agent/server.h"

static const uint64_t REFUSAL_USEC = 24 * 3600 * USEC_PER_SEC;

bool server_may_stream(struct server *s, const void *who, uint64_t now_usec)
{
	if (s->stream == SERVER_STREAM_REFUSED && now_usec - s->refused_usec >= REFUSAL_USEC)
		s->stream = SERVER_STREAM_UNKNOWN;
	if (s->stream != SERVER_STREAM_UNKNOWN)
		return s->stream == SERVER_STREAM_WORKS;
	if (s->prober && s->prober != who)
		return false;
	s->prober = who;
	return true;
}

void server_stream_undecided(struct server *s, const void *who)
{
	if (s->prober == who)
		s->prober = NULL;
}

void server_stream_works(struct server *s, const void *who)
{
	server_stream_undecided(s, who);
	s->stream = SERVER_STREAM_WORKS;
}

void server_stream_refused(struct server *s, const void *who, uint64_t now_usec)
{
	server_stream_undecided(s, who);
	s->stream = SERVER_STREAM_REFUSED;
	s->refused_usec = now_usec;
}

void server_was_away(struct server *s)
{
	if (s->stream == SERVER_STREAM_REFUSED)
		s->stream = SERVER_STREAM_UNKNOWN;
}
