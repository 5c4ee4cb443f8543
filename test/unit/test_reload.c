/* Reload: when the file is read, and what is done about it. */
#include "agent/reload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <sys/mman.h>

#include "common/log.h"

static struct fake {
	struct files files;
	files_open_fn fn;
	void *fn_userdata;
	unsigned n_opened;
} fake;

static int fake_allow(struct files *f, const char *path)
{
	return 0;
}

static int fake_open(struct files *f, const char *path, files_open_fn fn, void *userdata)
{
	assert_null(fake.fn); /* one at a time */
	fake.fn = fn;
	fake.fn_userdata = userdata;
	fake.n_opened++;
	return 0;
}

static void fake_cancel(struct files *f, void *userdata)
{
	fake.fn = NULL;
}

static const struct files_vtable FILES = { .allow_file = fake_allow, .open = fake_open, .cancel = fake_cancel };

static struct source_tuning tuned;
static unsigned n_tuned, n_reread, n_done;
static int last_done;

static void fake_tune(struct source *s, const struct source_tuning *tuning)
{
	tuned = *tuning;
	n_tuned++;
}

static void fake_reread(struct source *s)
{
	n_reread++;
}

static const struct source_vtable SOURCE = { .tune = fake_tune, .reread = fake_reread };
static struct source source = { .vtable = &SOURCE };

static int parse(void *userdata, const char *path, const char *text, size_t len, struct config **ret_c, struct err *e)
{
	cleanup_config struct config *c = NULL;
	int r;

	assert_int_equal(config_new(&c), 0);
	r = config_parse(c, path, text, len, e);
	if (r < 0)
		return r;
	*ret_c = TAKE_PTR(c);
	return 0;
}

static void on_done(void *userdata, int log_level_or_error, const struct source_tuning *tuning)
{
	n_done++;
	last_done = log_level_or_error;
}

struct world {
	struct config *config;
	struct reload *r;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	fake = (struct fake){ .files = { .vtable = &FILES } };
	n_tuned = n_reread = n_done = 0;
	assert_int_equal(config_new(&w->config), 0);
	assert_int_equal(reload_new(&fake.files, w->config, parse, NULL, on_done, NULL, &w->r), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	reload_free(w->r);
	config_free(w->config);
	assert_null(fake.fn);
	free(w);
	return 0;
}

/* The file is opened, with this strategy in it; NULL: it cannot be. */
static void opened(const char *strategy)
{
	files_open_fn fn = fake.fn;
	int fd;

	assert_non_null(fn);
	fake.fn = NULL;
	if (!strategy) {
		fn(fake.fn_userdata, -1, -ENOENT);
		return;
	}
	fd = memfd_create("config", MFD_CLOEXEC);
	assert_true(fd >= 0);
	dprintf(fd,
		"apiVersion: " CONFIG_API_VERSION "\nkind: " CONFIG_KIND
		"\nconfigMapAndSecretChangeDetectionStrategy: %s\n",
		strategy);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	fn(fake.fn_userdata, fd, 0);
}

static void file_is_read_and_the_source_is_tuned(void **state)
{
	struct world *w = *state;

	reload_begin(w->r, &source);
	assert_int_equal(n_done, 0);
	opened("Get");
	assert_int_equal(n_tuned, 1);
	assert_int_equal(tuned.strategy, SOURCE_GET);
	assert_int_equal(n_reread, 1);
	assert_int_equal(n_done, 1);
	assert_int_equal(last_done, LOG_LEVEL_INFO);
}

static void wrong_or_missing_file_changes_nothing(void **state)
{
	struct world *w = *state;

	reload_begin(w->r, &source);
	opened("Sometimes");
	assert_int_equal(last_done, -EINVAL);
	reload_begin(w->r, &source);
	opened(NULL);
	assert_int_equal(last_done, -ENOENT);
	assert_int_equal(n_done, 2);
	assert_int_equal(n_tuned, 0);
	assert_int_equal(n_reread, 0);
}

/* It may have been opened before it was changed. */
static void file_is_read_once_more_behind_one_that_runs(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 10; i++)
		reload_begin(w->r, &source);
	assert_int_equal(fake.n_opened, 1);
	opened("Get");
	assert_int_equal(fake.n_opened, 2);
	assert_int_equal(n_done, 0);
	opened("Cache");
	assert_int_equal(tuned.strategy, SOURCE_CACHE);
	assert_int_equal(n_done, 1);
	assert_int_equal(fake.n_opened, 2);
}

static void end_comes_before_the_file(void **state)
{
	struct world *w = *state;

	reload_begin(w->r, &source);
}

#define with_world(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		with_world(file_is_read_and_the_source_is_tuned),
		with_world(wrong_or_missing_file_changes_nothing),
		with_world(file_is_read_once_more_behind_one_that_runs),
		with_world(end_comes_before_the_file),
	};

	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
