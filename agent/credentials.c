/* Credentials: the files are read again and compared, which sees every way to change a file: written over, renamed into
 * place, a link in the middle of the path made anew. Nothing is taken that would not work: a half-written file, a key that
 * is not the certificate's, an empty token. Then the old one stays, one line says so, and the files are read again soon.
 *
 * Whether certificate and key belong together is asked of GnuTLS, which is in the process because of libmicrohttpd: curl
 * would only tell when it connects. */
#include "agent/credentials.h"

#include <gnutls/x509.h>

#include "common/log.h"
#include "common/str.h"

static const uint64_t PERIOD_USEC = 30 * USEC_PER_SEC; /* client-go re-reads a token after 50 s */
static const uint64_t FAILED_USEC = 5 * USEC_PER_SEC;
static const uint64_t DOUBT_USEC = USEC_PER_SEC;

#define KEY_ID_MAX 64

enum part { PART_TOKEN, PART_CA, PART_CERT, PART_KEY, PARTS_N };

struct credentials {
	struct loop *loop;
	struct files *files;
	struct http *http;
	struct kubeconfig *kubeconfig;
	struct loop_source *timer;
	uint64_t period_usec, read_usec;
	uint64_t generation;
	void (*on_read)(void *userdata);
	void *userdata;
	bool started, reading;
	enum part part; /* that is being read */
	char *fresh[PARTS_N]; /* read in this round; NULL: no file, or not readable */
	char *failure[PARTS_N]; /* the last that was logged; NULL: it was good */
	bool failed[PARTS_N]; /* in this round */
};

static const char *const NAMES[PARTS_N] = { "tokenFile", "certificate-authority", "client-certificate", "client-key" };

static const char *path_of(const struct credentials *c, enum part part)
{
	const struct kubeconfig *k = c->kubeconfig;
	const char *const paths[PARTS_N] = { k->token_file, k->ca_file, k->cert_file, k->key_file };

	return paths[part];
}

static char **text_of(struct credentials *c, enum part part)
{
	struct kubeconfig *k = c->kubeconfig;
	char **const texts[PARTS_N] = { &k->token, &k->ca, &k->client_cert, &k->client_key };

	return texts[part];
}

static void part_failed(struct credentials *c, enum part part, const struct err *e)
{
	c->failed[part] = true;
	if (str_eq(c->failure[part], err_text(e)))
		return;
	log_warning(NULL, "%s: %s; the last one stays in use", NAMES[part], err_text(e));
	free(c->failure[part]);
	c->failure[part] = strdup(err_text(e));
}

/* ---- taking what is new ---- */

static gnutls_datum_t datum_of(const char *text)
{
	return (gnutls_datum_t){ .data = (unsigned char *)(uintptr_t)text, .size = (unsigned)strlen(text) };
}

static void certificates_free(gnutls_x509_crt_t *all, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		gnutls_x509_crt_deinit(all[i]);
	gnutls_free(all);
}

static int read_certificates(const char *name, const char *text, gnutls_x509_crt_t **ret_all, unsigned *ret_n,
			     struct err *e)
{
	gnutls_datum_t datum = datum_of(text);
	int r;

	r = gnutls_x509_crt_list_import2(ret_all, ret_n, &datum, GNUTLS_X509_FMT_PEM, 0);
	return r < 0 ? err_set(e, -EINVAL, "%s: %s", name, gnutls_strerror(r)) : 0;
}

static int read_key_id(const char *name, const char *text, uint8_t id[static KEY_ID_MAX], size_t *len, struct err *e)
{
	gnutls_datum_t datum = datum_of(text);
	gnutls_x509_privkey_t key;
	int r;

	if (gnutls_x509_privkey_init(&key) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	r = gnutls_x509_privkey_import2(key, &datum, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN);
	if (r >= 0)
		r = gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, id, len);
	gnutls_x509_privkey_deinit(key);
	return r < 0 ? err_set(e, -EINVAL, "%s: %s", name, gnutls_strerror(r)) : 0;
}

/* The ids are digests of the public keys; the first certificate is ours. */
static int check_pair(const char *name, const char *cert, const char *key, struct err *e)
{
	uint8_t cert_id[KEY_ID_MAX], key_id[KEY_ID_MAX];
	size_t cert_len = sizeof(cert_id), key_len = sizeof(key_id);
	gnutls_x509_crt_t *all = NULL;
	unsigned n = 0;
	int r;

	r = read_certificates(name, cert, &all, &n, e);
	if (r < 0)
		return r;
	r = gnutls_x509_crt_get_key_id(all[0], GNUTLS_KEYID_USE_SHA256, cert_id, &cert_len);
	certificates_free(all, n);
	if (r < 0)
		return err_set(e, -EINVAL, "%s: %s", name, gnutls_strerror(r));
	r = read_key_id(name, key, key_id, &key_len, e);
	if (r < 0)
		return r;
	if (cert_len != key_len || memcmp(cert_id, key_id, key_len) != 0)
		return err_set(e, -EINVAL, "%s: the key is not the certificate's", name);
	return 0;
}

