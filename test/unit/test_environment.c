/* Environment: the cases of the kubelet's TestMakeEnvironmentVariables, of pods as the codec reads them, and what cannot be
 * handed on. */
#include "agent/environment.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "agent/codec.h"
#include "common/str.h"

/* What there is in namespace ns. HIDDEN: what a Secret has is not to be shown. */
static struct secret *objects[8];
static size_t n_objects;
static bool secrets_are_hidden;

static int setup(void **state)
{
	static const char *const SECRETS[] = {
		"{\"metadata\":{\"namespace\":\"ns\",\"name\":\"db\"},\"data\":{\"user\":\"cm9vdA==\","
		"\"password\":\"JChVU0VSKSQ=\",\"1st\":\"MQ==\",\"empty\":\"\",\"two-a\":\"Mg==\"}}",
		"{\"metadata\":{\"namespace\":\"ns\",\"name\":\"bad\"},\"data\":{\"nul\":\"YQBi\",\"latin\":\"/w==\"}}",
	};
	static const char CONFIG_MAP[] =
		"{\"metadata\":{\"namespace\":\"ns\",\"name\":\"db\"},\"data\":{\"user\":\"nobody\",\"HOST\":\"h\"},"
		"\"binaryData\":{\"bytes\":\"YQ==\"}}";
	cleanup_buf struct buf wide = BUF_INIT(65536); /* a ConfigMap of 1024 keys */
	struct err e = ERR_INIT;

	json_setup();
	assert_int_equal(secmem_init((size_t)4 << 20, &e), 0);
	assert_int_equal(buf_add_str(&wide, "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"wide\"},\"data\":{"), 0);
	for (int i = 0; i < 1024; i++)
		assert_int_equal(buf_printf(&wide, "%s\"k%d\":\"\"", i ? "," : "", i), 0);
	assert_int_equal(buf_add_str(&wide, "}}"), 0);
	for (size_t i = 0; i <= ARRAY_SIZE(SECRETS) + 1; i++) {
		bool is_secret = i < ARRAY_SIZE(SECRETS);
		const char *text = is_secret ? SECRETS[i] : i == ARRAY_SIZE(SECRETS) ? CONFIG_MAP : wide.data;
		struct json_issue issue = { .path = "" };
		cleanup_json json_t *doc = NULL;

		assert_int_equal(json_parse(text, strlen(text), &doc, &e), 0);
		assert_int_equal(
			codec_object(is_secret ? OBJECT_SECRET : OBJECT_CONFIG_MAP, doc, &objects[n_objects++], &issue),
			0);
	}
	return 0;
}

static int teardown(void **state)
{
	for (size_t i = 0; i < n_objects; i++)
		secret_unref(objects[i]);
	assert_int_equal(secmem_stats().n_blocks, 0);
	secmem_deinit();
	return 0;
}

static int find(void *userdata, enum object_kind kind, const char *name, const struct secret **ret, struct err *e)
{
	if (str_eq(name, "forbidden"))
		return err_set(e, -EACCES, "secrets \"forbidden\" is forbidden");
	if (secrets_are_hidden && kind == OBJECT_SECRET)
		return ENVIRONMENT_HIDDEN;
	for (size_t i = 0; i < n_objects; i++) {
		if (objects[i]->kind == kind && str_eq(objects[i]->name, name)) {
			*ret = objects[i];
			return 0;
		}
	}
	return err_set(e, -ENOENT, "%s \"%s\" not found", object_kind_word(kind), name);
}

/* A pod whose container c has this, in JSON with ' for ". */
static struct pod *pod_of(const char *env)
{
	cleanup_free char *text = str_format(
		"{'metadata':{'namespace':'ns','name':'p','uid':'u-1','labels':{'app':'web'},'annotations':{'Big/"
		"K':'v'}},"
		"'spec':{'nodeName':'n1','serviceAccountName':'reader','containers':[{'name':'c','resources':"
		"{'limits':{'cpu':'1500m'},'requests':{'memory':'64Mi'}},%s},{'name':'d','resources':{'limits':{'cpu':"
		"'3'}}}]},'status':{'hostIP':'10.0.0.1','podIP':'10.1.0.7','podIPs':[{'ip':'10.1.0.7'},{'ip':'fd00::7'}"
		"]}}",
		env);
	cleanup_json json_t *doc = NULL;
	struct json_issue issue = { .path = "" };
	struct err e = ERR_INIT;
	struct pod *p = NULL;

