/* Kubeconfig: walks the YAML tree by hand, so that every complaint has a line and a column. Secret texts are wiped when
 * they are freed. */
#include "agent/kubeconfig.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdarg.h>

#include "agent/proxy.h"
#include "agent/yaml.h"
#include "common/b64.h"
#include "common/file.h"
#include "common/log.h"
#include "common/str.h"

enum {
	KUBECONFIG_BYTES_MAX = 4 * 1024 * 1024,
	PEM_BYTES_MAX = 1024 * 1024,
	SHOWN_MAX = 64, /* so much of a foreign name is shown */
};

struct loader {
	const char *path;
	char *dir; /* absolute; relative paths start here */
	struct err *e;
};

/* ---- reading fields ---- */

static int issue(const struct loader *l, const struct yaml_node *at, const char *fmt, ...) attr_printf(3, 4);
static int issue(const struct loader *l, const struct yaml_node *at, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(l->e, -EINVAL, "%s:%zu:%zu: %s", l->path, at ? at->line : 1, at ? at->column : 1, text);
}

static int no_memory(const struct loader *l)
{
	return err_set(l->e, -ENOMEM, "%s: out of memory", l->path);
}

/* NULL: absent or null */
static const struct yaml_node *get(const struct yaml_node *n, const char *key)
{
	const struct yaml_node *value = yaml_get(n, key);

	return value && value->kind != YAML_NULL ? value : NULL;
}

/* Borrowed; NULL in *ret when it is absent or empty. */
static int get_str(const struct loader *l, const struct yaml_node *n, const char *key, const char **ret)
{
	const struct yaml_node *value = get(n, key);

	if (!value)
		return 0;
	if (value->kind != YAML_STRING)
		return issue(l, value, "%s must be a string", key);
	if (strlen(value->scalar) != value->scalar_len)
		return issue(l, value, "%s must not hold a NUL byte", key);
	*ret = *value->scalar ? value->scalar : NULL;
	return 0;
}

static int dup_str(const struct loader *l, const struct yaml_node *n, const char *key, char **ret)
{
	const char *s = NULL;
	int r;

	r = get_str(l, n, key, &s);
	if (r < 0 || !s)
		return r;
	*ret = strdup(s);
	return *ret ? 0 : no_memory(l);
}

static int get_bool(const struct loader *l, const struct yaml_node *n, const char *key, bool *ret)
{
	const struct yaml_node *value = get(n, key);

	if (!value)
		return 0;
	if (value->kind != YAML_BOOL)
		return issue(l, value, "%s must be true or false", key);
	*ret = value->scalar[0] == 't' || value->scalar[0] == 'T' || value->scalar[0] == 'y' ||
	       value->scalar[0] == 'Y' || strcasecmp(value->scalar, "on") == 0;
	return 0;
}

static int refuse_fields(const struct loader *l, const struct yaml_node *n, const char *const *fields)
{
	for (; *fields; fields++) {
		const struct yaml_node *value = get(n, *fields);

		if (value && !(value->kind == YAML_STRING && value->scalar_len == 0))
			return issue(l, value, "%s is not supported", *fields);
	}
	return 0;
}

/* The `body` of the element of `list` that is called `name`. */
static int find_named(const struct loader *l, const struct yaml_node *root, const char *list, const char *body,
		      const char *name, const struct yaml_node *named_at, const struct yaml_node **ret)
{
	const struct yaml_node *all = get(root, list), *found = NULL;
	const char *its_name;
	int r;

	if (all && all->kind != YAML_SEQUENCE)
		return issue(l, all, "%s must be a list", list);
	for (size_t i = 0; all && i < all->n_items && !found; i++) {
		its_name = NULL;
		if (all->items[i]->kind != YAML_MAPPING)
			return issue(l, all->items[i], "%s[%zu] must be a mapping", list, i);
		r = get_str(l, all->items[i], "name", &its_name);
		if (r < 0)
			return r;
		if (str_eq(its_name, name))
			found = all->items[i];
	}
	if (!found)
		return issue(l, named_at, "there is no %s \"%.*s\"", body, SHOWN_MAX, name);
	*ret = get(found, body);
	if (*ret && (*ret)->kind != YAML_MAPPING)
		return issue(l, *ret, "%s must be a mapping", body);
	if (!*ret)
		return issue(l, found, "%s \"%.*s\" is empty", body, SHOWN_MAX, name);
	return 0;
}

