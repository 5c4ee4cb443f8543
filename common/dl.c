#include "common/dl.h"

#include <dlfcn.h>

#include "common/log.h"

int dl_load(struct dl *lib, struct err *e)
{
	const char *why;

	if (lib->handle)
		return 0;
	lib->handle = dlopen(lib->name, RTLD_NOW | RTLD_LOCAL);
	if (lib->handle)
		return 0;
	why = dlerror(); /* "libcurl.so.4: cannot open shared object file: No such file or directory" */
	return err_set(e, -ELIBACC, "load a library: %s", why ? why : lib->name);
}

void *dl_symbol(struct dl *lib, const char *symbol)
{
	struct err e = ERR_INIT;
	void *p = NULL;

	if (dl_load(lib, &e) == 0) {
		p = dlsym(lib->handle, symbol);
		if (!p)
			err_set(&e, -ELIBBAD, "%s has no function %s: it is of another version", lib->name, symbol);
	}
	if (!p) {
		log_error(NULL, "%s", err_text(&e));
		_exit(EXIT_FAILURE);
	}
	return p;
}
