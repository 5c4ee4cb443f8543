/* Files: what being on the list means, the same for whoever opens them. */
#include "agent/files.h"

#include "common/str.h"

bool files_is_beneath(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	while (len > 0 && dir[len - 1] == '/')
		len--;
	return strncmp(path, dir, len) == 0 && path[len] == '/' && path[len + 1] && !str_has_dotdot(path + len);
}
