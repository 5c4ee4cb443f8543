#include "test/lib/following.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/json.h"
#include "common/log.h"
#include "common/secmem.h"
#include "common/str.h"
#include "test/lib/kubeconfig.h"

void following_init(size_t secret_bytes)
{
	struct err e = ERR_INIT;

	json_setup();
	log_init("test", LOG_LEVEL_ERROR);
	if (secmem_init(secret_bytes, &e) == 0)
		return;
	fprintf(stderr, "%s\n", err_text(&e));
	exit(1);
}

void following_setup(const char *name, char ret_kubeconfig[static FOLLOWING_PATH_MAX], struct loop **ret_loop,
		     struct files **ret_files, struct apiserver **ret_server)
{
	struct err e = ERR_INIT;
	int fd;

	snprintf(ret_kubeconfig, FOLLOWING_PATH_MAX, "/tmp/%s.XXXXXX", name);
	fd = mkstemp(ret_kubeconfig);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(loop_new(ret_loop), 0);
	assert_int_equal(files_direct_new(*ret_loop, ret_files), 0);
	if (apiserver_start(&(struct apiserver_options){ .port = 0 }, ret_server, &e) < 0)
		fail_msg("%s", err_text(&e));
	kubeconfig_write(ret_kubeconfig, apiserver_url(*ret_server), "", "");
}

struct source *following_start(struct loop *l, struct files *files, const struct source_api_options *options,
			       const struct source_sink *sink, void *userdata)
{
	struct source *source = NULL;
	struct err e = ERR_INIT;

	if (source_api_new(l, files, options, sink, userdata, &source, &e) < 0 || source_start(source, &e) < 0)
		fail_msg("%s", err_text(&e));
	return source;
}

void following_teardown(struct source *source, struct apiserver *server, struct files *files, struct loop *l,
			const char *kubeconfig)
{
	source_free(source);
	if (server)
		apiserver_stop(server);
	files_free(files);
	loop_free(l);
	unlink(kubeconfig);
}

void following_put_secret(struct apiserver *server, const char *name, const char *value, bool immutable)
{
	cleanup_free char *text =
		str_format("{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"namespace\":\"ns\","
			   "\"name\":\"%s\"},\"immutable\":%s,\"stringData\":{\"k\":\"%s\"}}",
			   name, immutable ? "true" : "false", value);

	apiserver_put_text(server, text);
}

void following_put_pod(struct apiserver *server, const char *name)
{
	cleanup_free char *text = str_format(
		"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"%s\"},"
		"\"spec\":{\"nodeName\":\"node-1\"}}",
		name);

	apiserver_put_text(server, text);
}

void following_give_tokens(struct apiserver *server, const char *expires)
{
	cleanup_free char *answer = str_format(
		"{\"kind\":\"TokenRequest\",\"spec\":{\"expirationSeconds\":3600},\"status\":{\"token\":\"t\","
		"\"expirationTimestamp\":\"%s\"}}",
		expires);

	apiserver_fail(server, FOLLOWING_TOKEN_PATH, 201, answer, -1, -1);
}

struct source_health following_health(const struct source *source)
{
	struct source_health h;

	source_health(source, &h);
	return h;
}

void following_ignores_pod(void *userdata, struct pod *pod)
{
}

void following_ignores_uid(void *userdata, const char *uid)
{
}