/* ---- PEM texts, in the file or in files of their own ---- */

struct pem_rule {
	const char *key, *data_key; /* fields */
	const char *what, *marker;
};
static const struct pem_rule PEM[] = {
	[KUBECONFIG_CA] = { "certificate-authority", "certificate-authority-data", "a PEM certificate",
			    "-----BEGIN CERTIFICATE-----" },
	[KUBECONFIG_CERT] = { "client-certificate", "client-certificate-data", "a PEM certificate",
			      "-----BEGIN CERTIFICATE-----" },
	[KUBECONFIG_KEY] = { "client-key", "client-key-data", "a PEM private key", "PRIVATE KEY-----" },
};

static const char *pem_problem(const struct pem_rule *rule, const char *text, size_t len)
{
	if (strlen(text) != len || !strstr(text, "-----BEGIN ") || !strstr(text, rule->marker))
		return "is not";
	if (rule == &PEM[KUBECONFIG_KEY] && strstr(text, "ENCRYPTED"))
		return "is encrypted, which is not supported; it must be";
	return NULL;
}

static int decode_pem(const struct loader *l, const struct pem_rule *rule, const struct yaml_node *value, char **ret)
{
	size_t max = b64_decoded_max(value->scalar_len), len = 0;
	cleanup_secret char *text = NULL;
	const char *problem;

	if (max > PEM_BYTES_MAX)
		return issue(l, value, "%s is too long", rule->data_key);
	text = calloc(1, max + 1);
	if (!text)
		return no_memory(l);
	if (b64_decode(value->scalar, value->scalar_len, (uint8_t *)text, max, &len) < 0)
		return issue(l, value, "%s is not base64", rule->data_key);
	problem = pem_problem(rule, text, len);
	if (problem)
		return issue(l, value, "%s %s %s", rule->data_key, problem, rule->what);
	*ret = TAKE_PTR(text);
	return 0;
}

int kubeconfig_read_pem(int fd, const char *name, enum kubeconfig_pem kind, char **ret_text, struct err *e)
{
	cleanup_secret char *text = NULL;
	const char *problem;
	size_t len;
	int r;

	r = file_read_fd(fd, name, PEM_BYTES_MAX, &text, &len, e);
	if (r < 0)
		return r;
	problem = pem_problem(&PEM[kind], text, len);
	if (problem)
		return err_set(e, -EINVAL, "%s %s %s", name, problem, PEM[kind].what);
	*ret_text = TAKE_PTR(text);
	return 0;
}

static int open_file(const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	return fd < 0 ? err_set(e, -errno, "open %s: %m", path) : fd;
}

static int read_pem(const struct loader *l, const struct pem_rule *rule, const struct yaml_node *value, char **ret,
		    char **ret_path)
{
	cleanup_free char *path = file_join(l->dir, value->scalar);
	cleanup_fd int fd = -1;
	struct err e = ERR_INIT;

	if (!path)
		return no_memory(l);
	fd = open_file(path, &e);
	if (fd < 0 || kubeconfig_read_pem(fd, path, (enum kubeconfig_pem)(rule - PEM), ret, &e) < 0)
		return issue(l, value, "%s: %s", rule->key, err_text(&e));
	*ret_path = TAKE_PTR(path);
	return 0;
}

/* The data form wins. */
static int take_pem(const struct loader *l, const struct yaml_node *n, enum kubeconfig_pem kind, char **ret,
		    char **ret_path)
{
	const struct pem_rule *rule = &PEM[kind];
	const char *path = NULL, *data = NULL;
	int r;

	r = get_str(l, n, rule->data_key, &data);
	if (r < 0)
		return r;
	r = get_str(l, n, rule->key, &path);
	if (r < 0)
		return r;
	if (data)
		return decode_pem(l, rule, get(n, rule->data_key), ret);
	return path ? read_pem(l, rule, get(n, rule->key), ret, ret_path) : 0;
}

