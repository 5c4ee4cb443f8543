/* The program's SSL_read(), in front of OpenSSL's, for the libcurl that is loaded into it: the buffer that is read into is
 * wiped first. What is in it was consumed, or it would not be read into; but libcurl keeps the buffer of an HTTP/2
 * connection for as long as the connection lives, and with it the last Secrets that have come through it. agent/http.c sees to
 * it that after all that comes there is one more read, which finds nothing and leaves a clean buffer.
 *
 * OpenSSL's own buffers, in which records are decrypted, need nothing: libcurl has them freed when they are empty
 * (SSL_MODE_RELEASE_BUFFERS), and free() wipes (wipe_malloc.c).
 *
 * The program exports this one (Makefile), and libcurl finds it there before it looks into its own libraries. */
#include "common/dl.h"

struct ssl_st;
int SSL_read(struct ssl_st *s, void *buffer, int size);

int SSL_read(struct ssl_st *s, void *buffer, int size)
{
	static struct dl curl = { .name = "libcurl.so.4" };
	static int (*real)(struct ssl_st *, void *, int);

	/* whoever calls has it loaded; it, and what it brings along, are all that is searched */
	if (!real)
		real = (typeof(real))dl_symbol(&curl, "SSL_read");
	if (size > 0)
		explicit_bzero(buffer, (size_t)size);
	return real(s, buffer, size);
}
