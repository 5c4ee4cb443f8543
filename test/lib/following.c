#include "test/lib/following.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/json.h"
#include "common/log.h"
#include "common/secmem.h"
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

void following_ignores_pod(void *userdata, struct pod *pod)
{
}

void following_ignores_uid(void *userdata, const char *uid)
{
}