/* ---- tokens ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Printable ASCII, so that it fits a header line. */
static bool is_token(const char *s)
{
	for (const char *p = s; *p; p++)
		if (*p <= ' ' || *p > '~')
			return false;
	return *s;
}

int kubeconfig_read_token(int fd, const char *name, char **ret_token, struct err *e)
{
	cleanup_secret char *text = NULL;
	size_t len, begin = 0;
	char *token;
	int r;

	r = file_read_fd(fd, name, KUBECONFIG_TOKEN_MAX, &text, &len, e);
	if (r < 0)
		return r;
	if (strlen(text) != len)
		return err_set(e, -EINVAL, "%s: the token holds a NUL byte", name);
	while (len > 0 && is_blank(text[len - 1]))
		text[--len] = '\0';
	while (is_blank(text[begin]))
		begin++;
	if (!text[begin])
		return err_set(e, -EINVAL, "%s: the token is empty", name);
	if (!is_token(text + begin))
		return err_set(e, -EINVAL, "%s: the token holds characters that no token has", name);
	token = strdup(text + begin);
	if (!token)
		return err_set(e, -ENOMEM, "%s: out of memory", name);
	*ret_token = token;
	return 0;
}

static int open_token(const char *path, char **ret_token, struct err *e)
{
	cleanup_fd int fd = open_file(path, e);

	if (fd < 0)
		return fd;
	return kubeconfig_read_token(fd, path, ret_token, e);
}

static int take_token(const struct loader *l, const struct yaml_node *user, struct kubeconfig *k)
{
	cleanup_secret char *token = NULL;
	const char *path = NULL;
	struct err e = ERR_INIT;
	int r;

	r = dup_str(l, user, "token", &k->token);
	if (r < 0)
		return r;
	if (k->token && !is_token(k->token))
		return issue(l, get(user, "token"), "token holds characters that no token has");
	r = get_str(l, user, "tokenFile", &path);
	if (r < 0 || !path)
		return r;
	k->token_file = file_join(l->dir, path);
	if (!k->token_file)
		return no_memory(l);
	r = open_token(k->token_file, &token, &e);
	if (r < 0 && !k->token)
		return issue(l, get(user, "tokenFile"), "tokenFile: %s", err_text(&e));
	if (r < 0) {
		log_warning(NULL, "tokenFile: %s; using the token in %s until it can be read", err_text(&e), l->path);
		return 0;
	}
	str_free_secret(k->token);
	k->token = TAKE_PTR(token);
	return 0;
}

/* ---- cluster, user, context ---- */

static int take_proxy(const struct loader *l, const struct yaml_node *cluster, struct kubeconfig *k)
{
	cleanup_secret char *checked = NULL;
	struct err e = ERR_INIT;
	int r;

	r = dup_str(l, cluster, "proxy-url", &k->proxy);
	if (r < 0 || !k->proxy)
		return r;
	if (proxy_url_check("proxy-url", k->proxy, &checked, &e) < 0)
		return issue(l, get(cluster, "proxy-url"), "%s", err_text(&e));
	return 0;
}

