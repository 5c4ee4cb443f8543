/* Replay: runs each file of a folder through a harness and says so in TAP. It needs no libFuzzer, so that every build has
 * these inputs as tests.
 *
 *     fuzz_NAME FOLDER|FILE...
 *
 * An input may take INPUT_SEC; a crash ends the process, whose last line then names the input. */
#include "test/fuzz/fuzz.h"

#include <dirent.h>
#include <err.h>
#include <signal.h>
#include <sys/stat.h>

enum { INPUT_SEC = 20, INPUT_BYTES_MAX = 64 << 20 };

static void too_slow(int signal_number)
{
	static const char text[] = "# an input takes too long\n";

	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(2);
	abort();
}

static void replay(const char *path, unsigned n)
{
	const char *name = strrchr(path, '/');
	struct stat st;
	uint8_t *exact;
	FILE *f;

	name = name ? name + 1 : path;
	printf("# %u: %s\n", n, name);
	fflush(stdout);
	f = fopen(path, "re");
	if (!f || fstat(fileno(f), &st) < 0 || st.st_size > INPUT_BYTES_MAX)
		err(1, "%s", path);
	/* no byte more than there is: a read past the end is seen */
	exact = malloc((size_t)st.st_size);
	if ((!exact && st.st_size > 0) || fread(exact, 1, (size_t)st.st_size, f) != (size_t)st.st_size)
		err(1, "%s", path);
	fclose(f);
	alarm(INPUT_SEC);
	LLVMFuzzerTestOneInput(exact, (size_t)st.st_size);
	alarm(0);
	free(exact);
	printf("ok %u - %s\n", n, name);
	fflush(stdout);
}

static int is_input(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

static unsigned replay_folder(const char *folder, unsigned n)
{
	struct dirent **entries = NULL;
	int n_entries = scandir(folder, &entries, is_input, alphasort);

	if (n_entries < 0)
		err(1, "%s", folder);
	for (int i = 0; i < n_entries; i++) {
		char path[PATH_MAX];

		if (snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name) >= (int)sizeof(path))
			errx(1, "%s: name too long", folder);
		replay(path, ++n);
		free(entries[i]);
	}
	free(entries);
	return n;
}

int main(int argc, char **argv)
{
	unsigned n = 0;

	signal(SIGALRM, too_slow);
	for (int i = 1; i < argc; i++) {
		struct stat st;

		if (stat(argv[i], &st) < 0)
			err(1, "%s", argv[i]);
		if (S_ISDIR(st.st_mode))
			n = replay_folder(argv[i], n);
		else
			replay(argv[i], ++n);
	}
	if (n == 0)
		errx(1, "there are no inputs");
	printf("1..%u\n", n);
	return 0;
}
