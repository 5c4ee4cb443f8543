/* Pages: the control socket has them all, a listener (listener.h) those that it was made for. */
#include "agent/pages.h"

#include "common/str.h"

static const char *const names[PAGES_N] = {
	[PAGE_METRICS] = "metrics",
	[PAGE_HEALTHZ] = "healthz",
	[PAGE_READYZ] = "readyz",
};

const char *page_name(enum page page)
{
	return names[page];
}

enum page page_find(const char *path)
{
	enum page page = 0;

	while (page < PAGES_N && (*path != '/' || !str_eq(path + 1, names[page])))
		page++;
	return page;
}

const char *page_type(enum page page)
{
	return page == PAGE_METRICS ? "text/plain; version=0.0.4; charset=utf-8" : "text/plain; charset=utf-8";
}