static int take_cluster(const struct loader *l, const struct yaml_node *cluster, struct kubeconfig *k)
{
	const char *server = NULL;
	int r;

	r = get_str(l, cluster, "server", &server);
	if (r < 0)
		return r;
	if (!server)
		return issue(l, cluster, "cluster: server is missing");
	r = dup_str(l, cluster, "server", &k->server);
	if (r < 0)
		return r;
	/* a scheme may be written in capitals (RFC 3986 3.1) */
	for (size_t i = 0; isalpha((unsigned char)k->server[i]); i++)
		k->server[i] = (char)tolower((unsigned char)k->server[i]);
	if (!str_starts(k->server, "https://") && !str_starts(k->server, "http://"))
		return issue(l, get(cluster, "server"), "server must be a URL with https:// or http://");
	r = dup_str(l, cluster, "tls-server-name", &k->tls_server_name);
	if (r < 0)
		return r;
	if (k->tls_server_name && !str_is_dns_subdomain(k->tls_server_name))
		return issue(l, get(cluster, "tls-server-name"), "tls-server-name is not a DNS name");
	r = take_proxy(l, cluster, k);
	if (r < 0)
		return r;
	r = get_bool(l, cluster, "insecure-skip-tls-verify", &k->insecure);
	if (r < 0)
		return r;
	r = take_pem(l, cluster, KUBECONFIG_CA, &k->ca, &k->ca_file);
	if (r < 0)
		return r;
	if (k->ca && k->insecure)
		return issue(l, get(cluster, "insecure-skip-tls-verify"),
			     "specifying a root certificates file with the insecure flag is not allowed");
	return 0;
}

static int take_user(const struct loader *l, const struct yaml_node *user, struct kubeconfig *k)
{
	static const char *const refused[] = { "exec",	 "auth-provider", "username",	   "password", "as",
					       "as-uid", "as-groups",	  "as-user-extra", NULL };
	int r;

	r = refuse_fields(l, user, refused);
	if (r < 0)
		return r;
	r = take_pem(l, user, KUBECONFIG_CERT, &k->client_cert, &k->cert_file);
	if (r < 0)
		return r;
	r = take_pem(l, user, KUBECONFIG_KEY, &k->client_key, &k->key_file);
	if (r < 0)
		return r;
	if (k->client_cert && !k->client_key)
		return issue(l, user, "client-certificate without client-key");
	if (k->client_key && !k->client_cert)
		return issue(l, user, "client-key without client-certificate");
	return take_token(l, user, k);
}

static int take_context(const struct loader *l, const struct yaml_node *root, struct kubeconfig *k)
{
	const struct yaml_node *context = NULL, *cluster = NULL, *user = NULL;
	const char *current = NULL, *cluster_name = NULL, *user_name = NULL;
	int r;

	r = get_str(l, root, "current-context", &current);
	if (r < 0)
		return r;
	if (!current)
		return issue(l, root, "current-context is missing");
	r = find_named(l, root, "contexts", "context", current, get(root, "current-context"), &context);
	if (r < 0)
		return r;
	r = get_str(l, context, "cluster", &cluster_name);
	if (r < 0)
		return r;
	if (!cluster_name)
		return issue(l, context, "context \"%.*s\": cluster is missing", SHOWN_MAX, current);
	r = get_str(l, context, "user", &user_name);
	if (r < 0)
		return r;
	if (!user_name)
		return issue(l, context, "context \"%.*s\": user is missing", SHOWN_MAX, current);
	r = find_named(l, root, "clusters", "cluster", cluster_name, get(context, "cluster"), &cluster);
	if (r < 0)
		return r;
	r = take_cluster(l, cluster, k);
	if (r < 0)
		return r;
	r = find_named(l, root, "users", "user", user_name, get(context, "user"), &user);
	return r < 0 ? r : take_user(l, user, k);
}

/* ---- the file ---- */

static int expect_str(const struct loader *l, const struct yaml_node *root, const char *key, const char *expected)
{
	const char *s = NULL;
	int r;

	r = get_str(l, root, key, &s);
	if (r < 0)
		return r;
	return !s || str_eq(s, expected) ? 0 : issue(l, get(root, key), "%s is not %s", key, expected);
}

static int take_root(const struct loader *l, const struct yaml_node *root, struct kubeconfig *k)
{
	int r;

	if (!root || root->kind != YAML_MAPPING)
		return issue(l, root, "is not a kubeconfig: it must be a mapping");
	r = expect_str(l, root, "kind", "Config");
	if (r < 0)
		return r;
	r = expect_str(l, root, "apiVersion", "v1");
	return r < 0 ? r : take_context(l, root, k);
}

