/* Cgroup paths. Runtimes name a container's cgroup in one of two ways, which the kubelet calls the cgroup driver:
 *
 *   systemd    /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<UID with _>.slice/cri-containerd-<ID>.scope
 *   cgroupfs   /kubepods/burstable/pod<UID>/<ID>
 *
 * and outside Kubernetes with names of their own. Whatever is below that (init.scope, a manager of its own in the
 * container) is passed over, and what is above it counts only if nothing inside is found: a node that is itself a container
 * (kind, minikube) has both. */
#include "agent/cgroup.h"

#include <ctype.h>

#include "common/str.h"

#define UUID_LEN 36
#define HASH_LEN 32 /* a static pod's UID */
#define ID_LEN	 64

struct runtime {
	const char *prefix, *name;
	bool any_name; /* its containers are called as the user likes */
};

static const struct runtime RUNTIMES[] = {
	{ "cri-containerd", "containerd", false },
	{ "containerd", "containerd", false },
	{ "nerdctl", "containerd", false },
	{ "crio", "cri-o", false },
	{ "docker", "docker", false },
	{ "libpod", "podman", false },
	{ "crun", "crun", true },
	{ "runc", "runc", true },
};

struct part {
	const char *s;
	size_t len;
};

static bool part_is(struct part p, const char *text)
{
	return p.len == strlen(text) && memcmp(p.s, text, p.len) == 0;
}

static bool part_takes(struct part *p, const char *prefix)
{
	size_t len = strlen(prefix);

	if (p->len <= len || memcmp(p->s, prefix, len) != 0)
		return false;
	p->s += len;
	p->len -= len;
	return true;
}

static bool part_drops(struct part *p, const char *suffix)
{
	size_t len = strlen(suffix);

	if (p->len <= len || memcmp(p->s + p->len - len, suffix, len) != 0)
		return false;
	p->len -= len;
	return true;
}

static bool is_hex(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!isdigit((unsigned char)s[i]) && !(s[i] >= 'a' && s[i] <= 'f'))
			return false;
	return true;
}

static bool is_id(struct part p)
{
	return p.len == ID_LEN && is_hex(p.s, p.len);
}

static void set_container(struct cgroup_id *id, struct part p, const char *runtime)
{
	if (p.len >= sizeof(id->container))
		return;
	memcpy(id->container, p.s, p.len);
	id->container[p.len] = '\0';
	id->runtime = runtime;
}

/* systemd's \x2d, in place. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && s[1] == 'x' && isxdigit((unsigned char)s[2]) && isxdigit((unsigned char)s[3])) {
			const char hex[] = { s[2], s[3], '\0' };
			char c = (char)strtol(hex, NULL, 16);

			if (c) {
				*to++ = c;
				s += 4;
				continue;
			}
		}
		*to++ = *s++;
	}
	*to = '\0';
}

/* ---- the pod: "pod<UID>", "kubepods-burstable-pod<UID with _>.slice", the same with ":<prefix>:<ID>" behind it ---- */

static size_t uid_len(const char *s, size_t len)
{
	static const size_t dashes[] = { 8, 13, 18, 23 };
	size_t next = 0;

	if (len >= UUID_LEN) {
		size_t i;

		for (i = 0; i < UUID_LEN; i++) {
			if (next < ARRAY_SIZE(dashes) && i == dashes[next]) {
				if (s[i] != '-' && s[i] != '_')
					break;
				next++;
			} else if (!is_hex(s + i, 1)) {
				break;
			}
		}
		if (i == UUID_LEN)
			return UUID_LEN;
	}
	return len >= HASH_LEN && is_hex(s, HASH_LEN) ? HASH_LEN : 0;
}

static bool find_pod(struct part p, struct cgroup_id *id)
{
	for (size_t i = 0; i + 3 < p.len; i++) {
		size_t len;

		if (memcmp(p.s + i, "pod", 3) != 0 || (i > 0 && p.s[i - 1] != '-'))
			continue;
		len = uid_len(p.s + i + 3, p.len - i - 3);
		if (len == 0 || (i + 3 + len < p.len && !strchr(".:", p.s[i + 3 + len])))
			continue;
		*id = (struct cgroup_id){ .runtime = NULL };
		for (size_t k = 0; k < len; k++)
			id->pod[k] = p.s[i + 3 + k] == '_' ? '-' : p.s[i + 3 + k];
		return true;
	}
	return false;
}

/* ---- the container ---- */

