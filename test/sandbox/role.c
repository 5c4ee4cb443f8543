/* Role. By the calls that the daemon makes, and no others. A kernel without a rule is made of this one: a filter in
 * front says that there is no such call. */
#include "test/sandbox/role.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "agent/sandbox_calls.h"
#include "fusefs/publisher.h"
#include "test/sandbox/world.h"

bool take_agent(const struct sandbox_needs *needs)
{
	const struct sandbox_user u = { .uid = UID, .gid = UID };
	struct err e = ERR_INIT;

	if (sandbox_begin(&e) < 0 || sandbox_drop(&u, &e) < 0 || sandbox_confine(&e) < 0 ||
	    (needs && sandbox_seal(needs, true, &e) < 0)) {
		fprintf(stderr, "%s\n", err_text(&e));
		return false;
	}
	return true;
}

static bool take_audit(void)
{
	struct err e = ERR_INIT;

	world.log = dup(world.dirfd);
	if (sandbox_begin(&e) < 0 || sandbox_enter_proc(&world.log, &e) < 0 ||
	    sandbox_confine_audit(world.log, &e) < 0) {
		fprintf(stderr, "%s\n", err_text(&e));
		return false;
	}
	return true;
}

static bool take_signaller(void)
{
	struct err e = ERR_INIT;
	int none = -1;

	if (sandbox_begin(&e) < 0 || sandbox_enter_proc(&none, &e) < 0 ||
	    (world.proc = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
	    sandbox_confine_signaller(world.proc, &e) < 0) {
		fprintf(stderr, "%s\n", err_text(&e));
		return false;
	}
	return true;
}

static bool take_publisher(void)
{
	int pair[2];

	world.null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (world.null < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return false;
	world.socket = pair[0];
	return publisher_confine(world.dirfd, world.null) == 0;
}

static bool take_role_without(int call, enum role role)
{
	const struct sysfilter_rule missing = { .call = call, .action = SYSFILTER_ERRNO(ENOSYS) };

	return sysfilter_install(&missing, 1, SECCOMP_RET_ALLOW) == 0 && take_role(role);
}

bool take_role(enum role role)
{
	const struct sandbox_user u = { .uid = UID, .gid = UID };
	struct err e = ERR_INIT;

	switch (role) {
	case AGENT_CALLS:
		return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
		       sysfilter_install(SANDBOX_AGENT.rules, SANDBOX_AGENT.n, SANDBOX_AGENT.otherwise) == 0;
	case AGENT_NO_LANDLOCK:
		return take_role_without(SYS_landlock_create_ruleset, AGENT_MANIFESTS);
	case AGENT_CONFINED:
		return take_agent(NULL);
	case AGENT_MANIFESTS:
		return take_agent(&(struct sandbox_needs){ .port = 0 });
	case AGENT_ADDRESS:
		return take_agent(&(struct sandbox_needs){ .port = world.port });
	case AGENT_NAME:
		return take_agent(&(struct sandbox_needs){ .port = world.port, .names = true, .system_ca = true });
	case CACHE:
		return sandbox_begin(&e) == 0 && sandbox_drop(&u, &e) == 0 &&
		       sandbox_confine_cache(world.dirfd, &e) == 0;
	case AUDIT:
		return take_audit();
	case SIGNALLER:
		return take_signaller();
	case PUBLISHER:
		return take_publisher();
	case KEEPER:
		return sandbox_confine_keeper(&e) == 0;
	case AGENT_NO_SECCOMP:
		return take_role_without(SYS_seccomp, AGENT_ADDRESS);
	case AGENT_NAME_NO_SECCOMP:
		return take_role_without(SYS_seccomp, AGENT_NAME);
	case CACHE_NO_SECCOMP:
		return take_role_without(SYS_seccomp, CACHE);
	case AUDIT_NO_SECCOMP:
		return take_role_without(SYS_seccomp, AUDIT);
	case PUBLISHER_NO_SECCOMP:
		return take_role_without(SYS_seccomp, PUBLISHER);
	case CACHE_NO_LANDLOCK:
		return take_role_without(SYS_landlock_create_ruleset, CACHE);
	case AUDIT_NO_LANDLOCK:
		return take_role_without(SYS_landlock_create_ruleset, AUDIT);
	case PUBLISHER_NO_LANDLOCK:
		return take_role_without(SYS_landlock_create_ruleset, PUBLISHER);
	case SIGNALLER_NO_SECCOMP:
		return take_role_without(SYS_seccomp, SIGNALLER);
	case SIGNALLER_NO_LANDLOCK:
		return take_role_without(SYS_landlock_create_ruleset, SIGNALLER);
	case UNCONFINED:
		return true;
	case AGENTS_USER:
		return sandbox_begin(&e) == 0 && sandbox_drop(&u, &e) == 0;
	case ALL_CONFINED:
		break;
	}
	return false;
}

int end_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGSYS ? KILLED : OTHER_END;
	return WEXITSTATUS(status) == EXIT_ROLE ? NO_ROLE : WEXITSTATUS(status);
}

int attempt(enum role role, attempt_fn *fn)
{
	pid_t pid;
	int r;

	need_victims();
	pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (!take_role(role))
			_exit(EXIT_ROLE);
		_exit(fn());
	}
	r = end_of(pid);
	/* who made it may have no call to remove it */
	unlinkat(world.apart, "new", 0);
	return r;
}