static int parse(const struct loader *l, const char *text, size_t len, struct kubeconfig *k)
{
	struct yaml_doc *docs = NULL;
	struct err e = ERR_INIT;
	size_t n_docs = 0;
	int r;

	r = yaml_parse(text, len, &docs, &n_docs, &e);
	if (r < 0)
		return err_set(l->e, r, "%s:%s", l->path, err_text(&e));
	if (n_docs != 1)
		r = err_set(l->e, -EINVAL, "%s: must be one YAML document, has %zu", l->path, n_docs);
	else
		r = take_root(l, docs[0].root, k);
	yaml_docs_free(docs, n_docs);
	return r;
}

static int find_dir(struct loader *l)
{
	cleanup_free char *dir = file_dirname(l->path), *cwd = NULL;

	if (dir && dir[0] != '/')
		cwd = getcwd(NULL, 0);
	l->dir = dir ? file_join(cwd ? cwd : "/", dir) : NULL;
	return l->dir ? 0 : no_memory(l);
}

int kubeconfig_load(const char *path, struct kubeconfig **ret_k, struct err *e)
{
	cleanup_kubeconfig struct kubeconfig *k = calloc(1, sizeof(*k));
	cleanup_secret char *text = NULL;
	struct loader l = { .path = path, .e = e };
	size_t len;
	int r;

	if (!k)
		return no_memory(&l);
	r = file_read(AT_FDCWD, path, KUBECONFIG_BYTES_MAX, &text, &len, e);
	if (r < 0)
		return r;
	r = find_dir(&l);
	if (r == 0)
		r = parse(&l, text, len, k);
	free(l.dir);
	if (r < 0)
		return r;
	*ret_k = TAKE_PTR(k);
	return 0;
}

/* ---- in a pod ---- */

/* https://HOST:PORT, IPv6 in brackets. */
static int in_cluster_server(char **ret_server, struct err *e)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
	bool is_ipv6 = host && strchr(host, ':') && *host != '[';

	if (str_empty(host) || str_empty(port))
		return err_set(e, -ENOENT, "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not both set");
	*ret_server = str_format("https://%s%s%s:%s", is_ipv6 ? "[" : "", host, is_ipv6 ? "]" : "", port);
	return *ret_server ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static int in_cluster_files(const char *dir, struct kubeconfig *k, struct err *e)
{
	cleanup_fd int fd = -1;
	int r;

	k->token_file = file_join(dir, "token");
	k->ca_file = file_join(dir, "ca.crt");
	if (!k->token_file || !k->ca_file)
		return err_set(e, -ENOMEM, "out of memory");
	r = open_token(k->token_file, &k->token, e);
	if (r < 0)
		return r;
	fd = open_file(k->ca_file, e);
	return fd < 0 ? fd : kubeconfig_read_pem(fd, k->ca_file, KUBECONFIG_CA, &k->ca, e);
}

int kubeconfig_in_cluster(const char *dir, struct kubeconfig **ret_k, struct err *e)
{
	cleanup_kubeconfig struct kubeconfig *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return err_set(e, -ENOMEM, "out of memory");
	r = in_cluster_server(&k->server, e);
	if (r == 0)
		r = in_cluster_files(dir, k, e);
	if (r < 0)
		return err_wrap(e, r, "in-cluster credentials");
	*ret_k = TAKE_PTR(k);
	return 0;
}

bool kubeconfig_is_in_cluster(const char *dir)
{
	cleanup_free char *server = NULL, *token = file_join(dir, "token"), *ca = file_join(dir, "ca.crt");

	return in_cluster_server(&server, NULL) == 0 && token && ca && access(token, F_OK) == 0 &&
	       access(ca, F_OK) == 0;
}

void kubeconfig_free(struct kubeconfig *k)
{
	if (!k)
		return;
	free(k->server);
	free(k->tls_server_name);
	str_free_secret(k->proxy);
	free(k->ca);
	free(k->client_cert);
	str_free_secret(k->client_key);
	str_free_secret(k->token);
	free(k->token_file);
	free(k->ca_file);
	free(k->cert_file);
	free(k->key_file);
	free(k);
}