static int check_ca(const char *name, const char *ca, struct err *e)
{
	gnutls_x509_crt_t *all = NULL;
	unsigned n = 0;
	int r;

	r = read_certificates(name, ca, &all, &n, e);
	if (r == 0)
		certificates_free(all, n);
	return r;
}

/* As it would be with what this round has read. */
static const char *text_next(struct credentials *c, enum part part)
{
	return c->fresh[part] ? c->fresh[part] : *text_of(c, part);
}

static bool is_new(struct credentials *c, enum part part)
{
	return c->fresh[part] && !str_eq(c->fresh[part], *text_of(c, part));
}

static void keep(struct credentials *c, enum part part)
{
	if (!c->fresh[part])
		return;
	str_free_secret(*text_of(c, part));
	*text_of(c, part) = TAKE_PTR(c->fresh[part]);
}

static void drop(struct credentials *c, enum part part)
{
	str_free_secret(TAKE_PTR(c->fresh[part]));
}

static void take_token(struct credentials *c)
{
	struct err e = ERR_INIT;

	if (!is_new(c, PART_TOKEN))
		return;
	if (http_set_token(c->http, c->fresh[PART_TOKEN]) < 0) {
		err_set(&e, -ENOMEM, "out of memory");
		part_failed(c, PART_TOKEN, &e);
		return;
	}
	keep(c, PART_TOKEN);
	c->generation++;
	log_info(NULL, "tokenFile: new token in use");
}

/* A round that could read one of the two and not the other waits for the next. */
static bool pair_is_usable(struct credentials *c)
{
	const char *name = path_of(c, PART_CERT) ? path_of(c, PART_CERT) : path_of(c, PART_KEY);
	bool is_whole = !path_of(c, PART_CERT) == !c->fresh[PART_CERT] && !path_of(c, PART_KEY) == !c->fresh[PART_KEY];
	struct err e = ERR_INIT;

	if (!is_whole || (!is_new(c, PART_CERT) && !is_new(c, PART_KEY)))
		return is_whole;
	if (check_pair(name, text_next(c, PART_CERT), text_next(c, PART_KEY), &e) == 0)
		return true;
	part_failed(c, PART_CERT, &e);
	return false;
}

static bool ca_is_usable(struct credentials *c)
{
	struct err e = ERR_INIT;

	if (!is_new(c, PART_CA) || check_ca(path_of(c, PART_CA), c->fresh[PART_CA], &e) == 0)
		return true;
	part_failed(c, PART_CA, &e);
	return false;
}

static void take_tls(struct credentials *c)
{
	struct err e = ERR_INIT;
	bool new_pair, new_ca;

	if (!pair_is_usable(c)) {
		drop(c, PART_CERT);
		drop(c, PART_KEY);
	}
	if (!ca_is_usable(c))
		drop(c, PART_CA);
	new_pair = is_new(c, PART_CERT) || is_new(c, PART_KEY);
	new_ca = is_new(c, PART_CA);
	if (!new_pair && !new_ca)
		return;
	if (http_set_tls(c->http, &(struct http_tls){ .ca = text_next(c, PART_CA),
						      .cert = text_next(c, PART_CERT),
						      .key = text_next(c, PART_KEY) }) < 0) {
		err_set(&e, -ENOMEM, "out of memory");
		part_failed(c, new_pair ? PART_CERT : PART_CA, &e);
		return;
	}
	keep(c, PART_CA);
	keep(c, PART_CERT);
	keep(c, PART_KEY);
	c->generation++;
	log_info(NULL, "new %s in use",
		 !new_ca    ? "client certificate"
		 : new_pair ? "client certificate and certificate authority"
			    : "certificate authority");
}

/* ---- a round: the files one after the other ---- */

static void read_on(struct credentials *c);

static void end_round(struct credentials *c)
{
	uint64_t period_usec = c->period_usec;

	c->reading = false;
	take_token(c);
	take_tls(c);
	for (enum part part = 0; part < PARTS_N; part++) {
		drop(c, part);
		if (c->failed[part])
			period_usec = MIN(period_usec, FAILED_USEC);
		else
			free(TAKE_PTR(c->failure[part]));
	}
	loop_timer_set(c->timer, period_usec);
	if (c->on_read)
		c->on_read(c->userdata);
}

