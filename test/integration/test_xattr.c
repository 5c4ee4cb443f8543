/* Extended attributes on a really mounted tree: what files and folders say of themselves, to whom, what it costs; and that
 * reading costs nothing because of them. */
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <cmocka.h>

#include <linux/fuse.h>

#include "common/str.h"
#include "test/lib/look.h"
#include "test/lib/rig.h"

#define PLUGIN	"kubernetes.io~secret"
#define PREFIX	"user.secretlet."
#define VERSION PREFIX "resourceVersion"
#define UID	PREFIX "uid"
#define UPDATED PREFIX "updated"
#define ERROR	PREFIX "error"

static struct rig *rig;

static int setup(void **state)
{
	rig = rig_new(NULL);
	return 0;
}

static int teardown(void **state)
{
	rig_free(rig);
	return 0;
}

/* --- volumes --- */

struct file {
	const char *path, *text;
	unsigned origin; /* 1 + place in origins */
	mode_t mode; /* 0: 0644 */
};

struct content {
	struct origin origins[6]; /* up to the first without an object */
	struct file files[40]; /* up to the first without a path; in the order of their origins */
	bool live, flat;
};

struct make_call {
	const struct content *content;
	struct payload *payload;
};

static void add_file(struct payload *p, const struct file *file)
{
	size_t len = strlen(file->text);
	cleanup_secblock struct secblock *b = NULL;
	struct digest digest = digest_of(file->text, len);
	struct secspan span = { .len = len };

	if (secblock_new(len, &b, NULL) < 0)
		abort();
	memcpy(b->data, file->text, len);
	span.block = b;
	if (payload_add(p, file->path, &span, &digest, file->mode ?: 0644, NULL) < 0)
		abort();
}

static void make_payload(struct rig *r, void *arg)
{
	struct make_call *c = arg;
	const struct file *file = c->content->files;

	if (payload_new(&c->payload) < 0)
		abort();
	for (; file->path && file->origin == 0; file++)
		add_file(c->payload, file);
	for (unsigned i = 0; c->content->origins[i].object; i++) {
		const struct origin *o = &c->content->origins[i];

		if (payload_add_origin(c->payload, o->object, o->uid, o->resource_version) < 0)
			abort();
		for (; file->path && file->origin == i + 1; file++)
			add_file(c->payload, file);
	}
	if (c->content->live)
		payload_set_live(c->payload);
	if (c->content->flat)
		payload_set_flat(c->payload);
	if (payload_seal(c->payload, NULL) < 0)
		abort();
}

static struct rig_result publish(const char *uid, const struct content *content)
{
	struct make_call c = { .content = content };
	struct rig_result res;

	rig_call(rig, make_payload, &c);
	if (rig_publish(rig, uid, "v", c.payload, &res) < 0)
		fail_msg("%s", res.error);
	return res;
}

/* A volume of one Secret with one key. */
static struct rig_result publish_one(const char *uid, const char *version, const char *text)
{
	return publish(uid, &(struct content){ .origins = { { "secret/db", "uid-of-db", version } },
					       .files = { { "key", text, 1 } } });
}

static const char *path(const char *uid, const char *rest)
{
	return rig_path(rig, uid, "v", rest);
}

/* --- questions --- */

/* The attribute, or why there is none; valid until the fourth call after it. */
static const char *ask(const char *at, const char *name)
{
	static char texts[4][70000];
	static unsigned next;
	char *text = texts[next++ % ARRAY_SIZE(texts)];
	ssize_t n = getxattr(at, name, text, sizeof(texts[0]) - 1);

	if (n < 0)
		return strerrorname_np(errno);
	text[n] = 0;
	return text;
}

static const char *ask_fd(int fd, const char *name)
{
	static char text[1024];
	ssize_t n = fgetxattr(fd, name, text, sizeof(text) - 1);

	if (n < 0)
		return strerrorname_np(errno);
	text[n] = 0;
	return text;
}

/* "resourceVersion updated ": the names without their prefix. */
static const char *list(const char *at)
{
	static char shown[4096];
	char names[4096];
	ssize_t n = listxattr(at, names, sizeof names);
	size_t len = 0;

	if (n < 0)
		return strerrorname_np(errno);
	shown[0] = 0;
	for (const char *s = names; s < names + n; s += strlen(s) + 1) {
		assert_true(str_starts(s, PREFIX));
		len += (size_t)snprintf(shown + len, sizeof shown - len, "%s ", s + strlen(PREFIX));
	}
	return shown;
}

