/* Explain: from a daemon's words to what one does about it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/advice.h"
#include "agent/explain.h"
#include "agent/reason.h"
#include "common/str.h"

#define HEALTHY                                                                                                        \
	"{'nodeName': 'node-1', 'podsDir': '/var/lib/pods', 'publisher': {'attached': true},"                          \
	" 'secretMemory': {'locked': true}, 'fuse': {'missing': []},"                                                  \
	" 'source': {'kind': 'api-server', 'location': 'https://api.example:6443', 'strategy': 'Watch',"               \
	"            'connected': true, 'podsSynced': true, 'reason': '', 'lastError': ''}}"
#define POD(volumes)                                                                                                   \
	"{'namespace': 'default', 'name': 'web', 'uid': 'u', 'phase': 'Running', 'since': '2026-11-26T10:00:00Z',"     \
	" 'mistakes': [], 'containers': [{'name': 'app', 'mounts': [{'volume': 'creds', 'mountPath': "                 \
	"'/etc/creds'}]}],"                                                                                            \
	" 'volumes': [" volumes "]}"
#define VOLUME(state, reason, error, sources)                                                                          \
	"{'name': 'creds', 'type': 'secret', 'state': '" state "', 'reason': '" reason "', 'error': '" error           \
	"', 'errorSince': '2026-11-26T10:00:00Z', 'path': '/p', 'sources': [" sources "]}"

/* JSON with ' for ". */
static json_t *parse(const char *text)
{
	json_error_t error;
	char *copy = strdup(text);
	json_t *json;

	assert_non_null(copy);
	for (char *c = copy; *c; c++)
		if (*c == '\'')
			*c = '"';
	json = json_loads(copy, 0, &error);
	free(copy);
	if (!json)
		fail_msg("%s: %s", error.text, text);
	return json;
}

static json_t *findings_of(const char *status, const char *pod, const char *volume)
{
	cleanup(explain_freep) struct explain *x = NULL;
	cleanup_json json_t *s = parse(status), *p = pod ? parse(pod) : NULL;
	json_t *findings = NULL;

	assert_int_equal(explain_new(s, "default/web", &x), 0);
	explain_daemon(x);
	if (p)
		explain_pod(x, p, volume);
	assert_int_equal(explain_findings(x, &findings), 0);
	return findings;
}

static const json_t *find(const json_t *findings, const char *code)
{
	const json_t *f;
	size_t i;

	json_array_foreach (findings, i, f)
		if (str_eq(json_string_value(json_object_get(f, "code")), code))
			return f;
	fail_msg("no %s in %s", code, json_dumps(findings, 0));
	return NULL;
}

static const char *text(const json_t *f, const char *key)
{
	return json_string_value(json_object_get(f, key)) ?: "";
}

static void assert_has(const char *all, const char *part)
{
	if (!strstr(all, part))
		fail_msg("'%s' is not in '%s'", part, all);
}

static const char *command(const json_t *f, size_t i)
{
	return json_string_value(json_array_get(json_object_get(f, "commands"), i)) ?: "";
}

static void every_reason_has_its_advice(void **state)
{
	for (enum reason r = REASON_NONE + 1; r < REASONS_N; r++) {
		assert_true(*reason_name(r));
		if (!advice_find(reason_name(r)))
			fail_msg("%s has none", reason_name(r));
	}
	assert_string_equal(reason_name(REASON_NONE), "");
	assert_string_equal(reason_name(REASONS_N), "Other");
}

