/* The program's SSL_read(), in front of OpenSSL's, for the libcurl that is loaded into it: the buffer that is read into is
 * wiped first. What is in it was consumed, or it would not be read into; but libcurl keeps the buffer of an HTTP/2
 * connection for as long as the connection lives, and with it the last Secrets that have come through it. agent/http.c sees to
 * it that after each piece of a body there is one more read, which finds nothing and leaves a clean buffer.
 *
 * OpenSSL's own buffers, in which records are decrypted, need nothing: libcurl has them freed when they are empty
 * (SSL_MODE_RELEASE_BUFFERS), and free() wipes (wipe_malloc.c). */
#include "common/base.h"

#include <dlfcn.h>

struct ssl_st;
int SSL_read(struct ssl_st *s, void *buffer, int size);

int SSL_read(struct ssl_st *s, void *buffer, int size)
{
	static int (*real)(struct ssl_st *, void *, int);

	if (!real) {
		/* whoever calls has it loaded */
		void *lib = dlopen("libssl.so.3", RTLD_NOW | RTLD_NOLOAD);

		real = lib ? (typeof(real))dlsym(lib, "SSL_read") : NULL;
		if (!real)
			abort();
	}
	if (size > 0)
		explicit_bzero(buffer, (size_t)size);
	return real(s, buffer, size);
}