struct error_call {
	const char *uid, *error;
};

static void set_error_fn(struct rig *r, void *arg)
{
	const struct error_call *c = arg;

	publish_set_error(rig_publisher(r), &(struct volume_path){ c->uid, PLUGIN, "v" }, c->error);
}

static void set_error(const char *uid, const char *error)
{
	rig_call(rig, set_error_fn, &(struct error_call){ uid, error });
}

/* --- what is said --- */

static void files_and_folders_say_what_they_are_of(void **state)
{
	static const char *const places[] = { NULL, "..data", "dir", "dir/sub", "key", "dir/sub/other", "..data/key" };
	char updated[STR_TIME_MAX];
	struct rig_result res;

	res = publish("one", &(struct content){ .origins = { { "secret/db", "uid-of-db", "4711" } },
						.files = { { "key", "x", 1 }, { "dir/sub/other", "y", 1 } } });
	str_format_time_usec(res.realtime_usec, updated);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		const char *at = path("one", places[i]);

		assert_string_equal(ask(at, VERSION), "4711");
		assert_string_equal(ask(at, UID), "uid-of-db");
		assert_string_equal(ask(at, UPDATED), updated);
		assert_string_equal(ask(at, ERROR), "ENODATA");
		assert_string_equal(list(at), "resourceVersion uid updated ");
	}
	assert_int_equal(strlen(updated), strlen("2026-11-22T02:52:48.110488Z"));
}

static void a_volume_of_several_objects_names_them(void **state)
{
	publish("several", &(struct content){ .origins = { { "serviceAccountToken/", "", "" },
							   { "configMap/ca", "uid-of-ca", "12" },
							   { "secret/db", "uid-of-db", "4711" },
							   { "secret/none", "", "" },
							   { "pod/web", "uid-of-web", "" } },
					      .files = { { "token", "t", 1 },
							 { "ca.crt", "c", 2 },
							 { "key", "k", 3 },
							 { "labels", "l", 5 } } });
	for (int i = 0; i < 2; i++) {
		const char *at = path("several", i ? "..data" : NULL);

		assert_string_equal(ask(at, VERSION), "configMap/ca=12,secret/db=4711");
		assert_string_equal(ask(at, UID), "configMap/ca=uid-of-ca,secret/db=uid-of-db,pod/web=uid-of-web");
	}
	assert_string_equal(ask(path("several", "key"), VERSION), "4711");
	assert_string_equal(ask(path("several", "key"), UID), "uid-of-db");
	assert_string_equal(ask(path("several", "ca.crt"), VERSION), "12");
	assert_string_equal(ask(path("several", "labels"), VERSION), "ENODATA");
	assert_string_equal(ask(path("several", "labels"), UID), "uid-of-web");
	assert_string_equal(list(path("several", "labels")), "uid updated ");
	assert_string_equal(list(path("several", "token")), "updated ");
}

static void what_nobody_has_said_is_not_known(void **state)
{
	publish("unsaid", &(struct content){ .files = { { "key", "x" } } });
	assert_string_equal(list(path("unsaid", NULL)), "updated ");
	assert_string_equal(list(path("unsaid", "key")), "updated ");
	assert_string_equal(ask(path("unsaid", "key"), VERSION), "ENODATA");
	/* an object that is optional and not there */
	publish("absent", &(struct content){ .origins = { { "secret/db", "", "" } } });
	assert_string_equal(list(path("absent", NULL)), "updated ");
}

static void outside_of_volumes_there_is_nothing(void **state)
{
	char at[4096];

	publish_one("outside", "1", "x");
	snprintf(at, sizeof at, "%s", path("outside", NULL));
	while (strlen(at) > strlen(rig_dir(rig))) {
		*strrchr(at, '/') = 0;
		assert_string_equal(list(at), "");
		assert_string_equal(ask(at, VERSION), "ENODATA");
		assert_string_equal(ask(at, ERROR), "ENODATA");
	}
}