static void no_code_has_two(void **state)
{
	const struct advice *a;

	for (size_t i = 0; (a = advice_at(i)); i++) {
		assert_ptr_equal(advice_find(a->code), a);
		for (const char *c = a->code; *c; c++)
			assert_true((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z'));
	}
}

static void an_answer_becomes_a_reason(void **state)
{
	static const struct {
		int status, code;
		enum reason set, reason;
	} cases[] = {
		{ 401, -EACCES, REASON_NONE, REASON_UNAUTHORIZED },
		{ 403, -EACCES, REASON_NONE, REASON_FORBIDDEN },
		{ 404, -ENOENT, REASON_NONE, REASON_NOT_FOUND_AT_SERVER },
		{ 429, -EAGAIN, REASON_NONE, REASON_TOO_MANY_REQUESTS },
		{ 500, -EREMOTEIO, REASON_NONE, REASON_API_SERVER_ERROR },
		{ 302, -EREMOTEIO, REASON_NONE, REASON_API_SERVER_ERROR },
		{ 0, -ECONNREFUSED, REASON_NONE, REASON_API_SERVER_UNREACHABLE },
		{ 0, -ETIMEDOUT, REASON_NONE, REASON_API_SERVER_UNREACHABLE },
		{ 200, -ECONNRESET, REASON_NONE, REASON_API_SERVER_UNREACHABLE },
		{ 200, -EBADMSG, REASON_NONE, REASON_ANSWER_INVALID },
		{ 0, -EPROTONOSUPPORT, REASON_NONE, REASON_ANSWER_INVALID },
		{ 200, -EFBIG, REASON_NONE, REASON_ANSWER_TOO_LARGE },
		{ 0, -EPROTO, REASON_NONE, REASON_TLS_FAILED },
		{ 0, -EPROTO, REASON_CERTIFICATE_EXPIRED, REASON_CERTIFICATE_EXPIRED },
		{ 0, -ENOMEM, REASON_NONE, REASON_OUT_OF_MEMORY },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err e = { .code = cases[i].code, .reason = cases[i].set };

		assert_string_equal(reason_name(reason_of_answer(cases[i].status, &e)), reason_name(cases[i].reason));
	}
}

static void a_new_sentence_has_no_reason_and_context_keeps_it(void **state)
{
	struct err e = ERR_INIT;

	assert_int_equal(reason_of_error(&e), REASON_NONE);
	assert_int_equal(reason_set(&e, REASON_KEY_NOT_FOUND, err_set(&e, -ENOENT, "no key")), -ENOENT);
	err_wrap(&e, -ENOENT, "volume");
	assert_int_equal(reason_of_error(&e), REASON_KEY_NOT_FOUND);
	err_set(&e, -ENOENT, "something else");
	assert_int_equal(reason_of_error(&e), REASON_OTHER);
	err_set(&e, -ENOMEM, "memory");
	assert_int_equal(reason_of_error(&e), REASON_OUT_OF_MEMORY);
	assert_int_equal(reason_set(NULL, REASON_OTHER, -EIO), -EIO);
}

static void words_are_quoted_for_a_shell_and_only_there(void **state)
{
	cleanup_json json_t *words = parse("{'name': 'a b', 'ns': 'default'}");
	static const struct {
		const char *text;
		bool shell;
		const char *out;
	} cases[] = {
		{ "get {name} -n {ns}", true, "get 'a b' -n default" },
		{ "of {name}.", false, "of a b." },
		{ "of {gone}", true, "of GONE" },
		{ "-o jsonpath={{.spec.nodeName}", true, "-o jsonpath='{.spec.nodeName}'" },
		{ "", true, "" },
		{ "open {", false, "open " },
	};

	json_object_set_new(words, "evil", json_string("x'; rm -rf /; '"));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *out = advice_expand(cases[i].text, words, cases[i].shell);

		assert_string_equal(out, cases[i].out);
	}
	{
		cleanup_free char *out = advice_expand("get {evil}", words, true);

		assert_string_equal(out, "get 'x'\\''; rm -rf /; '\\'''");
	}
}

static void what_is_healthy_is_no_problem(void **state)
{
	cleanup_json json_t *findings = findings_of(
		HEALTHY,
		POD(VOLUME("ready", "", "",
			   "{'type': 'secret', 'name': 'db', 'optional': false, 'state': 'present', 'reason': '',"
			   " 'resourceVersion': '7', 'knownVersion': '7', 'keys': ['password'], 'missing': []}")),
		NULL);
	cleanup_free char *details = NULL;
	const json_t *f = find(findings, "Ready");

	assert_int_equal(json_array_size(findings), 1);
	assert_string_equal(text(f, "level"), "ok");
	assert_string_equal(command(f, 0), "secretlet mounts default/web CONTAINER");
	details = json_dumps(json_object_get(f, "details"), 0);
	assert_has(details, "of Secret default/db, revision 7: password");
	assert_has(details, "container app has it at /etc/creds");
	assert_has(details, "updates: at once");
}

static void each_source_that_lacks_something_is_named(void **state)
{
	cleanup_json json_t *findings = findings_of(
		HEALTHY,
		POD(VOLUME("waiting", "SecretNotFound", "secret \\'db\\' not found",
			   "{'type': 'secret', 'name': 'db', 'optional': false, 'state': 'absent', 'reason': '',"
			   " 'asked': ['user', 'password'], 'keys': [], 'missing': []},"
			   "{'type': 'configMap', 'name': 'app', 'optional': false, 'state': 'present', 'reason': '',"
			   " 'asked': ['x'], 'keys': [], 'missing': ['x'], 'available': ['a', 'b']},"
			   "{'type': 'secret', 'name': 'may', 'optional': true, 'state': 'absent', 'reason': ''}")),
		NULL);
	const json_t *f = find(findings, "SecretNotFound");

	assert_int_equal(json_array_size(findings), 3);
	assert_string_equal(text(f, "object"), "Secret default/db");
	assert_has(text(f, "advice"), "Secret default/db does not exist");
	assert_string_equal(command(f, 1), "kubectl -n default create secret generic db --from-file=user=FILE "
					   "--from-file=password=FILE");
	f = find(findings, "KeyNotFound");
	assert_string_equal(text(f, "level"), "problem");
	assert_string_equal(text(f, "object"), "ConfigMap default/app");
	assert_has(text(f, "advice"), "asks for x, and ConfigMap default/app has a, b");
	assert_string_equal(text(find(findings, "OptionalNotFound"), "level"), "note");
}

static void a_reason_of_the_volume_alone_is_told_once(void **state)
{
	cleanup_json json_t *findings = findings_of(
		HEALTHY, POD(VOLUME("failed", "VolumeOptionInvalid", "annotation: creds.layout: no such layout", "")),
		"creds");

	assert_int_equal(json_array_size(findings), 1);
	assert_string_equal(text(find(findings, "VolumeOptionInvalid"), "message"),
			    "annotation: creds.layout: no such layout");
	assert_string_equal(text(json_array_get(findings, 0), "since"), "2026-11-26T10:00:00Z");
}

static void what_nobody_has_answered_yet_is_a_reason(void **state)
{
	cleanup_json json_t *findings = findings_of(
		HEALTHY,
		POD(VOLUME("waiting", "NotFetched", "not yet",
			   "{'type': 'secret', 'name': 'db', 'state': 'unknown', 'reason': ''},"
			   "{'type': 'downwardAPI', 'optional': false, 'keys': ['metadata.name'], 'missing': []}")),
		NULL);

	assert_int_equal(json_array_size(findings), 1);
	assert_string_equal(text(find(findings, "NotFetched"), "object"), "Secret default/db");
}

static void what_is_from_the_offline_cache_says_so(void **state)
{
	cleanup_json json_t *findings = findings_of(
		HEALTHY,
		POD("{'name': 'creds', 'state': 'ready', 'reason': '', 'error': '', 'cached': '2026-11-25T10:00:00Z',"
		    " 'sources': []}"),
		NULL);

	assert_string_equal(text(find(findings, "Ready"), "level"), "ok");
	assert_string_equal(text(find(findings, "FromOfflineCache"), "since"), "2026-11-25T10:00:00Z");
}

static void what_is_on_its_way_is_not_there(void **state)
{
	cleanup_json json_t *findings = findings_of(HEALTHY, POD(VOLUME("publishing", "", "", "")), NULL);

	assert_int_equal(json_array_size(findings), 1);
	assert_string_equal(text(find(findings, "Publishing"), "level"), "problem");
}

static void a_refusal_names_the_identity_and_the_object(void **state)
{
	cleanup_json json_t *findings = findings_of(
		HEALTHY,
		POD(VOLUME(
			"waiting", "Forbidden", "no",
			"{'type': 'secret', 'name': 'db', 'state': 'unknown', 'reason': 'Forbidden', 'error': 'no'}")),
		NULL);

	assert_string_equal(command(find(findings, "Forbidden"), 0),
			    "kubectl auth can-i get secrets/db -n default --as=system:node:node-1 "
			    "--as-group=system:nodes");
}

/* Another identity than the node's: asking in the node's name would be answered yes. */
static void a_refusal_goes_by_whom_it_names(void **state)
{
	cleanup_free char *pod = str_format(POD(VOLUME("waiting", "Forbidden", "no",
						       "{'type': 'secret', 'name': 'db', 'state': 'unknown', 'reason': "
						       "'Forbidden', 'error': \"%s\"}")),
					    "User \\\"system:serviceaccount:kube-system:secretlet\\\" cannot get it");
	cleanup_json json_t *findings = findings_of(HEALTHY, pod, NULL);
	const json_t *f = find(findings, "Forbidden");

	assert_has(text(f, "advice"),
		   "knows system:serviceaccount:kube-system:secretlet and does not let it read Secret "
		   "default/db");
	assert_string_equal(command(f, 0), "kubectl auth can-i get secrets/db -n default "
					   "--as=system:serviceaccount:kube-system:secretlet");
}

#define TOKEN(reason, error)                                                                                           \
	POD(VOLUME(                                                                                                    \
		"waiting", reason, error,                                                                              \
		"{'type': 'serviceAccountToken', 'serviceAccount': 'builder', 'optional': false, 'state': 'unknown',"  \
		" 'reason': '" reason "', 'error': '" error "'}"))

static void a_token_that_may_not_be_made_says_what_that_takes(void **state)
{
	cleanup_json json_t *findings = findings_of(HEALTHY, TOKEN("TokenForbidden", "no"), NULL);
	const json_t *f = find(findings, "TokenForbidden");

	assert_int_equal(json_array_size(findings), 1);
	assert_has(text(f, "advice"), "a token of ServiceAccount default/builder: that takes the verb create on "
				      "serviceaccounts/token");
	assert_has(text(f, "advice"), "bound to node-1");
	assert_string_equal(command(f, 0), "kubectl auth can-i create serviceaccounts/builder --subresource=token "
					   "-n default --as=system:node:node-1 --as-group=system:nodes");
}

static void a_service_account_that_is_missing_is_named(void **state)
{
	cleanup_json json_t *findings = findings_of(HEALTHY, TOKEN("ServiceAccountNotFound", "not found"), NULL);
	const json_t *f = find(findings, "ServiceAccountNotFound");

	assert_has(text(f, "advice"), "default/builder does not exist");
	assert_string_equal(command(f, 1), "kubectl -n default create serviceaccount builder");
}

/* A placeholder is a word in capitals. */
static void assert_no_placeholder(const char *what)
{
	static const char *const words[] = { "KIND", "NAME", "NS", "PODNS", "NODE", "USER", "AS", "FILE", "ACCOUNT" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strstr(what, words[i]))
			fail_msg("%s in '%s'", words[i], what);
}

static void pods_that_may_not_be_listed_name_the_node_and_who_asked(void **state)
{
	static const struct {
		const char *error, *user, *as;
	} cases[] = {
		{ "no", "system:node:node-1", "--as=system:node:node-1 --as-group=system:nodes" },
		{ "pods is forbidden: User \\\"system:node:other\\\" cannot list resource", "system:node:other",
		  "--as=system:node:other --as-group=system:nodes" },
		{ "pods is forbidden: User \\\"jane doe\\\" cannot list resource", "jane doe", "'--as=jane doe'" },
		{ "User \\\"never ends", "system:node:node-1", "--as=system:node:node-1 --as-group=system:nodes" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *status = str_format(
			"{'nodeName': 'node-1', 'publisher': {'attached': true}, 'secretMemory': {'locked': true},"
			" 'source': {'kind': 'api-server', 'location': 'https://a', 'connected': true, 'podsSynced': "
			"true,"
			" 'reason': 'Forbidden', 'lastError': \"%s\"}}",
			cases[i].error);
		cleanup_free char *expected =
			str_format("kubectl auth can-i list pods --all-namespaces %s", cases[i].as);
		cleanup_json json_t *findings = findings_of(status, NULL, NULL);
		const json_t *f = find(findings, "Forbidden");

		assert_string_equal(command(f, 0), expected);
		assert_has(text(f, "advice"), cases[i].user);
		assert_has(text(f, "advice"), "list the pods of node node-1");
		assert_no_placeholder(text(f, "advice"));
		for (size_t k = 0; k < json_array_size(json_object_get(f, "commands")); k++)
			assert_no_placeholder(command(f, k));
	}
}

static void a_later_daemons_reason_is_shown_as_it_is(void **state)
{
	cleanup_json json_t *findings =
		findings_of(HEALTHY, POD(VOLUME("failed", "NeverHeardOf", "no idea", "")), NULL);

	assert_string_equal(text(find(findings, "NeverHeardOf"), "message"), "no idea");
}

static void the_daemons_troubles_are_told(void **state)
{
	cleanup_json json_t *findings = findings_of(
		"{'nodeName': 'node-1', 'podsDir': '/p', 'publisher': {'attached': false}, 'secretMemory': {'locked': "
		"false},"
		" 'fuse': {'missing': ['resend']}, 'offlineCache': {'dir': '/c', 'error': 'disk'},"
		" 'audit': {'log': '/l', 'running': false}, 'signals': {'enabled': true, 'running': false},"
		" 'source': {'kind': 'api-server', 'location': 'https://[::1]/x', 'connected': false, 'podsSynced': "
		"false,"
		"            'reason': 'CertificateExpired', 'lastError': 'certificate', 'errorSince': 'T'}}",
		NULL, NULL);
	static const char *const codes[] = { "PodsNotKnown",	   "PublisherNotRunning", "MemoryNotLocked",
					     "OfflineCacheFailed", "AuditNotRunning",	  "SignalsNotRunning" };

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		assert_string_equal(text(find(findings, codes[i]), "level"), "problem");
	assert_string_equal(text(find(findings, "KernelLacks"), "level"), "note");
	assert_string_equal(text(find(findings, "CertificateExpired"), "since"), "T");
	assert_has(command(find(findings, "CertificateExpired"), 0), "-connect '[::1]:443'");
}

static void a_publisher_that_hangs_is_told(void **state)
{
	cleanup_json json_t *findings =
		findings_of("{'publisher': {'attached': true, 'hangs': true, 'unansweredSeconds': 4},"
			    " 'secretMemory': {'locked': true}, 'source': {'connected': true, 'podsSynced': true}}",
			    NULL, NULL);

	assert_int_equal(json_array_size(findings), 1);
	assert_string_equal(text(find(findings, "PublisherHangs"), "message"), "one order takes 4 s already");
	assert_string_equal(text(find(findings, "PublisherHangs"), "level"), "problem");
}

static void publishers_that_cannot_be_killed_are_told(void **state)
{
	cleanup_json json_t *findings =
		findings_of("{'publisher': {'attached': true, 'aside': 2},"
			    " 'secretMemory': {'locked': true}, 'source': {'connected': true, 'podsSynced': true}}",
			    NULL, NULL);

	assert_int_equal(json_array_size(findings), 1);
	assert_string_equal(text(find(findings, "PublishersAside"), "message"), "2 that cannot be killed");
	assert_string_equal(text(find(findings, "PublishersAside"), "level"), "problem");
}

static void processes_that_have_just_been_started_are_not_missing(void **state)
{
	static const struct {
		const char *audit, *signals;
		size_t n;
	} cases[] = {
		{ "'running': false, 'starting': true, 'error': ''", "'running': false, 'starting': true", 0 },
		{ "'running': false, 'starting': false, 'error': ''", "'running': false, 'starting': false", 2 },
		{ "'running': false, 'error': ''", "'running': false", 2 }, /* of an earlier version */
		{ "'running': true, 'starting': false, 'error': ''", "'running': true, 'starting': false", 0 },
		{ "'running': true, 'starting': false, 'error': 'disk'", "'running': true, 'starting': false", 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *status =
			str_format("{'publisher': {'attached': true}, 'secretMemory': {'locked': true},"
				   " 'source': {'connected': true, 'podsSynced': true},"
				   " 'audit': {'log': '/l', %s}, 'signals': {'enabled': true, %s}}",
				   cases[i].audit, cases[i].signals);
		cleanup_json json_t *findings = findings_of(status, NULL, NULL);

		assert_int_equal(json_array_size(findings), cases[i].n);
		if (cases[i].n == 2)
			assert_string_equal(text(find(findings, "AuditNotRunning"), "message"),
					    "no audit process is running");
	}
}

static void a_connection_that_is_made_anew_is_told(void **state)
{
	cleanup_json json_t *findings =
		findings_of("{'publisher': {'attached': true}, 'secretMemory': {'locked': true},"
			    " 'source': {'location': 'https://a', 'connected': false, 'podsSynced': true, 'reason': '',"
			    " 'lastContact': 'L'}}",
			    NULL, NULL);

	assert_int_equal(json_array_size(findings), 1);
	assert_string_equal(text(find(findings, "Disconnected"), "since"), "L");
}

static void pods_that_are_over_say_so(void **state)
{
	cleanup_json json_t *findings = findings_of(
		HEALTHY,
		"{'namespace': 'default', 'name': 'web', 'phase': 'Succeeded', 'finished': true, 'deleting': true,"
		" 'postponed': true, 'volumes': []}",
		"creds");

	assert_has(text(find(findings, "PodFinished"), "advice"), "phase Succeeded");
	assert_string_equal(text(find(findings, "PodTerminating"), "level"), "note");
	find(findings, "PodPostponed");
	assert_int_equal(json_array_size(findings), 3);
}

static void a_volume_nobody_knows_has_a_neighbour(void **state)
{
	cleanup_json json_t *findings = findings_of(HEALTHY, POD(VOLUME("ready", "", "", "")), "credz");
	const json_t *f = find(findings, "VolumeUnknown");

	assert_has(text(f, "message"), "is it creds?");
	assert_has(text(f, "advice"), "The pod has creds.");
	assert_int_equal(json_array_size(findings), 1);
}

static void a_pod_nobody_knows_has_a_neighbour(void **state)
{
	static const struct {
		const char *ref, *near;
	} cases[] = {
		{ "default/wbe", "is it default/web?" },
		{ "default/webb", "is it default/web?" },
		{ "defualt/web", "is it default/web?" },
		{ "default/other", NULL },
		{ "x", NULL },
	};
	cleanup_json json_t *
		status = parse(HEALTHY),
	       *pods = parse("{'pods': [{'namespace': 'default', 'name': 'web'}, {'namespace': 'kube', 'name': 'p'}]}");

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup(explain_freep) struct explain *x = NULL;
		cleanup_json json_t *findings = NULL;
		const char *message;

		assert_int_equal(explain_new(status, cases[i].ref, &x), 0);
		explain_unknown_pod(x, NULL, pods);
		assert_true(explain_has_problem(x));
		assert_int_equal(explain_findings(x, &findings), 0);
		message = text(find(findings, "PodUnknown"), "message");
		if (cases[i].near)
			assert_has(message, cases[i].near);
		else
			assert_null(strstr(message, "is it"));
		assert_has(text(find(findings, "PodUnknown"), "advice"), "Known here: default/web, kube/p.");
	}
}

#define REFUSED(ns, name, file, error)                                                                                 \
	"{'namespace': '" ns "', 'name': '" name "', 'file': " file ", 'line': 7, 'column': 3, 'error': '" error "'}"

static json_t *findings_without_pod(const char *status, const char *answer, const char *pods)
{
	cleanup(explain_freep) struct explain *x = NULL;
	cleanup_json json_t *s = parse(status), *a = parse(answer), *p = parse(pods);
	json_t *findings = NULL;

	assert_int_equal(explain_new(s, "default/web", &x), 0);
	explain_unknown_pod(x, a, p);
	assert_true(explain_has_problem(x));
	assert_int_equal(explain_findings(x, &findings), 0);
	return findings;
}

static void a_pod_that_is_refused_is_not_unknown(void **state)
{
	static const char manifests[] = "{'nodeName': 'n', 'source': {'kind': 'manifests', 'location': '/etc/m', "
					"'podsSynced': true}}";
	cleanup_json json_t *of_manifest =
		findings_without_pod(manifests,
				     "{'error': '', 'refused': [" REFUSED(
					     "default", "web", "'a.yaml'",
					     "a.yaml:7:3: pod default/web: spec.volumes[0].nfs: not supported") "]}",
				     "{'pods': [], 'refused': [" REFUSED("other", "web", "'b.yaml'", "no") "]}");
	cleanup_json json_t *of_server = findings_without_pod(
		HEALTHY, "{'error': '', 'refused': [" REFUSED("default", "web", "null", "pod default/web: no") "]}",
		"{'pods': [], 'refused': []}");
	const json_t *f = find(of_manifest, "PodRefused");

	assert_int_equal(json_array_size(of_manifest), 1);
	assert_string_equal(text(f, "object"), "pod default/web");
	assert_has(text(f, "message"), "a.yaml:7:3: pod default/web: spec.volumes[0].nfs");
	assert_string_equal(command(f, 0), "secretlet check /etc/m/a.yaml");
	f = find(of_server, "PodRefused");
	assert_int_equal(json_array_size(of_server), 1);
	assert_string_equal(text(f, "message"), "pod default/web: no");
	assert_string_equal(command(f, 0), "kubectl -n default get pod web -o yaml");
}

static void a_manifest_that_nobody_can_read_may_have_the_pod(void **state)
{
	cleanup_json json_t *findings =
		findings_without_pod(HEALTHY, "{'error': '', 'refused': []}",
				     "{'pods': [], 'refused': [" REFUSED("", "", "'c.yaml'", "c.yaml:7:3: tab") "]}");
	const json_t *f = find(findings, "PodUnknown");

	assert_string_equal(json_string_value(json_array_get(json_object_get(f, "details"), 0)), "c.yaml:7:3: tab");
}

static void a_revision_that_is_refused_is_told_beside_what_is_shown(void **state)
{
	cleanup_json json_t *findings =
		findings_of(HEALTHY,
			    "{'namespace': 'default', 'name': 'web', 'refused': [" REFUSED(
				    "default", "web", "null",
				    "pod default/web: no") "], 'volumes': [" VOLUME("ready", "", "", "") "]}",
			    NULL);

	assert_int_equal(json_array_size(findings), 2);
	assert_string_equal(text(find(findings, "PodRevisionRefused"), "level"), "problem");
	assert_string_equal(text(find(findings, "PodRevisionRefused"), "message"), "pod default/web: no");
}

static void before_the_first_list_no_pod_is_said_to_be_unknown(void **state)
{
	cleanup(explain_freep) struct explain *x = NULL;
	cleanup_json json_t *status = parse(
				    "{'publisher': {'attached': true}, 'secretMemory': {'locked': true},"
				    " 'source': {'location': 'https://a', 'podsSynced': false, 'connected': true}}"),
			    *pods = parse("{'pods': []}"), *findings = NULL;

	assert_int_equal(explain_new(status, "default/web", &x), 0);
	explain_daemon(x);
	explain_unknown_pod(x, NULL, pods);
	assert_int_equal(explain_findings(x, &findings), 0);
	find(findings, "PodsNotKnown");
	assert_int_equal(json_array_size(findings), 1);
	assert_true(explain_has_problem(x));
}

static void annotations_that_are_wrong_say_where(void **state)
{
	cleanup_json json_t *findings =
		findings_of(HEALTHY,
			    "{'namespace': 'default', 'name': 'web', 'volumes': [],"
			    " 'mistakes': [{'annotation': 'a/b', 'line': 3, 'column': 5, 'error': 'unknown'},"
			    "              {'annotation': 'c', 'line': 0, 'column': 0, 'error': 'all'}]}",
			    NULL);

	assert_string_equal(text(json_array_get(findings, 1), "object"), "annotation a/b:3:5");
	assert_string_equal(text(json_array_get(findings, 2), "object"), "annotation c");
	find(findings, "NoVolumes");
}

static void manifests_are_no_api_server(void **state)
{
	cleanup_json json_t *findings = findings_of(
		"{'publisher': {'attached': true}, 'secretMemory': {'locked': true}, 'source': {'kind': 'manifests',"
		" 'location': '/etc/m', 'connected': true, 'podsSynced': true, 'reason': 'ManifestInvalid',"
		" 'lastError': 'a.yaml:1:2: no'}}",
		POD(VOLUME("waiting", "SecretNotFound", "secret not found",
			   "{'type': 'secret', 'name': 'db', 'optional': false, 'state': 'absent', 'reason': ''}")),
		NULL);
	const json_t *f = find(findings, "SecretNotFound");

	assert_has(text(f, "advice"), "No manifest in /etc/m has a Secret default/db");
	assert_string_equal(command(f, 0), "secretlet check /etc/m");
	assert_string_equal(command(f, 1), "");
	assert_string_equal(command(find(findings, "ManifestInvalid"), 0), "secretlet check /etc/m");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_reason_has_its_advice),
		cmocka_unit_test(no_code_has_two),
		cmocka_unit_test(an_answer_becomes_a_reason),
		cmocka_unit_test(a_new_sentence_has_no_reason_and_context_keeps_it),
		cmocka_unit_test(words_are_quoted_for_a_shell_and_only_there),
		cmocka_unit_test(what_is_healthy_is_no_problem),
		cmocka_unit_test(each_source_that_lacks_something_is_named),
		cmocka_unit_test(a_reason_of_the_volume_alone_is_told_once),
		cmocka_unit_test(what_nobody_has_answered_yet_is_a_reason),
		cmocka_unit_test(what_is_from_the_offline_cache_says_so),
		cmocka_unit_test(what_is_on_its_way_is_not_there),
		cmocka_unit_test(a_refusal_names_the_identity_and_the_object),
		cmocka_unit_test(a_refusal_goes_by_whom_it_names),
		cmocka_unit_test(a_token_that_may_not_be_made_says_what_that_takes),
		cmocka_unit_test(a_service_account_that_is_missing_is_named),
		cmocka_unit_test(pods_that_may_not_be_listed_name_the_node_and_who_asked),
		cmocka_unit_test(a_later_daemons_reason_is_shown_as_it_is),
		cmocka_unit_test(a_publisher_that_hangs_is_told),
		cmocka_unit_test(publishers_that_cannot_be_killed_are_told),
		cmocka_unit_test(processes_that_have_just_been_started_are_not_missing),
		cmocka_unit_test(a_pod_that_is_refused_is_not_unknown),
		cmocka_unit_test(a_manifest_that_nobody_can_read_may_have_the_pod),
		cmocka_unit_test(a_revision_that_is_refused_is_told_beside_what_is_shown),
		cmocka_unit_test(the_daemons_troubles_are_told),
		cmocka_unit_test(a_connection_that_is_made_anew_is_told),
		cmocka_unit_test(pods_that_are_over_say_so),
		cmocka_unit_test(a_volume_nobody_knows_has_a_neighbour),
		cmocka_unit_test(a_pod_nobody_knows_has_a_neighbour),
		cmocka_unit_test(before_the_first_list_no_pod_is_said_to_be_unknown),
		cmocka_unit_test(annotations_that_are_wrong_say_where),
		cmocka_unit_test(manifests_are_no_api_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
