#include "test/lib/valgrind.h"

#include <stdlib.h>
#include <string.h>

/* its tools bring their malloc() with them */
bool under_valgrind(void)
{
	const char *preloaded = getenv("LD_PRELOAD");

	return preloaded && strstr(preloaded, "vgpreload");
}