	assert_non_null(text);
	for (char *c = text; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	if (json_parse(text, strlen(text), &doc, &e) < 0 || codec_pod(doc, &p, &issue) < 0)
		fail_msg("%s: %s%s: %s", text, err_text(&e), issue.path, issue.reason);
	return p;
}

static int make(const char *text, const struct pairs *allocatable, struct environment **ret, struct err *e)
{
	cleanup_pod struct pod *p = pod_of(text);

	return environment_make(p, pod_find_container(p, "c"),
				&(struct environment_options){ .allocatable = allocatable, .find = find }, ret, e);
}

/* "A=1|B=2" */
static char *text_of(const struct environment *env)
{
	struct buf b = BUF_INIT(65536);

	for (size_t i = 0; i < environment_count(env); i++)
		assert_int_equal(buf_printf(&b, "%s%s=%s", i ? "|" : "", environment_name(env, i),
					    environment_value(env, i, NULL)),
				 0);
	return buf_take(&b);
}

static const struct pairs ALLOCATABLE = { .all = (struct label[]){ { (char[]){ "memory" }, (char[]){ "8Gi" } } },
					  .n = 1 };

#define REF(kind, name, key)	  "'valueFrom':{'" kind "':{'name':'" name "','key':'" key "'}}"
#define OPTIONAL(kind, name, key) "'valueFrom':{'" kind "':{'name':'" name "','key':'" key "','optional':true}}"
#define FIELD(path)		  "'valueFrom':{'fieldRef':{'apiVersion':'v1','fieldPath':'" path "'}}"
#define RESOURCE(rest)		  "'valueFrom':{'resourceFieldRef':{" rest "}}"

static void it_is_what_the_kubelet_makes(void **state)
{
	static const char *const CASES[][2] = {
		{ "'image':'i'", "" },
		{ "'env':[],'envFrom':null", "" },
		{ "'env':[{'name':'A','value':'1'},{'name':'B'}]", "A=1|B=" },
		/* the later one wins, in the place of the first */
		{ "'env':[{'name':'A','value':'1'},{'name':'B','value':'2'},{'name':'A','value':'3'}]", "A=3|B=2" },
		/* what stands before it is known, what stands behind it is not */
		{ "'env':[{'name':'A','value':'$(B)'},{'name':'B','value':'2'},{'name':'C','value':'$("
		  "A)$(B)$$("
		  "B)'}]",
		  "A=$(B)|B=2|C=$(B)2$(B)" },
		{ "'env':[{'name':'A','value':'1'},{'name':'A','value':'$(A)2'}]", "A=12" },
		{ "'env':[{'name':'A','value':''},{'name':'B','value':'x$(A)y'}]", "A=|B=xy" },
		/* Secrets and ConfigMaps: their values are not expanded, and can be used */
		{ "'env':[{'name':'USER','value':'x'},{'name':'P'," REF("secretKeyRef", "db",
									"password") "},"
										    "{'name':'Q','value':'<$(P)>'}]",
		  "USER=x|P=$(USER)$|Q=<$(USER)$>" },
		{ "'env':[{'name':'U'," REF("configMapKeyRef", "db", "user") "}]", "U=nobody" },
		{ "'env':[{'name':'E'," REF("secretKeyRef", "db", "empty") "}]", "E=" },
		/* value wins, as long as it is not empty */
		{ "'env':[{'name':'U','value':'v'," REF("secretKeyRef", "none", "user") "}]", "U=v" },
		{ "'env':[{'name':'U','value':''," REF("secretKeyRef", "db", "user") "}]", "U=root" },
		/* what is optional and not there is not set, and leaves alone what was */
		{ "'env':[{'name':'A','value':'1'},{'name':'A'," OPTIONAL(
			  "secretKeyRef", "none",
			  "k") "},"
			       "{'name':'B'," OPTIONAL("secretKeyRef", "db",
						       "none") "},"
							       "{'name':'C'," OPTIONAL(
								       "configMapKeyRef", "none",
								       "k") "},"
									    "{'name':'D'," OPTIONAL(
										    "configMapKeyRef", "db",
										    "none") "},{'name':'E','value':'$("
											    "B)'}]",
		  "A=1|E=$(B)" },
		/* envFrom: before env, the later one wins; keys that are no names are left out */
		{ "'envFrom':[{'configMapRef':{'name':'db'}},{'secretRef':{'name':'db'}}],'env':[{'"
		  "name':'user'"
		  ","
		  "'value':'$(user)!'}]",
		  "HOST=h|user=root!|1st=1|empty=|password=$(USER)$|two-a=2" },
		{ "'envFrom':[{'secretRef':{'name':'db'}},{'configMapRef':{'name':'db'}}]",
		  "1st=1|empty=|password=$(USER)$|two-a=2|user=nobody|HOST=h" },
		{ "'envFrom':[{'prefix':'P_','secretRef':{'name':'db'}}]",
		  "P_1st=1|P_empty=|P_password=$(USER)$|P_two-a=2|P_user=root" },
		{ "'envFrom':[{'secretRef':{'name':'none','optional':true}},{'configMapRef':{'name':'"
		  "none','"
		  "optional':"
		  "true}}]",
		  "" },
		/* the pod itself */
		{ "'env':[{'name':'A'," FIELD("metadata.name") "},{'name':'B'," FIELD(
			  "metadata.namespace") "},{'name':"
						"'C'," FIELD("metadata.uid") "},{'name':'D'," FIELD(
							"spec.nodeName") "},{'name':'E'," FIELD("spec."
												"servic"
												"eAccou"
												"nt"
												"Name") "}]",
		  "A=p|B=ns|C=u-1|D=n1|E=reader" },
		{ "'env':[{'name':'A'," FIELD("status.hostIP") "},{'name':'B'," FIELD(
			  "status.podIP") "},{'name':'C'," FIELD("status.podIPs") "},{'name':'D'"
										  "," FIELD("statu"
											    "s."
											    "hostI"
											    "Ps") "}]",
		  "A=10.0.0.1|B=10.1.0.7|C=10.1.0.7,fd00::7|D=10.0.0.1" },
		{ "'env':[{'name':'A','valueFrom':{'fieldRef':{'fieldPath':\"metadata.labels["
		  "\\u0027app\\u0027]"
		  "\"}}},"
		  "{'name':'B','valueFrom':{'fieldRef':{'fieldPath':\"metadata.annotations[\\u0027Big/"
		  "K\\u0027]\"}}},"
		  "{'name':'C','valueFrom':{'fieldRef':{'fieldPath':\"metadata.labels[\\u0027no\\u0027]"
		  "\"}}}]",
		  "A=web|B=v|C=" },
		{ "'env':[{'name':'A'," RESOURCE("'resource':'limits.cpu'") "},{'name':'B'," RESOURCE(
			  "'resourc"
			  "e':'"
			  "limits."
			  "cpu','"
			  "divisor'"
			  ":'1m'") "},{'name':'C'," RESOURCE("'resource':'requests.memory','divisor':'"
							     "1Mi'") "},{'name':'D'," RESOURCE("'resour"
											       "ce'"
											       ":'"
											       "limits."
											       "cpu','"
											       "contain"
											       "erN"
											       "ame':'"
											       "d','"
											       "divisor"
											       "':"
											       "1") "},"
												    "{'"
												    "na"
												    "me"
												    "'"
												    ":'"
												    "E'"
												    "," RESOURCE(
													    "'resource'"
													    ":'limits."
													    "memory','"
													    "divisor':'"
													    "1Gi'") "}"
														    "]",
		  "A=2|B=1500|C=64|D=3|E=8" },
		/* as newer API servers let them pass */
		{ "'env':[{'name':'a b#','value':'1'}]", "a b#=1" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_environment struct environment *env = NULL;
		cleanup_free char *text = NULL;
		struct err e = ERR_INIT;

		if (make(CASES[i][0], &ALLOCATABLE, &env, &e) < 0)
			fail_msg("%s: %s", CASES[i][0], err_text(&e));
		text = text_of(env);
		if (!str_eq(text, CASES[i][1]))
			fail_msg("%s: is %s, not %s", CASES[i][0], text, CASES[i][1]);
	}
}

static void what_cannot_be_made_says_why(void **state)
{
	static const struct {
		const char *pod;
		int r;
		const char *words;
	} CASES[] = {
		/* the kubelet's words */
		{ "'env':[{'name':'A'," REF("secretKeyRef", "none", "k") "}]", -ENOENT, "secret \"none\" not found" },
		{ "'env':[{'name':'A'," REF("configMapKeyRef", "none", "k") "}]", -ENOENT,
		  "configmap \"none\" not found" },
		{ "'env':[{'name':'A'," REF("secretKeyRef", "db", "none") "}]", -ENOENT,
		  "couldn't find key none in Secret ns/db" },
		{ "'env':[{'name':'A'," REF("configMapKeyRef", "db", "none") "}]", -ENOENT,
		  "couldn't find key none in ConfigMap ns/db" },
		{ "'env':[{'name':'A'," REF("configMapKeyRef", "db", "bytes") "}]", -ENOENT,
		  "couldn't find key bytes in ConfigMap ns/db" },
		{ "'envFrom':[{'secretRef':{'name':'none'}}]", -ENOENT, "secret \"none\" not found" },
		/* that it is optional says nothing of one that is there and may not be read */
		{ "'env':[{'name':'A'," OPTIONAL("secretKeyRef", "forbidden", "k") "}]", -EACCES,
		  "secrets \"forbidden\" is forbidden" },
		{ "'envFrom':[{'secretRef':{'name':'forbidden','optional':true}}]", -EACCES,
		  "secrets \"forbidden\" is forbidden" },
		/* values */
		{ "'env':[{'name':'A'," REF("secretKeyRef", "bad", "nul") "}]", -EINVAL,
		  "variable A: key nul of Secret ns/bad has a NUL byte in it, which no environment can have" },
		{ "'envFrom':[{'prefix':'X_','secretRef':{'name':'bad'}}]", -EINVAL,
		  "variable X_latin: key latin of Secret ns/bad is not UTF-8, which container runtimes refuse; a "
		  "volume can "
		  "show it" },
		{ "'env':[{'name':'A'," REF("secretKeyRef", "bad", "latin") "},{'name':'B','value':'$(A)'},{'name':'A',"
									    "'value':'1'}]",
		  -EINVAL, "variable B: its value is not UTF-8" },
		/* fields and resources */
		{ "'env':[{'name':'A'," FIELD("status.phase") "}]", -EINVAL,
		  "variable A: unsupported fieldPath: status.phase" },
		{ "'env':[{'name':'A'," RESOURCE("'resource':'limits.cpu','containerName':'x'") "}]", -EINVAL,
		  "variable A: container x not found" },
		{ "'env':[{'name':'A'," RESOURCE("'resource':'limits.ephemeral-storage'") "}]", -EAGAIN,
		  "what is allocatable on the node is not known" },
		/* what is no environment */
		{ "'env':{'A':'1'}", -EINVAL, "container c: env: expected an array, found an object" },
		{ "'env':['A']", -EINVAL, "container c: env[0]: must be an object" },
		{ "'env':[{'name':'A'},{'value':'1'}]", -EINVAL,
		  "container c: env[1].name: cannot be a variable's name" },
		{ "'env':[{'name':'A=B'}]", -EINVAL, "container c: env[0].name: cannot be a variable's name" },
		{ "'env':[{'name':'A\\n'}]", -EINVAL, "container c: env[0].name: cannot be a variable's name" },
		{ "'envFrom':[{'prefix':'A=','secretRef':{'name':'db'}}]", -EINVAL,
		  "container c: envFrom[0].prefix: cannot begin a variable's name" },
		{ "'envFrom':[{'prefix':'\xc3\xa9','secretRef':{'name':'db'}}]", -EINVAL,
		  "container c: envFrom[0].prefix: cannot begin a variable's name" },
		{ "'env':[{'name':'A','value':7}]", -EINVAL, "container c: env[0].value: expected a string" },
		{ "'env':[{'name':'A','value':'x\\u0000y'}]", -EINVAL, "container c: env[0].value:" },
		{ "'env':[{'name':'A','valueFrom':{'fileKeyRef':{}}}]", -EINVAL,
		  "container c: env[0].valueFrom: none of fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef" },
		{ "'env':[{'name':'A','valueFrom':{'secretKeyRef':{'name':'db'}}}]", -EINVAL,
		  "container c: env[0].valueFrom.secretKeyRef.key" },
		{ "'envFrom':[{'prefix':'A'}]", -EINVAL,
		  "container c: envFrom[0]: neither configMapRef nor secretRef" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct environment *env = NULL;
		struct err e = ERR_INIT;
		int r = make(CASES[i].pod, NULL, &env, &e);

		if (r != CASES[i].r || !strstr(err_text(&e), CASES[i].words))
			fail_msg("%s: %d: %s", CASES[i].pod, r, err_text(&e));
		assert_null(env);
	}
}

static void an_overwritten_value_may_be_anything(void **state)
{
	cleanup_environment struct environment *env = NULL;

	assert_int_equal(make("'env':[{'name':'A'," REF("secretKeyRef", "bad", "nul") "},{'name':'A','value':'1'}]",
			      NULL, &env, NULL),
			 0);
	assert_string_equal(environment_value(env, 0, NULL), "1");
}

/* As Kubernetes has it since 1.34: nothing is left out any more. */
static void names_are_printable_ascii(void **state)
{
	cleanup_environment struct environment *env = NULL;
	cleanup_free char *text = NULL;

	assert_int_equal(make("'env':[{'name':'a b','value':'1'},{'name':'#(A)','value':'$(a b)$(1st)'}],"
			      "'envFrom':[{'secretRef':{'name':'db'}},{'prefix':'..','configMapRef':{'name':'db'}}]",
			      NULL, &env, NULL),
			 0);
	text = text_of(env);
	assert_string_equal(text,
			    "1st=1|empty=|password=$(USER)$|two-a=2|user=root|..HOST=h|..user=nobody|a b=1|#(A)=11");
}

static void what_looks_like_a_services_is_told(void **state)
{
	static const char *const SERVICES[] = { "KUBERNETES_SERVICE_HOST", "A_SERVICE_PORT", "A_SERVICE_PORT_HTTPS",
						"KUBERNETES_PORT_443_TCP_ADDR", "KUBERNETES_PORT" };
	static const char *const OTHERS[] = {
		"HOST", "PORT", "_PORT", "a_PORT", "A_PORTS", "A_PORT_X", "SERVICE_HOST"
	};
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(SERVICES) + ARRAY_SIZE(OTHERS); i++) {
		bool is_service = i < ARRAY_SIZE(SERVICES);
		const char *name = is_service ? SERVICES[i] : OTHERS[i - ARRAY_SIZE(SERVICES)];
		cleanup_free char *text = str_format("'env':[{'name':'A','value':'x$(%s)$(%s)'}]", name, name);
		cleanup_environment struct environment *env = NULL;
		cleanup_free char *words =
			str_format("variable A: $(%s) stays as it is: it looks like a Service's, and the variables of "
				   "Services are not known here",
				   name);

		assert_int_equal(make(text, NULL, &env, &e), 0);
		if (environment_count_notes(env) != (size_t)is_service)
			fail_msg("%s: %zu notes", name, environment_count_notes(env));
		if (is_service)
			assert_string_equal(environment_note(env, 0), words);
	}
}

static void a_services_variable_that_is_set_is_not_told(void **state)
{
	cleanup_environment struct environment *env = NULL;

	assert_int_equal(make("'env':[{'name':'A_SERVICE_HOST','value':'1'},{'name':'A','value':'$(A_SERVICE_HOST)'},"
			      "{'name':'B','value':'$$(KUBERNETES_PORT)'}]",
			      NULL, &env, NULL),
			 0);
	assert_int_equal(environment_count_notes(env), 0);
}

static void an_address_that_is_not_known_is_an_error(void **state)
{
	static const char text[] =
		"{\"metadata\":{\"namespace\":\"ns\",\"name\":\"p\",\"uid\":\"u\"},\"spec\":{"
		"\"containers\":[{\"name\":\"c\",\"env\":[{\"name\":\"A\",\"valueFrom\":{\"fieldRef\":"
		"{\"fieldPath\":\"status.podIP\"}}}]}]}}";
	struct json_issue issue = { .path = "" };
	cleanup_pod struct pod *p = NULL;
	cleanup_json json_t *doc = NULL;
	struct environment *env = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(json_parse(text, strlen(text), &doc, &e), 0);
	assert_int_equal(codec_pod(doc, &p, &issue), 0);
	assert_int_equal(
		environment_make(p, &p->containers[0], &(struct environment_options){ .find = find }, &env, &e),
		-EAGAIN);
	assert_string_equal(err_text(&e), "variable A: status.podIP of pod ns/p is not known");
}

/* Thirty lines of it are ten gigabytes. */
static void expansion_that_grows_without_end_is_refused(void **state)
{
	cleanup_buf struct buf b = BUF_INIT(65536);
	struct environment *env = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(buf_add_str(&b, "'env':[{'name':'A0','value':'0123456789'}"), 0);
	for (int i = 1; i < 31; i++)
		assert_int_equal(buf_printf(&b, ",{'name':'A%d','value':'$(A%d)$(A%d)'}", i, i - 1, i - 1), 0);
	assert_int_equal(buf_add_str(&b, "]"), 0);
	assert_int_equal(make(b.data, NULL, &env, &e), -E2BIG);
	assert_string_equal(err_text(&e), "the environment would have more than 2097152 bytes");
	/* nor does it help to do it over and over */
	buf_clear(&b);
	assert_int_equal(buf_add_str(&b, "'env':[{'name':'A','value':'0123456789'}"), 0);
	for (int i = 1; i < 31; i++)
		assert_int_equal(buf_add_str(&b, ",{'name':'A','value':'$(A)$(A)'}"), 0);
	assert_int_equal(buf_add_str(&b, "]"), 0);
	assert_int_equal(make(b.data, NULL, &env, &e), -E2BIG);
}

/* env or envFrom with this element n times */
static int make_many(const char *list, const char *element, unsigned n, struct err *e)
{
	cleanup_environment struct environment *env = NULL;
	cleanup_buf struct buf b = BUF_INIT((size_t)16 << 20);

	assert_int_equal(buf_printf(&b, "'%s':[", list), 0);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(buf_printf(&b, "%s%s", i ? "," : "", element), 0);
	assert_int_equal(buf_add_str(&b, "]"), 0);
	return make(b.data, NULL, &env, e);
}

static void medium_values_are_too_large_together(void **state)
{
	cleanup_buf struct buf element = BUF_INIT(65536);
	struct err e = ERR_INIT;

	assert_int_equal(buf_printf(&element, "{'name':'A','value':'%032767d'}", 0), 0);
	assert_int_equal(make_many("env", element.data, 64, &e), 0);
	assert_int_equal(make_many("env", element.data, 65, &e), -E2BIG);
	assert_string_equal(err_text(&e), "the environment would have more than 2097152 bytes");
}

static void names_count_as_well(void **state)
{
	cleanup_buf struct buf element = BUF_INIT(65536);
	struct err e = ERR_INIT;

	assert_int_equal(buf_printf(&element, "{'name':'A%032767d'}", 0), 0);
	assert_int_equal(make_many("env", element.data, 64, &e), 0);
	assert_int_equal(make_many("env", element.data, 65, &e), -E2BIG);
	assert_string_equal(err_text(&e), "the environment would have more than 2097152 bytes");
}

static void one_object_over_and_over_is_refused(void **state)
{
	static const char ELEMENT[] = "{'prefix':'P_','configMapRef':{'name':'db'}}";
	struct err e = ERR_INIT;

	assert_int_equal(make_many("envFrom", ELEMENT, 1024, &e), 0);
	assert_int_equal(make_many("envFrom", ELEMENT, 1025, &e), -E2BIG);
	assert_string_equal(err_text(&e), "container c: envFrom has more than 1024 elements");
	assert_int_equal(make_many("env", "{'name':'A'}", 65536, &e), 0);
	assert_int_equal(make_many("env", "{'name':'A'}", 65537, &e), -E2BIG);
	assert_string_equal(err_text(&e), "container c: env has more than 65536 elements");
	assert_int_equal(make_many("envFrom", "{'prefix':'P_','configMapRef':{'name':'wide'}}", 128, &e), 0);
	assert_int_equal(make_many("envFrom", "{'prefix':'P_','configMapRef':{'name':'wide'}}", 129, &e), -E2BIG);
	assert_string_equal(err_text(&e), "the objects of envFrom would have more than 131072 keys");
}

static int note_reference(void *userdata, enum object_kind kind, const char *name, struct err *e)
{
	return buf_printf(userdata, "%s/%s ", object_kind_word(kind), name);
}

static void references_are_told_in_their_order(void **state)
{
	cleanup_pod struct pod *p = pod_of(
		"'envFrom':[{'configMapRef':{'name':'a'}},{'secretRef':{'name':'b'}}],'env':["
		"{'name':'A'," REF("secretKeyRef", "c", "k") "},{'name':'B','value':'x'," REF(
			"secretKeyRef", "d", "k") "},{'name':'C'," FIELD("metadata.name") "},{'name':"
											  "'D'," REF("configMapKeyRef",
												     "a", "k") "}]");
	cleanup_buf struct buf b = BUF_INIT(1024);

	assert_int_equal(environment_refer(pod_find_container(p, "c"), note_reference, &b, NULL), 0);
	assert_string_equal(b.data, "configmap/a secret/b secret/c configmap/a ");
	buf_clear(&b);
	assert_int_equal(environment_refer(pod_find_container(p, "d"), note_reference, &b, NULL), 0);
	assert_int_equal(b.len, 0);
}

static void it_is_an_oci_environment(void **state)
{
	cleanup_environment struct environment *env = NULL;
	cleanup_json json_t *json = NULL, *expected = json_pack("[s, s]", "A=x=y\n%s", "B=");

	assert_int_equal(make("'env':[{'name':'A','value':'x=y\\n%s'},{'name':'B'}]", NULL, &env, NULL), 0);
	json = environment_json(env);
	assert_true(json_equal(json, expected));
}

/* ---- paths ---- */

static void paths_are_made_of_what_is_no_secret(void **state)
{
	static const struct {
		const char *pod, *expr, *path, *words;
	} CASES[] = {
		{ "'env':[{'name':'A'," FIELD("metadata.name") "}]", "$(A)/x", "p/x", NULL },
		{ "'env':[{'name':'A'," REF("configMapKeyRef", "db", "HOST") "}]", "$(A)", "h", NULL },
		{ "'envFrom':[{'configMapRef':{'name':'db'}}]", "$(HOST)-$(user)", "h-nobody", NULL },
		{ "'env':[{'name':'A','value':'1'}]", "$$(A)", "$(A)", NULL },
		/* the kubelet's words */
		{ "'env':[{'name':'A','value':''}]", "$(A)$(B)", NULL, "missing value for A, B" },
		/* a Secret's */
		{ "'env':[{'name':'A'," REF("secretKeyRef", "db", "user") "}]", "x$(A)", NULL,
		  "A may come from a Secret" },
		{ "'env':[{'name':'A'," OPTIONAL("secretKeyRef", "db", "none") "}]", "x$(A)", NULL,
		  "A may come from a Secret" },
		{ "'env':[{'name':'A'," REF("secretKeyRef", "db", "user") "},{'name':'B','value':'-$(A)-'}]", "$(B)",
		  NULL, "B may come from a Secret" },
		{ "'env':[{'name':'A'," REF("secretKeyRef", "db", "user") "},{'name':'A','value':'1'}]", "$(A)", "1",
		  NULL },
		/* nobody knows what is in it */
		{ "'envFrom':[{'configMapRef':{'name':'db'}},{'secretRef':{'name':'db'}}]", "$(HOST)", NULL,
		  "HOST may come from a Secret" },
		{ "'envFrom':[{'secretRef':{'name':'db'}}]", "$(X)", NULL, "X may come from a Secret" },
		{ "'envFrom':[{'secretRef':{'name':'db'}}],'env':[{'name':'B','value':'$(X)'}]", "$(B)", NULL,
		  "B may come from a Secret" },
		{ "'envFrom':[{'secretRef':{'name':'db'}},{'configMapRef':{'name':'db'}}],'env':[{'name':'B','value':"
		  "'1'}]",
		  "$(HOST)$(B)", "h1", NULL },
		/* but that its names have its prefix */
		{ "'envFrom':[{'configMapRef':{'name':'db'}},{'prefix':'P_','secretRef':{'name':'db'}}]", "$(HOST)",
		  "h", NULL },
		{ "'envFrom':[{'configMapRef':{'name':'db'}},{'prefix':'HO','secretRef':{'name':'db'}}]", "$(HOST)",
		  NULL, "HOST may come from a Secret" },
		{ "'envFrom':[{'prefix':'P_','secretRef':{'name':'db'}}]", "$(P_X)", NULL,
		  "P_X may come from a Secret" },
		{ "'envFrom':[{'prefix':'P_','secretRef':{'name':'db'}}]", "$(P)", NULL, "missing value for P" },
	};

	secrets_are_hidden = true;
	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_environment struct environment *env = NULL;
		cleanup_buf struct buf out = BUF_INIT(1024);
		struct err e = ERR_INIT;
		int r;

		assert_int_equal(make(CASES[i].pod, NULL, &env, NULL), 0);
		r = environment_expand_path(env, CASES[i].expr, &out, &e);
		if (r != (CASES[i].path ? 0 : -EINVAL) || (CASES[i].words && !strstr(err_text(&e), CASES[i].words)) ||
		    (CASES[i].path && !str_eq(out.data, CASES[i].path)))
			fail_msg("%s, %s: %d: %s %s", CASES[i].pod, CASES[i].expr, r, err_text(&e), out.data ?: "");
	}
	secrets_are_hidden = false;
}

/* n prefixes, and the first one once more */
static int make_prefixes(int n, struct err *e)
{
	cleanup_buf struct buf b = BUF_INIT((size_t)1 << 20);
	cleanup_environment struct environment *env = NULL;

	assert_int_equal(buf_add_str(&b, "'envFrom':["), 0);
	for (int i = 0; i < n; i++)
		assert_int_equal(buf_printf(&b, "{'prefix':'P%d_','secretRef':{'name':'db'}},", i), 0);
	assert_int_equal(buf_add_str(&b, "{'prefix':'P0_','secretRef':{'name':'db'}}]"), 0);
	return make(b.data, NULL, &env, e);
}

/* Each reference is compared with all of them. */
static void there_are_only_so_many_prefixes(void **state)
{
	struct err e = ERR_INIT;

	secrets_are_hidden = true;
	assert_int_equal(make_prefixes(256, &e), 0);
	assert_int_equal(make_prefixes(257, &e), -E2BIG);
	assert_string_equal(err_text(&e), "the Secrets of envFrom would have more than 256 prefixes");
	secrets_are_hidden = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_what_the_kubelet_makes),
		cmocka_unit_test(what_cannot_be_made_says_why),
		cmocka_unit_test(an_overwritten_value_may_be_anything),
		cmocka_unit_test(names_are_printable_ascii),
		cmocka_unit_test(what_looks_like_a_services_is_told),
		cmocka_unit_test(a_services_variable_that_is_set_is_not_told),
		cmocka_unit_test(an_address_that_is_not_known_is_an_error),
		cmocka_unit_test(expansion_that_grows_without_end_is_refused),
		cmocka_unit_test(medium_values_are_too_large_together),
		cmocka_unit_test(names_count_as_well),
		cmocka_unit_test(one_object_over_and_over_is_refused),
		cmocka_unit_test(references_are_told_in_their_order),
		cmocka_unit_test(it_is_an_oci_environment),
		cmocka_unit_test(paths_are_made_of_what_is_no_secret),
		cmocka_unit_test(there_are_only_so_many_prefixes),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
