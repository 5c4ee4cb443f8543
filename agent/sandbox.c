/* Sandbox: order matters. The death signal and the dumpable flag are reset by the kernel when ids change
 * (prctl(2), PR_SET_PDEATHSIG and PR_SET_DUMPABLE), so both are set again after it. */
#include "agent/sandbox.h"

#include <cap-ng.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sodium.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define DEFAULT_USER "secretlet"
/* systemd's range for DynamicUser= (UIDS-GIDS.md): nobody else hands these out */
#define DYNAMIC_UID_MIN 61184
#define DYNAMIC_UID_MAX 65519

static int sandbox_dynamic_user(const char *pods_dir, struct sandbox_user *ret_user, struct err *e)
{
	const uint32_t range = DYNAMIC_UID_MAX - DYNAMIC_UID_MIN + 1;
	uint32_t start;

	crypto_generichash((unsigned char *)&start, sizeof(start), (const unsigned char *)pods_dir, strlen(pods_dir),
			   NULL, 0);
	for (uint32_t i = 0; i < range; i++) {
		uid_t uid = DYNAMIC_UID_MIN + (start + i) % range;

		if (getpwuid(uid) || getgrgid(uid))
			continue;
		*ret_user = (struct sandbox_user){ .uid = uid, .gid = uid, .dynamic = true };
		return 0;
	}
	return err_set(e, -ENOENT, "no unused uid between %d and %d", DYNAMIC_UID_MIN, DYNAMIC_UID_MAX);
}

int sandbox_find_user(const char *name, const char *pods_dir, struct sandbox_user *ret_user, struct err *e)
{
	const struct passwd *p;

	errno = 0;
	p = getpwnam(name);
	if (!p && strcmp(name, DEFAULT_USER) == 0)
		return sandbox_dynamic_user(pods_dir, ret_user, e);
	if (!p)
		return err_set(e, -ENOENT, "user %s does not exist", name);
	if (p->pw_uid == 0)
		return err_set(e, -EINVAL, "user %s is root: the agent needs an account without privileges", name);
	*ret_user = (struct sandbox_user){ .uid = p->pw_uid, .gid = p->pw_gid };
	return 0;
}

static int sandbox_set_process(struct err *e)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return err_set(e, -errno, "prctl(PR_SET_PDEATHSIG): %m");
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		return err_set(e, -errno, "prctl(PR_SET_DUMPABLE): %m");
	return 0;
}

int sandbox_begin(struct err *e)
{
	const struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return err_set(e, -errno, "setrlimit(RLIMIT_CORE): %m");
	return sandbox_set_process(e);
}

int sandbox_drop(const struct sandbox_user *u, struct err *e)
{
	pid_t keeper = getppid();
	int r;

	if (setgroups(0, NULL) < 0)
		return err_set(e, -errno, "setgroups: %m");
	capng_clear(CAPNG_SELECT_ALL);
	/* the bounding set while CAP_SETPCAP is there; the rest goes with the ids */
	if (capng_apply(CAPNG_SELECT_BOUNDS) < 0)
		return err_set(e, -EPERM, "drop the capability bounding set: failed");
	if (setresgid(u->gid, u->gid, u->gid) < 0 || setresuid(u->uid, u->uid, u->uid) < 0)
		return err_set(e, -errno, "become uid %u: %m", (unsigned)u->uid);
	if (capng_apply(CAPNG_SELECT_CAPS) < 0)
		return err_set(e, -EPERM, "drop the capabilities: failed");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set(e, -errno, "prctl(PR_SET_NO_NEW_PRIVS): %m");
	r = sandbox_set_process(e);
	if (r < 0)
		return r;
	if (setresuid(0, 0, 0) == 0 || capng_get_caps_process() < 0 ||
	    capng_have_capabilities(CAPNG_SELECT_CAPS) != CAPNG_NONE)
		return err_set(e, -EPERM, "privileges are still there after dropping them");
	/* the keeper may have died while the death signal was off */
	if (getppid() != keeper)
		return err_set(e, -ESRCH, "the keeper has gone");
	return 0;
}
