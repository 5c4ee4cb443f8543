/* Health: what is checked is report_health.c's. */
#include "agent/health.h"

#include <stdarg.h>

void health_add(struct health *h, const char *name, const char *fmt, ...)
{
	struct health_check *check = &h->checks[h->n++];
	va_list ap;

	assert(h->n <= HEALTH_CHECKS_MAX);
	*check = (struct health_check){ .name = name };
	if (!fmt)
		return;
	va_start(ap, fmt);
	vsnprintf(check->reason, sizeof(check->reason), fmt, ap);
	va_end(ap);
}

bool health_is_good(const struct health *h)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->checks[i].reason[0])
			return false;
	return true;
}

static int add_check(struct buf *out, const struct health_check *check)
{
	if (!check->reason[0])
		return buf_printf(out, "[+]%s ok\n", check->name);
	return buf_printf(out, "[-]%s failed: %s\n", check->name, check->reason);
}

int health_text(const struct health *h, const char *name, bool verbose, struct buf *out)
{
	bool good = health_is_good(h);
	int r = 0;

	if (good && !verbose)
		return buf_add_str(out, "ok");
	for (size_t i = 0; i < h->n && r == 0; i++)
		r = add_check(out, &h->checks[i]);
	return r < 0 ? r : buf_printf(out, "%s check %s\n", name, good ? "passed" : "failed");
}