static int read_part(struct credentials *c, int fd, struct err *e)
{
	static const enum kubeconfig_pem KINDS[PARTS_N] = {
		[PART_CA] = KUBECONFIG_CA, [PART_CERT] = KUBECONFIG_CERT, [PART_KEY] = KUBECONFIG_KEY
	};
	const char *path = path_of(c, c->part);

	if (c->part == PART_TOKEN)
		return kubeconfig_read_token(fd, path, &c->fresh[PART_TOKEN], e);
	return kubeconfig_read_pem(fd, path, KINDS[c->part], &c->fresh[c->part], e);
}

static void on_open(void *userdata, int fd, int r)
{
	struct credentials *c = userdata;
	cleanup_fd int owned = fd;
	struct err e = ERR_INIT;

	if (r < 0)
		err_set(&e, r, "open %s: %s", path_of(c, c->part), strerror(-r));
	else
		r = read_part(c, owned, &e);
	if (r < 0)
		part_failed(c, c->part, &e);
	c->part++;
	read_on(c);
}

/* The kubelet's own file has both, and may be exchanged between two looks at it. */
static bool key_is_with_certificate(struct credentials *c)
{
	if (c->part != PART_KEY || !c->fresh[PART_CERT] || !str_eq(path_of(c, PART_CERT), path_of(c, PART_KEY)))
		return false;
	c->fresh[PART_KEY] = strdup(c->fresh[PART_CERT]);
	return c->fresh[PART_KEY];
}

static void read_on(struct credentials *c)
{
	struct err e = ERR_INIT;
	int r;

	for (; c->part < PARTS_N; c->part++) {
		if (!path_of(c, c->part) || key_is_with_certificate(c))
			continue;
		r = files_open(c->files, path_of(c, c->part), on_open, c);
		if (r == 0)
			return;
		err_set(&e, r, "open %s: %s", path_of(c, c->part), strerror(-r));
		part_failed(c, c->part, &e);
	}
	end_round(c);
}

static bool has_files(const struct credentials *c)
{
	for (enum part part = 0; part < PARTS_N; part++)
		if (path_of(c, part))
			return true;
	return false;
}

static void begin_round(struct credentials *c)
{
	if (c->reading)
		return;
	c->reading = true;
	memset(c->failed, 0, sizeof(c->failed));
	c->read_usec = loop_now(c->loop);
	c->part = 0;
	read_on(c);
}

static void on_time(struct loop_source *s, void *userdata)
{
	begin_round(userdata);
}

bool credentials_doubt(struct credentials *c)
{
	if (c->reading)
		return true;
	if (!c->started || !has_files(c) || loop_now(c->loop) - c->read_usec < MIN(DOUBT_USEC, c->period_usec))
		return false;
	begin_round(c);
	return true;
}

uint64_t credentials_generation(const struct credentials *c)
{
	return c->generation;
}

void credentials_on_read(struct credentials *c, void (*fn)(void *userdata), void *userdata)
{
	c->on_read = fn;
	c->userdata = userdata;
}

int credentials_start(struct credentials *c, struct http *http)
{
	c->http = http;
	c->started = true;
	return has_files(c) ? loop_timer_set(c->timer, c->period_usec) : 0;
}

/* ---- making ---- */

static int allow_files(struct credentials *c, struct err *e)
{
	int r;

	for (enum part part = 0; part < PARTS_N; part++) {
		r = path_of(c, part) ? files_allow_file(c->files, path_of(c, part)) : 0;
		if (r < 0)
			return err_set(e, r, "%s %s: %s", NAMES[part], path_of(c, part), strerror(-r));
	}
	return 0;
}

int credentials_new(struct loop *l, struct files *files, struct kubeconfig *k, uint64_t period_usec,
		    struct credentials **ret_c, struct err *e)
{
	struct credentials *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_set(e, -ENOMEM, "out of memory");
	c->loop = l;
	c->files = files;
	c->kubeconfig = k;
	c->period_usec = period_usec ? period_usec : PERIOD_USEC;
	r = loop_add_timer(l, on_time, c, &c->timer);
	if (r < 0)
		err_set(e, r, "timer: %s", strerror(-r));
	else
		r = allow_files(c, e);
	if (r < 0) {
		credentials_free(c);
		return r;
	}
	*ret_c = c;
	return 0;
}

void credentials_free(struct credentials *c)
{
	if (!c)
		return;
	files_cancel(c->files, c);
	loop_source_free(c->timer);
	for (enum part part = 0; part < PARTS_N; part++) {
		drop(c, part);
		free(c->failure[part]);
	}
	free(c);
}