/* "<prefix><separator><ID>" with or without .scope; the runtime's monitor is no container. */
static bool find_prefixed(struct part p, char separator, struct cgroup_id *id)
{
	bool scope = part_drops(&p, ".scope");

	for (size_t i = 0; i < ARRAY_SIZE(RUNTIMES); i++) {
		const struct runtime *r = &RUNTIMES[i];
		struct part rest = p;

		if (!part_takes(&rest, r->prefix) || rest.s[0] != separator || rest.len < 2)
			continue;
		rest.s++;
		rest.len--;
		if (!is_id(rest) && !(r->any_name && (scope || separator == ':')))
			continue;
		set_container(id, rest, r->name);
		return true;
	}
	/* somebody else's word, but what is behind it can be nothing else */
	if (scope && p.len > ID_LEN + 1 && p.s[p.len - ID_LEN - 1] == separator &&
	    is_hex(p.s + p.len - ID_LEN, ID_LEN) && !memmem(p.s, p.len, "conmon", strlen("conmon"))) {
		set_container(id, (struct part){ p.s + p.len - ID_LEN, ID_LEN }, NULL);
		return true;
	}
	return false;
}

/* "kubepods-besteffort-pod<UID>.slice:cri-containerd:<ID>": a systemd name that was given to the cgroupfs driver. */
static bool find_triple(struct part p, struct cgroup_id *id)
{
	const char *colon = memchr(p.s, ':', p.len);

	if (!colon)
		return false;
	return find_prefixed((struct part){ colon + 1, p.len - (size_t)(colon + 1 - p.s) }, ':', id);
}

/* What systemd-machined keeps, and LXC. */
static bool find_machine(struct part p, struct part before, struct cgroup_id *id)
{
	struct part name = p;

	if (part_takes(&name, "lxc.payload.") || (part_is(before, "lxc") && name.len > 0)) {
		set_container(id, name, "lxc");
		return true;
	}
	if (!part_is(before, "machine.slice") ||
	    !((part_takes(&name, "machine-") && part_drops(&name, ".scope")) ||
	      (part_takes(&name, "systemd-nspawn@") && part_drops(&name, ".service"))))
		return false;
	set_container(id, name, "machined");
	unescape(id->container);
	return true;
}

static bool find_bare(struct part p, struct part before, struct cgroup_id *id)
{
	if (!is_id(p))
		return false;
	set_container(id, p,
		      part_is(before, "docker")					? "docker"
		      : part_is(before, "moby")					? "docker"
		      : part_is(before, "k8s.io") || part_is(before, "default") ? "containerd"
										: NULL);
	return true;
}

/* Returns how much of the path says so. */
static size_t identify(const char *path, struct cgroup_id *ret_id)
{
	struct part before = { "", 0 };
	size_t at = 0, end = 0;

	*ret_id = (struct cgroup_id){ .runtime = NULL };
	while (path[at]) {
		struct part p = { path + at, strcspn(path + at, "/") };

		at += p.len;
		if (p.len > 0) {
			const struct cgroup_id was = *ret_id;

			(void)find_pod(p, ret_id);
			(void)(find_triple(p, ret_id) || find_prefixed(p, '-', ret_id) ||
			       find_machine(p, before, ret_id) || find_bare(p, before, ret_id));
			if (!str_eq(was.container, ret_id->container) || !str_eq(was.pod, ret_id->pod))
				end = at;
			before = p;
		}
		at += path[at] == '/';
	}
	return end;
}

void cgroup_identify(const char *path, struct cgroup_id *ret_id)
{
	(void)identify(path, ret_id);
}

static unsigned weight(const char *path, const struct cgroup_id *id)
{
	return (id->container[0] ? 4u : 0) + (id->pod[0] ? 2u : 0) + (path[1] ? 1u : 0);
}

const char *cgroup_parse(char *text, struct cgroup_id *ret_id)
{
	const char *best = NULL;
	char *save = NULL;

	*ret_id = (struct cgroup_id){ .runtime = NULL };
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		bool unified = str_starts(line, "0::");
		char *path = strchr(line, ':');
		struct cgroup_id id;

		/* "hierarchy:controllers:path", and controllers may be name=... but have no colon */
		path = path ? strchr(path + 1, ':') : NULL;
		if (!path || path[1] != '/')
			continue;
		path++;
		cgroup_identify(path, &id);
		if (!best || weight(path, &id) > weight(best, ret_id) ||
		    (unified && weight(path, &id) == weight(best, ret_id))) {
			best = path;
			*ret_id = id;
		}
	}
	return best;
}

static bool is_unit(struct part p)
{
	return part_drops(&p, ".service") || part_drops(&p, ".scope");
}

/* The innermost unit; all of the path, if there is none. */
static size_t unit_len(const char *path)
{
	size_t own = 0, at = 0;

	while (path[at]) {
		struct part p = { path + at, strcspn(path + at, "/") };

		at += p.len;
		if (is_unit(p))
			own = at;
		at += path[at] == '/';
	}
	return own ? own : at;
}

size_t cgroup_own_len(const char *path, const struct cgroup_id *id)
{
	struct cgroup_id again;

	return id->container[0] ? identify(path, &again) : unit_len(path);
}