static void other_names_are_not_there(void **state)
{
	static const struct {
		const char *name, *why;
	} others[] = {
		{ "user.other", "ENODATA" },
		{ PREFIX "", "ENODATA" },
		{ PREFIX "resourceVersio", "ENODATA" },
		{ VERSION "s", "ENODATA" },
		{ PREFIX "RESOURCEVERSION", "ENODATA" },
		{ "security.capability", "EOPNOTSUPP" },
		{ "security.selinux", "EOPNOTSUPP" },
		{ "system.posix_acl_access", "EOPNOTSUPP" },
		{ "system.posix_acl_default", "EOPNOTSUPP" },
		{ "trusted.x", "EOPNOTSUPP" },
		{ "secretlet.resourceVersion", "EOPNOTSUPP" },
	};

	publish_one("names", "1", "x");
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		for (int j = 0; j < 2; j++)
			if (strcmp(ask(path("names", j ? "key" : NULL), others[i].name), others[i].why) != 0)
				fail_msg("%s: %s", others[i].name, ask(path("names", "key"), others[i].name));
}

static void sizes_are_taken_as_xattr_7_has_it(void **state)
{
	const char *at;
	char buf[4096];
	ssize_t n;

	publish_one("sizes", "123456", "x");
	at = path("sizes", "key");
	assert_int_equal(getxattr(at, VERSION, NULL, 0), 6);
	assert_int_equal(getxattr(at, VERSION, buf, 6), 6);
	assert_int_equal(getxattr(at, VERSION, buf, 5), -1);
	assert_int_equal(errno, ERANGE);
	assert_int_equal(getxattr(at, VERSION, buf, 1), -1);
	assert_int_equal(errno, ERANGE);
	assert_int_equal(getxattr(at, ERROR, NULL, 0), -1);
	assert_int_equal(errno, ENODATA);
	n = listxattr(at, NULL, 0);
	assert_true(n > 0);
	assert_int_equal(listxattr(at, buf, (size_t)n), n);
	assert_int_equal(listxattr(at, buf, (size_t)n - 1), -1);
	assert_int_equal(errno, ERANGE);
	/* longer than an attribute may be */
	memset(buf, 'e', sizeof buf - 1);
	buf[sizeof buf - 1] = 0;
	set_error("sizes", buf);
	assert_int_equal(getxattr(at, ERROR, NULL, 0), sizeof buf - 1);
	assert_string_equal(ask(at, ERROR), buf);
}

/* 64 KiB is what an attribute may have. */
static void more_than_an_attribute_can_hold_is_refused(void **state)
{
	static char long_name[40000];
	struct content content = { .origins = {
					   { "secret/a", "1", "1" }, { long_name, "2", "2" }, { "x", "3", "3" } } };

	memset(long_name, 'a', sizeof long_name - 1);
	publish("long", &content);
	assert_int_equal(getxattr(path("long", NULL), UID, NULL, 0),
			 strlen("secret/a=1,=2,x=3") + sizeof long_name - 1);
	content.origins[2].object = long_name;
	content.files[0] = (struct file){ "key", "x", 1 };
	publish("longer", &content);
	assert_string_equal(ask(path("longer", NULL), UID), "E2BIG");
	assert_string_equal(ask(path("longer", "key"), UID), "1");
	assert_string_equal(list(path("longer", NULL)), "resourceVersion uid updated ");
}

