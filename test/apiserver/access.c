/* Who asks, and whether they may: client certificates, bearer tokens, and the Node authorizer's rules. With the Node
 * authorizer on, an identity without a certificate counts as a node whose name nobody knows: it may write, since nobody
 * else could, and any node's pods make a Secret or ConfigMap readable to it. */
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "common/str.h"
#include "test/apiserver/internal.h"
#include "test/apiserver/status.h"

/* The common name of a client certificate that the CA has signed. */
static bool certificate_user(struct MHD_Connection *connection, char name[static USER_MAX])
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	const gnutls_datum_t *certs;
	gnutls_x509_crt_t cert;
	unsigned status = 1, n = 0;
	size_t size = USER_MAX;
	bool ok;

	if (!info || gnutls_certificate_verify_peers2(info->tls_session, &status) < 0 || status != 0)
		return false;
	certs = gnutls_certificate_get_peers(info->tls_session, &n);
	if (!certs || n == 0 || gnutls_x509_crt_init(&cert) < 0)
		return false;
	ok = gnutls_x509_crt_import(cert, &certs[0], GNUTLS_X509_FMT_DER) == 0 &&
	     gnutls_x509_crt_get_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &size) == 0;
	gnutls_x509_crt_deinit(cert);
	return ok;
}

bool access_authenticate(struct apiserver *a, struct MHD_Connection *connection, struct user *ret_user)
{
	const char *bearer = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");

	*ret_user = (struct user){ .name = NODE_PREFIX "test", .node = true };
	if (!a->client_ca && !a->token)
		return true;
	if (a->client_ca && certificate_user(connection, ret_user->name)) {
		ret_user->node = str_starts(ret_user->name, NODE_PREFIX);
		ret_user->node_name = ret_user->node ? ret_user->name + strlen(NODE_PREFIX) : NULL;
		return true;
	}
	return a->token && bearer && str_starts(bearer, "Bearer ") && str_eq(bearer + strlen("Bearer "), a->token);
}

/* Whether a "secretName", "secretRef.name" or the like anywhere in the pod is this name: the authorizer's graph, drawn
 * generously. Depth is bounded by jansson's parser. */
static bool names_object(json_t *value, const char *const refs[], const char *key, const char *name)
{
	json_t *v;
	const char *k;
	size_t i;

	if (json_is_array(value)) {
		json_array_foreach (value, i, v)
			if (names_object(v, refs, key, name))
				return true;
		return false;
	}
	/* the first one names it itself */
	if (!json_is_object(value))
		return str_eq(key, refs[0]) && str_eq(json_string_value(value), name);
	for (i = 1; refs[i]; i++)
		if (str_eq(key, refs[i]) && str_eq(json_string_value(json_object_get(value, "name")), name))
			return true;
	json_object_foreach (value, k, v)
		if (names_object(v, refs, k, name))
			return true;
	return false;
}

static bool pod_names_object(struct apiserver *a, const struct user *user, const struct call *c, const char *name)
{
	static const char *const secret[] = {
		"secretName", "secret", "secretRef", "secretKeyRef", "imagePullSecrets", "nodePublishSecretRef", NULL
	};
	static const char *const config_map[] = { "", "configMap", "configMapRef", "configMapKeyRef", NULL };
	const char *const *refs = str_eq(c->kind->name, "Secret") ? secret : config_map;
	cleanup_selector struct object_selector in_ns;
	const struct kind *kind = kind_by_name("Pod");
	json_t *pods, *pod;
	bool found = false;
	size_t i;

	object_selector_parse(&in_ns, kind, c->ns, NULL);
	pods = objects_list(a->objects, kind, &in_ns, objects_rv(a->objects));

	json_array_foreach (pods, i, pod) {
		json_t *spec = json_object_get(pod, "spec");
		const char *node = json_string_value(json_object_get(spec, "nodeName"));

		if (!str_empty(node) && (!user->node_name || str_eq(node, user->node_name)))
			found = found || names_object(spec, refs, "", name);
	}
	json_decref(pods);
	return found;
}

/* The reason why the Node authorizer says no; NULL: it does not. */
static const char *node_refuses(struct apiserver *a, const struct user *user, const struct call *c, const char *name,
				char reason[static USER_MAX + 128])
{
	const char *node = selector_exact(&c->selector, "spec.nodeName");

	if (str_eq(c->kind->name, "Event"))
		return ""; /* it is the node role that has no rule for it */
	if (str_eq(c->kind->name, "Pod")) {
		if (c->name || (node && (!user->node_name || str_eq(node, user->node_name))))
			return NULL;
		return "can only list/watch pods with spec.nodeName field selector";
	}
	if (!c->ns)
		return "can only read namespaced object of this type";
	if (!name)
		return "No Object name found";
	if (pod_names_object(a, user, c, name))
		return NULL;
	snprintf(reason, USER_MAX + 128, "no relationship found between node '%s' and this object",
		 user->name + strlen(NODE_PREFIX));
	return reason;
}

static const char *call_verb(const struct call *c)
{
	static const char *const verbs[][2] = {
		{ "POST", "create" }, { "PUT", "update" }, { "PATCH", "patch" }, { "DELETE", "delete" }
	};

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (str_eq(c->method, verbs[i][0]))
			return verbs[i][1];
	return c->watch ? "watch" : c->name ? "get" : "list";
}

json_t *access_authorize(struct apiserver *a, const struct user *user, const struct call *c)
{
	const char *name = c->name ? c->name : selector_exact(&c->selector, "metadata.name"), *why = NULL;
	char reason[USER_MAX + 128], who[USER_MAX + 8] = "", where[320] = "at the cluster scope";
	bool reading = str_eq(c->method, "GET");

	if (!a->options.node_authorizer || !user->node)
		return NULL;
	/* without certificates nobody else could write */
	if (!reading && !user->node_name)
		return NULL;

	/* the node role: events may be made and changed, and nothing else be done with them */
	if (str_eq(c->kind->name, "Event") && !reading && !str_eq(c->method, "DELETE"))
		return NULL;
	why = reading || str_eq(c->kind->name, "Event") ? node_refuses(a, user, c, name, reason)
							: "can only read resources of this type";
	if (!why)
		return NULL;

	a->counts.n_forbidden++;
	if (name)
		snprintf(who, sizeof(who), " \"%.250s\"", name);
	if (c->ns)
		snprintf(where, sizeof(where), "in the namespace \"%.250s\"", c->ns);
	return status_failure(403, "Forbidden", status_details(c->kind->resource, name),
			      "%s%s is forbidden: User \"%s\" cannot %s resource \"%s\" in API group \"\" %s%s%s",
			      c->kind->resource, who, user->name, call_verb(c), c->kind->resource, where,
			      *why ? ": " : "", why);
}
