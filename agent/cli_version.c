/* secretlet version */

#include "agent/cli.h"
#include "common/version.h"

int cli_version(const struct options *o, char *const *words)
{
	puts("secretlet " SECRETLET_VERSION);
	return CLI_OK;
}