static void who_may_not_read_a_file_may_not_ask_it(void **state)
{
	int status;
	pid_t pid;

	publish("closed", &(struct content){ .origins = { { "secret/db", "u", "1" } },
					     .files = { { "closed", "x", 1, 0400 }, { "open", "x", 1 } } });
	assert_int_equal(chmod(rig_scratch(rig), 0755), 0);
	pid = fork();
	if (pid == 0) {
		const char *volume = path("closed", NULL);
		int dir = open(volume, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (dir < 0 || fchdir(dir) < 0 || setgroups(0, NULL) < 0 || setgid(1000) < 0 || setuid(1000) < 0)
			_exit(2);
		if (strcmp(ask("closed", VERSION), "EACCES") != 0 || strcmp(ask("open", VERSION), "1") != 0 ||
		    strcmp(ask(".", VERSION), "1") != 0)
			_exit(1);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* --- and later --- */

static void what_is_held_open_speaks_of_itself(void **state)
{
	char updated[1024];
	int fd, dir;

	publish_one("held", "1", "old");
	fd = open(path("held", "key"), O_RDONLY | O_CLOEXEC);
	dir = open(path("held", "..data"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0 && dir >= 0);
	snprintf(updated, sizeof updated, "%s", ask_fd(fd, UPDATED));
	publish_one("held", "2", "new");
	for (int i = 0; i < 2; i++) {
		assert_string_equal(ask(path("held", "key"), VERSION), "2");
		assert_string_equal(ask(path("held", "key"), ERROR), "ENODATA");
		assert_string_not_equal(ask(path("held", "key"), UPDATED), updated);
		assert_string_equal(ask_fd(fd, VERSION), "1");
		assert_string_equal(ask_fd(fd, UID), "uid-of-db");
		assert_string_equal(ask_fd(fd, UPDATED), updated);
		assert_non_null(strstr(ask_fd(fd, ERROR), "earlier version"));
		assert_string_equal(ask_fd(dir, VERSION), "1");
		assert_non_null(strstr(ask_fd(dir, ERROR), "earlier version"));
		/* in its grace, and when that is over */
		rig_settle(rig);
	}
	assert_int_equal(rig_remove_pod(rig, "held"), 0);
	assert_string_equal(ask_fd(fd, VERSION), "1");
	close(fd);
	close(dir);
}

static void another_revision_with_the_same_content_is_told_at_once(void **state)
{
	struct rig_result first = publish_one("same", "1", "x"), second;
	char updated[1024];
	int fd = open(path("same", "key"), O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	snprintf(updated, sizeof updated, "%s", ask_fd(fd, UPDATED));
	second = publish_one("same", "2", "x");
	assert_int_equal(second.r, PUBLISH_UNCHANGED);
	assert_string_equal(first.version, second.version);
	assert_string_equal(ask(path("same", NULL), VERSION), "2");
	assert_string_equal(ask_fd(fd, VERSION), "2");
	assert_string_equal(ask_fd(fd, UPDATED), updated);
	assert_string_equal(ask_fd(fd, ERROR), "ENODATA");
	close(fd);
}

/* The content is the same, and is another object's now. */
static void a_file_may_come_to_be_of_another_object(void **state)
{
	struct content content = { .origins = { { "secret/a", "uid-a", "1" }, { "secret/b", "uid-b", "2" } },
				   .files = { { "key", "x", 1 } } };

	publish("moved", &content);
	assert_string_equal(ask(path("moved", "key"), UID), "uid-a");
	content.files[0].origin = 2;
	assert_int_equal(publish("moved", &content).r, PUBLISH_UNCHANGED);
	assert_string_equal(ask(path("moved", "key"), UID), "uid-b");
}

static void an_error_comes_and_goes(void **state)
{
	static const char *const places[] = { NULL, "..data", "key" };

	publish_one("error", "1", "x");
	set_error("error", "secrets \"db\" is forbidden");
	set_error("nobody", "no such pod");
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		assert_string_equal(ask(path("error", places[i]), ERROR), "secrets \"db\" is forbidden");
		assert_string_equal(ask(path("error", places[i]), VERSION), "1");
		assert_string_equal(list(path("error", places[i])), "resourceVersion uid updated error ");
	}
	set_error("error", "");
	assert_string_equal(list(path("error", "key")), "resourceVersion uid updated ");
	set_error("error", "again");
	assert_int_equal(rig_remove_volume(rig, "error", "v"), 0);
	publish_one("error", "2", "x");
	assert_string_equal(ask(path("error", NULL), ERROR), "ENODATA");
}

static void live_files_speak_of_what_they_show(void **state)
{
	char live[4096], folder[2048];
	int fd = -1;

	for (int i = 1; i <= 3; i++) {
		char text[5001] = "", version[16];

		memset(text, 'a' + i, i == 2 ? 5000 : 10);
		snprintf(version, sizeof version, "%d", i);
		publish("live", &(struct content){ .origins = { { "secret/db", "uid-of-db", version } },
						   .files = { { "dir/key", text, 1 } },
						   .live = true });
		if (i == 1) {
			snprintf(folder, sizeof folder, "%s/live/live/v", rig_dir(rig));
			snprintf(live, sizeof live, "%s/dir/key", folder);
			fd = open(live, O_RDONLY | O_CLOEXEC);
			assert_true(fd >= 0);
		}
		assert_string_equal(ask(live, VERSION), version);
		assert_string_equal(ask_fd(fd, VERSION), version);
		assert_string_equal(ask_fd(fd, ERROR), "ENODATA");
		assert_string_equal(ask(folder, VERSION), version);
		assert_string_equal(list(live), "resourceVersion uid updated ");
	}
	set_error("live", "forbidden");
	assert_string_equal(ask_fd(fd, ERROR), "forbidden");
	assert_int_equal(rig_remove_pod(rig, "live"), 0);
	assert_string_equal(ask_fd(fd, VERSION), "ENODATA");
	close(fd);
}

/* A file that has stayed is the same inode, and of the newest revision all the same. */
static void flat_volumes_speak_as_others_do(void **state)
{
	struct content content = { .origins = { { "secret/db", "uid-of-db", "1" } },
				   .files = { { "changes", "a", 1 }, { "dir/stays", "b", 1 } },
				   .flat = true };
	static const char *const places[] = { NULL, "changes", "dir", "dir/stays" };
	char updated[STR_TIME_MAX];
	struct rig_result res;
	int held = -1;

	for (int i = 0; i < 3; i++) {
		res = publish("flat", &content);
		str_format_time_usec(res.realtime_usec, updated);
		for (size_t k = 0; k < ARRAY_SIZE(places); k++) {
			const char *at = path("flat", places[k]);

			assert_string_equal(ask(at, VERSION), content.origins[0].resource_version);
			assert_string_equal(ask(at, UID), "uid-of-db");
			assert_string_equal(ask(at, UPDATED), updated);
			assert_string_equal(list(at), "resourceVersion uid updated ");
		}
		if (i == 0) {
			held = open(path("flat", "changes"), O_RDONLY | O_CLOEXEC);
			assert_true(held >= 0);
			content.files[0].text = "c";
		} else {
			assert_string_equal(ask_fd(held, VERSION), "1");
			assert_non_null(strstr(ask_fd(held, ERROR), "earlier version"));
		}
		/* the third time it is but another revision */
		content.origins[0].resource_version = i == 0 ? "2" : "3";
	}
	set_error("flat", "forbidden");
	for (size_t k = 0; k < ARRAY_SIZE(places); k++)
		assert_string_equal(ask(path("flat", places[k]), ERROR), "forbidden");
	close_fd(held);
}

#define N_MOVED 32

/* Some files show what the update brings, others what was there. */
static bool is_in_the_middle(void *arg)
{
	const char *new = arg;
	int n = 0;

	for (int i = 0; i < N_MOVED; i++) {
		char name[16], text[8] = { 0 };
		cleanup_fd int fd = -1;

		snprintf(name, sizeof name, "k%d", i);
		fd = open(path("middle", name), O_RDONLY | O_CLOEXEC);
		assert_true(read(fd, text, sizeof text - 1) > 0);
		n += str_eq(text, new);
	}
	return n > 0 && n < N_MOVED;
}

/* Whether each file has the version of what it shows, which is one of two; and how many have the newer one. */
static int count_new(const char *old, const char *new)
{
	int n = 0;

	for (int i = 0; i < N_MOVED; i++) {
		char name[16], text[8] = { 0 };
		cleanup_fd int fd = -1;

		snprintf(name, sizeof name, "k%d", i);
		fd = open(path("middle", name), O_RDONLY | O_CLOEXEC);
		assert_true(read(fd, text, sizeof text - 1) > 0);
		assert_true(str_eq(text, old) || str_eq(text, new));
		assert_string_equal(ask(path("middle", name), VERSION), text);
		assert_string_equal(ask_fd(fd, VERSION), text);
		n += str_eq(text, new);
	}
	return n;
}

/* A file whose turn has not come is of the version whose bytes it has. */
static void in_the_middle_of_an_update_each_file_of_a_flat_volume_has_its_own(void **state)
{
	static char names[N_MOVED][16];
	struct content content = { .origins = { { "secret/db", "uid-of-db", NULL } }, .flat = true };
	struct rig_wait w = { 0 };
	char old[12] = "0", new[12];
	int n_middles = 0;

	for (int i = 0; i < N_MOVED; i++) {
		snprintf(names[i], sizeof names[i], "k%d", i);
		content.files[i] = (struct file){ names[i], NULL, 1 };
	}
	for (int round = 0; round < 50 && n_middles < 4; round++) {
		struct make_call c = { .content = &content };

		snprintf(new, sizeof new, "%d", round);
		content.origins[0].resource_version = new;
		for (int i = 0; i < N_MOVED; i++)
			content.files[i].text = new;
		if (round == 0) {
			publish("middle", &content);
			continue;
		}
		rig_call(rig, make_payload, &c);
		w = (struct rig_wait){ 0 };
		rig_publish_start(rig, "middle", "v", c.payload, &w);
		if (rig_stop_publisher_when(rig, &w, is_in_the_middle, new)) {
			n_middles++;
			assert_in_range(count_new(old, new), 1, N_MOVED - 1);
			/* the second and the fourth end with another publisher */
			if (n_middles % 2 == 0) {
				rig_kill_publisher(rig);
				assert_in_range(count_new(old, new), 1, N_MOVED - 1);
				rig_start_publisher(rig);
			} else {
				rig_continue_publisher(rig);
			}
		}
		assert_int_equal(rig_wait(rig, &w, NULL), 0);
		assert_int_equal(count_new(new, new), N_MOVED);
		assert_string_equal(ask(path("middle", NULL), VERSION), new);
		memcpy(old, new, sizeof old);
	}
	assert_int_equal(n_middles, 4);
}

/* --- what it costs --- */

static void look_around(const char *uid)
{
	struct dirent *d;
	struct stat st;
	char buf[64];
	int fd = open(path(uid, "key"), O_RDONLY | O_CLOEXEC);
	DIR *dir = opendir(path(uid, NULL));

	assert_true(fd >= 0 && dir);
	assert_true(read(fd, buf, sizeof buf) >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	while ((d = readdir(dir)))
		assert_int_equal(fstatat(dirfd(dir), d->d_name, &st, 0), 0);
	assert_int_equal(access(path(uid, "key"), R_OK), 0);
	closedir(dir);
	close(fd);
}

/* Also when the kernel has learnt that there are attributes. */
static void reading_asks_for_no_attribute(void **state)
{
	uint64_t before, counts[SESSION_OPCODES];

	publish_one("cost", "1", "x");
	ask(path("cost", "key"), VERSION);
	list(path("cost", "key"));
	look_around("cost");
	before = rig_requests(rig);
	for (int i = 0; i < 100; i++)
		look_around("cost");
	assert_int_equal(rig_requests(rig), before);
	rig_request_counts(rig, counts);
	assert_true(counts[FUSE_GETXATTR] > 0 && counts[FUSE_LISTXATTR] > 0);
}

/* The kernel keeps no attribute: what it is asked for, it asks for. */
static void an_attribute_costs_one_request(void **state)
{
	uint64_t before;

	publish_one("ask", "1", "x");
	look_around("ask");
	before = rig_requests(rig);
	for (int i = 0; i < 10; i++)
		assert_string_equal(ask(path("ask", "key"), VERSION), "1");
	assert_int_equal(rig_requests(rig), before + 10);
	/* links have none, and nobody is asked */
	assert_int_equal(lgetxattr(path("ask", "key"), VERSION, NULL, 0), -1);
	assert_int_equal(errno, ENODATA);
	assert_int_equal(rig_requests(rig), before + 10);
}

static void attributes_cannot_be_changed(void **state)
{
	publish_one("change", "1", "x");
	assert_int_equal(setxattr(path("change", "key"), VERSION, "2", 1, 0), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(removexattr(path("change", "key"), VERSION), -1);
	assert_int_equal(errno, EROFS);
	assert_string_equal(ask(path("change", "key"), VERSION), "1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_and_folders_say_what_they_are_of),
		cmocka_unit_test(a_volume_of_several_objects_names_them),
		cmocka_unit_test(what_nobody_has_said_is_not_known),
		cmocka_unit_test(outside_of_volumes_there_is_nothing),
		cmocka_unit_test(other_names_are_not_there),
		cmocka_unit_test(sizes_are_taken_as_xattr_7_has_it),
		cmocka_unit_test(more_than_an_attribute_can_hold_is_refused),
		cmocka_unit_test(who_may_not_read_a_file_may_not_ask_it),
		cmocka_unit_test(what_is_held_open_speaks_of_itself),
		cmocka_unit_test(another_revision_with_the_same_content_is_told_at_once),
		cmocka_unit_test(a_file_may_come_to_be_of_another_object),
		cmocka_unit_test(an_error_comes_and_goes),
		cmocka_unit_test(live_files_speak_of_what_they_show),
		cmocka_unit_test(flat_volumes_speak_as_others_do),
		cmocka_unit_test(in_the_middle_of_an_update_each_file_of_a_flat_volume_has_its_own),
		cmocka_unit_test(reading_asks_for_no_attribute),
		cmocka_unit_test(an_attribute_costs_one_request),
		cmocka_unit_test(attributes_cannot_be_changed),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
