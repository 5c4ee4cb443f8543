/* main: what every process of secretlet needs before it does anything else. The command line is cli.c's. */

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>

#include "agent/cli.h"
#include "common/base.h"
#include "common/json.h"

#define STACK_WIPED ((size_t)64 << 10)

/* 0, 1 and 2 are open from here on: no file or socket can get one of these numbers and be written to as stdout. */
static int std_fds_open(void)
{
	for (int std = STDIN_FILENO; std <= STDERR_FILENO; std++) {
		if (fcntl(std, F_GETFD) >= 0)
			continue;
		if (open("/dev/null", O_RDWR) != std) /* the lowest free number */
			return -EBADF;
	}
	return 0;
}

int main(int argc, char **argv)
{
	int status;

	if (std_fds_open() < 0 || sodium_init() < 0)
		return CLI_FAILED;
	umask(0077);
	json_setup();
	status = cli_main(argc, argv);
	/* of a command that has read Secrets nothing is left when it ends */
	sodium_stackzero(STACK_WIPED);
	return status;
}
