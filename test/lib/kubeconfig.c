/* Kubeconfig: the smallest that is one. */
#include "test/lib/kubeconfig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/file.h"
#include "common/str.h"

void kubeconfig_write(const char *path, const char *url, const char *cluster, const char *user)
{
	cleanup_free char *text = str_format("apiVersion: v1\nkind: Config\ncurrent-context: c\n"
					     "contexts: [{name: c, context: {cluster: k, user: u}}]\n"
					     "clusters: [{name: k, cluster: {server: \"%s\"%s}}]\n"
					     "users: [{name: u, user: {%s}}]\n",
					     url, cluster, user);
	struct err e = ERR_INIT;

	assert_non_null(text);
	if (file_write_atomic(path, text, strlen(text), 0600, &e) < 0)
		fail_msg("%s", err_text(&e));
}
