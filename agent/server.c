/* Server: it is asked by trying, because nothing else is reliable: the version says nothing about feature gates (1.33
 * has it off, 1.32 and 1.34 on), and servers before 1.19 do not even refuse the parameters.
 *
 * The bucket is a single time: each request moves it on by what one token takes to come, and what lies further ahead
 * than the bucket holds has to be waited for. So the turns are given out in the order of asking. Thousands of lists and polls may have
 * taken theirs in advance; what somebody stands and waits for goes past them, within bounds, and whoever asks later pays for it. */
#include "agent/server.h"

#include "agent/http.h"
#include "common/str.h"

enum { PROMPT_PART = 4 }; /* of the bucket, and of what fills it */
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

uint64_t server_admit(struct server *s, uint64_t now_usec)
{
	uint64_t now = now_usec * NSEC_PER_USEC, token, full, wait = 0;

	if (s->qps == 0)
		return 0;
	token = USEC_PER_SEC * NSEC_PER_USEC / s->qps;
	full = token * MAX(s->burst, 1u);
	s->due_nsec = MAX(s->due_nsec, now) + token;
	if (s->due_nsec > now + full)
		wait = s->due_nsec - now - full;
	return (wait + NSEC_PER_USEC - 1) / NSEC_PER_USEC;
}

uint64_t server_admit_spare(struct server *s, uint64_t now_usec)
{
	uint64_t now = now_usec * NSEC_PER_USEC, token, half, due;

	if (s->qps == 0)
		return 0;
	token = USEC_PER_SEC * NSEC_PER_USEC / s->qps;
	half = token * MAX(s->burst / 2, 1u);
	due = MAX(s->due_nsec, now) + token;
	if (due > now + half)
		return (due - now - half + NSEC_PER_USEC - 1) / NSEC_PER_USEC;
	s->due_nsec = due;
	return 0;
}

static uint64_t usec_beyond(uint64_t due_nsec, uint64_t limit_nsec)
{
	return due_nsec > limit_nsec ? (due_nsec - limit_nsec + NSEC_PER_USEC - 1) / NSEC_PER_USEC : 0;
}

uint64_t server_admit_prompt(struct server *s, uint64_t now_usec, uint64_t within_usec)
{
	uint64_t now = now_usec * NSEC_PER_USEC, token, each, due, prompt, wait, prompt_wait;

	if (s->qps == 0)
		return 0;
	token = USEC_PER_SEC * NSEC_PER_USEC / s->qps;
	each = token * PROMPT_PART;
	due = MAX(s->due_nsec, now) + token;
	prompt = MAX(s->prompt_nsec, now) + each;
	wait = usec_beyond(due, now + token * MAX(s->burst, 1u));
	prompt_wait = usec_beyond(prompt, now + each * MAX(s->burst / PROMPT_PART, 1u));
	if (MIN(wait, prompt_wait) > 0 && MIN(wait, prompt_wait) >= within_usec)
		return MIN(wait, prompt_wait);
	s->due_nsec = due;
	if (prompt_wait < wait)
		s->prompt_nsec = prompt;
	return MIN(wait, prompt_wait);
}

uint64_t server_retry_delay(int64_t retry_after_sec, uint64_t delay_usec, double r01, uint64_t now_usec,
			    uint64_t *ret_not_before_usec)
{
	uint64_t wished = retry_after_sec > 0 ? (uint64_t)retry_after_sec * USEC_PER_SEC : 0, wait = delay_usec;

	if (wished > delay_usec)
		wished = wait = wished + (uint64_t)(r01 * (double)delay_usec);
	*ret_not_before_usec = wished > 0 ? now_usec + wished : 0;
	return wait;
}

/* Versions are opaque up to 1.34; decimal numbers of any length since, and in fact always (KEP-5504). */
bool server_is_lower(const char *a, const char *b)
{
	static const char digits[] = "0123456789";

	if (str_empty(a) || str_empty(b) || a[strspn(a, digits)] || b[strspn(b, digits)])
		return false;
	a += strspn(a, "0");
	b += strspn(b, "0");
	return strlen(a) != strlen(b) ? strlen(a) < strlen(b) : strcmp(a, b) < 0;
}

bool server_goes_back(struct server *s, uint64_t epoch, const char *old, const char *fresh)
{
	if (epoch != s->epoch || !server_is_lower(fresh, old))
		return false;
	s->epoch++;
	return true;
}

bool server_is_unreachable(bool heard, bool hurried, int code)
{
	if (heard || !http_is_silence(code))
		return false;
	return !hurried || (code != -EIO && code != -ETIMEDOUT);
}
