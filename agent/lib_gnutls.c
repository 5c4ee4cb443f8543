/* The functions of GnuTLS that are used here, see common/dl.h. */
#include <gnutls/x509.h>

#include "common/dl.h"

static struct dl lib = { .name = "libgnutls.so.30" };

#define FORWARD(...)	  DL_FORWARD(&lib, __VA_ARGS__)
#define FORWARD_VOID(...) DL_FORWARD_VOID(&lib, __VA_ARGS__)

FORWARD(const char *, gnutls_strerror, (int error), (error))
FORWARD_VOID(gnutls_x509_crt_deinit, (gnutls_x509_crt_t c), (c))
FORWARD(int, gnutls_x509_crt_get_key_id, (gnutls_x509_crt_t c, unsigned flags, unsigned char *id, size_t *len),
	(c, flags, id, len))
FORWARD(int, gnutls_x509_crt_list_import2,
	(gnutls_x509_crt_t * *all, unsigned *n, const gnutls_datum_t *text, gnutls_x509_crt_fmt_t format,
	 unsigned flags),
	(all, n, text, format, flags))
FORWARD(int, gnutls_x509_privkey_init, (gnutls_x509_privkey_t * key), (key))
FORWARD_VOID(gnutls_x509_privkey_deinit, (gnutls_x509_privkey_t key), (key))
FORWARD(int, gnutls_x509_privkey_import2,
	(gnutls_x509_privkey_t key, const gnutls_datum_t *text, gnutls_x509_crt_fmt_t format, const char *password,
	 unsigned flags),
	(key, text, format, password, flags))
FORWARD(int, gnutls_x509_privkey_get_key_id,
	(gnutls_x509_privkey_t key, unsigned flags, unsigned char *id, size_t *len), (key, flags, id, len))

/* The library's is a variable. */
static void free_through(void *p)
{
	gnutls_free_function *real = dl_symbol(&lib, "gnutls_free");

	(*real)(p);
}
#undef gnutls_free
gnutls_free_function gnutls_free = free_through;
