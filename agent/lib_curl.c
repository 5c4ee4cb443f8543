/* The functions of libcurl that are used here, see common/dl.h. */
#include <curl/curl.h>
#include <stdarg.h>

#include "common/dl.h"

#undef curl_easy_getinfo /* macros that check the type of the last argument */
#undef curl_easy_setopt
#undef curl_multi_setopt
#undef curl_share_setopt

static struct dl lib = { .name = "libcurl.so.4" };

#define FORWARD(...)	  DL_FORWARD(&lib, __VA_ARGS__)
#define FORWARD_VOID(...) DL_FORWARD_VOID(&lib, __VA_ARGS__)

FORWARD(CURLcode, curl_global_init, (long flags), (flags))
FORWARD_VOID(curl_global_cleanup, (void), ())
FORWARD(CURL *, curl_easy_init, (void), ())
FORWARD_VOID(curl_easy_cleanup, (CURL * c), (c))
FORWARD(CURLcode, curl_easy_perform, (CURL * c), (c))
FORWARD(CURLcode, curl_easy_pause, (CURL * c, int mask), (c, mask))
FORWARD(char *, curl_easy_escape, (CURL * c, const char *s, int len), (c, s, len))
FORWARD(const char *, curl_easy_strerror, (CURLcode code), (code))
FORWARD_VOID(curl_free, (void *p), (p))
FORWARD(CURLM *, curl_multi_init, (void), ())
FORWARD(CURLMcode, curl_multi_cleanup, (CURLM * m), (m))
FORWARD(CURLMcode, curl_multi_add_handle, (CURLM * m, CURL *c), (m, c))
FORWARD(CURLMcode, curl_multi_remove_handle, (CURLM * m, CURL *c), (m, c))
FORWARD(CURLMcode, curl_multi_assign, (CURLM * m, curl_socket_t fd, void *p), (m, fd, p))
FORWARD(CURLMsg *, curl_multi_info_read, (CURLM * m, int *left), (m, left))
FORWARD(CURLMcode, curl_multi_socket_action, (CURLM * m, curl_socket_t fd, int events, int *running),
	(m, fd, events, running))
FORWARD(CURLSH *, curl_share_init, (void), ())
FORWARD(CURLSHcode, curl_share_cleanup, (CURLSH * s), (s))
FORWARD(struct curl_slist *, curl_slist_append, (struct curl_slist * l, const char *s), (l, s))
FORWARD_VOID(curl_slist_free_all, (struct curl_slist * l), (l))
FORWARD(CURLU *, curl_url, (void), ())
FORWARD_VOID(curl_url_cleanup, (CURLU * u), (u))
FORWARD(CURLUcode, curl_url_get, (CURLU * u, CURLUPart what, char **part, unsigned int flags), (u, what, part, flags))
FORWARD(CURLUcode, curl_url_set, (CURLU * u, CURLUPart what, const char *part, unsigned int flags),
	(u, what, part, flags))

/* The last argument is a long, a curl_off_t or a pointer, never a double (curl.h, CURLOPTTYPE_*): all of one size, and passed in
 * the same place where Linux runs on 64 bits. */
static_assert(sizeof(long) == sizeof(void *) && sizeof(curl_off_t) == sizeof(void *), "LP64");

CURLcode curl_easy_setopt(CURL *c, CURLoption option, ...)
{
	static CURLcode (*real)(CURL *, CURLoption, ...);
	va_list ap;
	void *last;

	if (!real)
		real = (typeof(real))dl_symbol(&lib, "curl_easy_setopt");
	va_start(ap, option);
	last = va_arg(ap, void *);
	va_end(ap);
	return real(c, option, last);
}

CURLcode curl_easy_getinfo(CURL *c, CURLINFO info, ...)
{
	static CURLcode (*real)(CURL *, CURLINFO, ...);
	va_list ap;
	void *last;

	if (!real)
		real = (typeof(real))dl_symbol(&lib, "curl_easy_getinfo");
	va_start(ap, info);
	last = va_arg(ap, void *);
	va_end(ap);
	return real(c, info, last);
}

CURLMcode curl_multi_setopt(CURLM *m, CURLMoption option, ...)
{
	static CURLMcode (*real)(CURLM *, CURLMoption, ...);
	va_list ap;
	void *last;

	if (!real)
		real = (typeof(real))dl_symbol(&lib, "curl_multi_setopt");
	va_start(ap, option);
	last = va_arg(ap, void *);
	va_end(ap);
	return real(m, option, last);
}

CURLSHcode curl_share_setopt(CURLSH *s, CURLSHoption option, ...)
{
	static CURLSHcode (*real)(CURLSH *, CURLSHoption, ...);
	va_list ap;
	void *last;

	if (!real)
		real = (typeof(real))dl_symbol(&lib, "curl_share_setopt");
	va_start(ap, option);
	last = va_arg(ap, void *);
	va_end(ap);
	return real(s, option, last);
}
