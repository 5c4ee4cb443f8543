/* for scan-build: NULL is followed */
#include <stddef.h>

int planted(const int *p);
int planted(const int *p)
{
	int r = 0;

	if (p == NULL)
		r = 1;
	return r + *p;
}
