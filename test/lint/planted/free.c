/* for gcc -fanalyzer: freed twice */
#include <stdlib.h>

void planted(int a);
void planted(int a)
{
	char *p = malloc(10);

	if (a)
		free(p);
	free(p);
}
