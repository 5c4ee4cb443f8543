/* Pod env: text, because most environments are never asked for: it takes a tenth of the memory. */
#include "agent/pod_env.h"

#include "common/buf.h"
#include "common/str.h"

#define ADDRESSES_MAX ((size_t)1024)

static bool is_list(const json_t *value)
{
	return value && !json_is_null(value) && !(json_is_array(value) && json_array_size(value) == 0);
}

int pod_env_read(const json_t *container, char **ret_env)
{
	json_t *env = json_object_get(container, "env"), *from = json_object_get(container, "envFrom");
	cleanup_json json_t *doc = NULL;
	char *text;

	if (!is_list(env) && !is_list(from))
		return 0;
	doc = json_pack("{s:O*, s:O*}", "env", is_list(env) ? env : NULL, "envFrom", is_list(from) ? from : NULL);
	text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	if (!text)
		return -ENOMEM;
	*ret_env = text;
	return 0;
}

bool pod_env_mentions(const struct pod *p, const char *word)
{
	for (size_t i = 0; i < p->n_containers; i++)
		if (p->containers[i].env && strstr(p->containers[i].env, word))
			return true;
	return false;
}

const char *pod_env_name_problem(const char *name)
{
	bool is_good = *name;

	for (const char *c = name; *c; c++)
		is_good &= *c >= ' ' && *c <= '~' && *c != '=';
	return is_good ? ""
		       : "a valid environment variable name must consist only of printable ASCII characters other than "
			 "'='";
}

/* ---- addresses ---- */

/* The members called `key` of the list's elements; what is none is left out. */
static int join(const json_t *list, const char *key, char **ret)
{
	cleanup_buf struct buf b = BUF_INIT(ADDRESSES_MAX);
	json_t *element;
	size_t i;
	int r = 0;

	json_array_foreach (list, i, element) {
		const char *text = json_string_value(json_object_get(element, key));

		if (r == 0 && !str_empty(text))
			r = buf_printf(&b, "%s%s", b.len ? "," : "", text);
	}
	if (r == -ENOMEM)
		return r;
	free(*ret);
	*ret = b.len ? buf_take(&b) : NULL;
	return 0;
}

/* Old servers know of one address only. */
static int read_addresses(const json_t *status, const char *one, const char *many, char **ret)
{
	const char *text = json_string_value(json_object_get(status, one));
	int r;

	r = join(json_object_get(status, many), "ip", ret);
	if (r < 0 || *ret || str_empty(text))
		return r;
	*ret = strdup(text);
	return *ret ? 0 : -ENOMEM;
}

int pod_addresses_read(struct pod *p, const json_t *status)
{
	int r;

	r = read_addresses(status, "hostIP", "hostIPs", &p->host_ips);
	return r < 0 ? r : read_addresses(status, "podIP", "podIPs", &p->pod_ips);
}

/* ---- imagePullSecrets ---- */

int pod_pull_secrets_read(const json_t *obj, struct name_list *ret_names)
{
	const json_t *list = json_object_get(obj, "imagePullSecrets");
	size_t n = MIN(json_array_size(list), (size_t)PULL_SECRETS_MAX);
	struct name_list names = { .n = 0 };

	if (n == 0)
		return 0;
	names.all = calloc(n, sizeof(*names.all));
	for (size_t i = 0; names.all && i < n; i++) {
		const char *name = json_string_value(json_object_get(json_array_get(list, i), "name"));

		if (str_empty(name))
			continue;
		names.all[names.n] = strdup(name);
		if (!names.all[names.n]) {
			name_list_deinit(&names);
			return -ENOMEM;
		}
		names.n++;
	}
	if (!names.all)
		return -ENOMEM;
	*ret_names = names;
	return 0;
}
