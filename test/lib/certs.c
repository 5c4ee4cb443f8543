/* Certificates by openssl(1): making them with a library would need one more just for tests. EC keys, because they are
 * made in no time. */
#include "test/lib/certs.h"

#include <spawn.h>
#include <sys/wait.h>

static const char script[] =
	"set -eu; exec >/dev/null 2>&1; cd \"$1\"\n"
	"new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'\n"
	"ca() { openssl req -x509 $new -keyout \"$1.key\" -out \"$1.crt\" -subj \"/CN=$1\" -days 1; }\n"
	"sign() {\n"
	"	openssl req $new -keyout \"$1.key\" -out \"$1.csr\" -subj \"$2\"\n"
	"	printf 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\\n' >\"$1.ext\"\n"
	"	openssl x509 -req -in \"$1.csr\" -CA \"$3.crt\" -CAkey \"$3.key\" -CAcreateserial -out \"$1.crt\" "
	"-days 1 \\\n"
	"		-extfile \"$1.ext\"\n"
	"	rm \"$1.csr\" \"$1.ext\"\n"
	"}\n"
	"ca ca; ca other-ca\n"
	"sign server /CN=kube-apiserver ca\n"
	"sign node-1 /O=system:nodes/CN=system:node:node-1 ca\n"
	"sign node-2 /O=system:nodes/CN=system:node:node-2 ca\n"
	"sign admin /O=system:masters/CN=admin ca\n"
	"sign stranger /O=system:masters/CN=admin other-ca\n";

int certs_make(const char *dir, struct err *e)
{
	char *argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, strdup(script), (char[]){ "sh" }, strdup(dir), NULL };
	int r = -ENOMEM, status;
	pid_t pid;

	if (argv[2] && argv[4])
		r = -posix_spawnp(&pid, "sh", NULL, NULL, argv, environ);
	free(argv[2]);
	free(argv[4]);
	if (r < 0)
		return err_set(e, r, "run sh: %s", strerror(-r));
	if (waitpid(pid, &status, 0) < 0)
		return err_set(e, -errno, "wait for openssl: %m");
	if (status != 0)
		return err_set(e, -EIO, "openssl did not make the certificates in %s (status %d)", dir, status);
	return 0;
}
