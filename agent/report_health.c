/* Report health: an API server that is away makes nothing unready, nor does a volume that waits: what was published goes on
 * to be served, and `secretlet status` says the rest. */
#include "agent/report_health.h"

#include <inttypes.h>

static void check_loop(const struct report_state *s, uint64_t beat_usec, uint64_t now_usec, struct health *h)
{
	if (now_usec > beat_usec && now_usec - beat_usec > s->config->agent_hang_usec)
		health_add(h, "loop", "it has given no sign of life for %" PRIu64 " s",
			   (now_usec - beat_usec) / USEC_PER_SEC);
	else
		health_add(h, "loop", NULL);
}

static void check_mount(const struct report_state *s, struct health *h)
{
	if (session_stats(s->session)->initialised)
		health_add(h, "mount", NULL);
	else
		health_add(h, "mount", "the kernel has not begun to use the file system");
}

static void check_publisher(const struct report_state *s, struct health *h)
{
	struct publish_stats st = publish_stats(s->publish);

	if (!st.attached)
		health_add(h, "publisher", "no publisher is running");
	else if (st.unanswered_usec > s->config->agent_hang_usec)
		health_add(h, "publisher", "one order takes %" PRIu64 " s already", st.unanswered_usec / USEC_PER_SEC);
	else
		health_add(h, "publisher", NULL);
}

/* Its reason may have names in it, which are not for everybody who can reach a listener. */
static void check_sync(const struct report_state *s, struct health *h)
{
	struct source_health source = { .kind = "" };

	source_health(s->source, &source);
	if (source.pods_synced)
		health_add(h, "sync", NULL);
	else
		health_add(h, "sync", "the first list of pods has not arrived");
}

void report_alive(const struct report_state *s, uint64_t beat_usec, uint64_t now_usec, struct health *ret)
{
	*ret = (struct health){ .n = 0 };
	check_loop(s, beat_usec, now_usec, ret);
	check_mount(s, ret);
}

void report_ready(const struct report_state *s, uint64_t beat_usec, uint64_t now_usec, struct health *ret)
{
	report_alive(s, beat_usec, now_usec, ret);
	check_publisher(s, ret);
	check_sync(s, ret);
}
