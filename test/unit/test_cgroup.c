/* Cgroup: paths as runtimes and the kubelet make them. */
#include "agent/cgroup.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ID	   "5eed917563583925ffdbd40a64efb2aaffe58638e57add8becaf460fe74f5b1c"
#define ID2	   "d6701ec289c56e4391acb11d07474b3139466857a305490575508a8b7a9fcf22"
#define UID	   "a5c1f8d5-1919-434d-add7-4afaafdaef89"
#define UID_	   "a5c1f8d5_1919_434d_add7_4afaafdaef89"
#define HASH	   "2ca4a155359 8" /* never a UID: it has a space */
#define STATIC_UID "0f3a2c4b5d6e7f8091a2b3c4d5e6f708"

struct sample {
	const char *path, *pod, *container, *runtime;
};

static const struct sample samples[] = {
	/* the kubelet with the systemd driver */
	{ "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_ ".slice/cri-containerd-" ID ".scope",
	  UID, ID, "containerd" },
	{ "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" UID_ ".slice/crio-" ID ".scope", UID, ID,
	  "cri-o" },
	{ "/kubepods.slice/kubepods-pod" UID_ ".slice/docker-" ID ".scope", UID, ID, "docker" },
	{ "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod" UID_
	  ".slice/cri-containerd-" ID ".scope",
	  UID, ID, "containerd" },
	{ "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" STATIC_UID ".slice/crio-" ID ".scope",
	  STATIC_UID, ID, "cri-o" },
	{ "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_ ".slice/crio-" ID ".scope/container",
	  UID, ID, "cri-o" },
	{ "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_ ".slice/cri-containerd-" ID
	  ".scope/init.scope",
	  UID, ID, "containerd" },
	/* its monitor is not the container */
	{ "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_ ".slice/crio-conmon-" ID ".scope", UID,
	  "", NULL },
	/* with the cgroupfs driver */
	{ "/kubepods/burstable/pod" UID "/" ID, UID, ID, NULL },
	{ "/kubepods/besteffort/pod" UID "/" ID, UID, ID, NULL },
	{ "/kubepods/pod" UID "/" ID, UID, ID, NULL },
	{ "/kubepods/burstable/pod" UID "/crio-" ID, UID, ID, "cri-o" },
	{ "/kubepods/burstable/pod" STATIC_UID "/" ID, STATIC_UID, ID, NULL },
	{ "/kubepods/burstable/pod" UID, UID, "", NULL },
	/* a systemd name under the cgroupfs driver */
	{ "/system.slice/containerd.service/kubepods-burstable-pod" UID_ ".slice:cri-containerd:" ID, UID, ID,
	  "containerd" },
	{ "/kubepods-besteffort-pod" UID_ ".slice:cri-containerd:" ID, UID, ID, "containerd" },
	/* a node that is a container */
	{ "/docker/" ID2 "/kubelet/kubepods/burstable/pod" UID "/" ID, UID, ID, NULL },
	{ "/docker/" ID2 "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" UID_ ".slice/crio-" ID
	  ".scope",
	  UID, ID, "cri-o" },
	{ "/docker/" ID2 "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" UID_ ".slice", UID, "", NULL },
	{ "/docker/" ID2 "/init.scope", "", ID2, "docker" },
	/* seen from inside a cgroup namespace */
	{ "/../../kubepods-burstable-pod" UID_ ".slice/cri-containerd-" ID ".scope", UID, ID, "containerd" },
	/* without Kubernetes */
	{ "/docker/" ID, "", ID, "docker" },
	{ "/moby/" ID, "", ID, "docker" },
	{ "/k8s.io/" ID, "", ID, "containerd" },
	{ "/system.slice/docker-" ID ".scope", "", ID, "docker" },
	{ "/user.slice/user-1000.slice/user@1000.service/app.slice/nerdctl-" ID ".scope", "", ID, "containerd" },
	{ "/machine.slice/libpod-" ID ".scope/container", "", ID, "podman" },
	{ "/machine.slice/libpod-" ID ".scope", "", ID, "podman" },
	{ "/machine.slice/machine-libpod_pod_" ID2 ".slice/libpod-" ID ".scope", "", ID, "podman" },
	{ "/libpod_parent/libpod-" ID, "", ID, "podman" },
	{ "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID ".scope/container", "", ID, "podman" },
	{ "/machine.slice/libpod-conmon-" ID ".scope", "", "", NULL },
	{ "/system.slice/crun-web.scope", "", "web", "crun" },
	{ "/system.slice/runc-my-box.scope", "", "my-box", "runc" },
	{ "/system.slice/somebody-" ID ".scope", "", ID, NULL },
	{ "/ecs/7f3c/" ID, "", ID, NULL },
	{ "/" ID, "", ID, NULL },
	{ "/machine.slice/machine-deb\\x2d12.scope/payload", "", "deb-12", "machined" },
	{ "/machine.slice/systemd-nspawn@deb.service/payload", "", "deb", "machined" },
	{ "/lxc.payload.web/system.slice/ssh.service", "", "web", "lxc" },
	{ "/lxc/web", "", "web", "lxc" },
	{ "/lxc.monitor.web", "", "", NULL },
	/* no container */
	{ "/", "", "", NULL },
	{ "/system.slice/ssh.service", "", "", NULL },
	{ "/user.slice/user-0.slice/session-1.scope", "", "", NULL },
	{ "/system.slice/containerd.service", "", "", NULL },
	{ "/system.slice/crun-web.service", "", "", NULL },
	{ "/system.slice/podman.service", "", "", NULL },
	{ "/kubepods.slice", "", "", NULL },
	{ "/kubepods.slice/kubepods-burstable.slice", "", "", NULL },
	/* nearly */
	{ "/kubepods/pod" HASH "/x", "", "", NULL },
	{ "/kubepods/pod" UID "x/y", "", "", NULL },
	{ "/kubepods/tripod" UID "/y", "", "", NULL },
	{ "/kubepods/pod", "", "", NULL },
	{ "/kubepods/pod-", "", "", NULL },
	{ "/docker/5eed91756358", "", "", NULL },
	{ "/docker/" ID "0", "", "", NULL },
	{ "/system.slice/docker-.scope", "", "", NULL },
	{ "/system.slice/crun-.scope", "", "", NULL },
	{ "/system.slice/:", "", "", NULL },
	{ "/system.slice/a:b:c", "", "", NULL },
	{ "", "", "", NULL },
};

static void check(const struct sample *s, const struct cgroup_id *id)
{
	if (strcmp(id->pod, s->pod) != 0)
		fail_msg("%s: pod is '%s', not '%s'", s->path, id->pod, s->pod);
	if (strcmp(id->container, s->container) != 0)
		fail_msg("%s: container is '%s', not '%s'", s->path, id->container, s->container);
	if (!id->runtime != !s->runtime || (id->runtime && strcmp(id->runtime, s->runtime) != 0))
		fail_msg("%s: runtime is '%s', not '%s'", s->path, id->runtime ?: "none", s->runtime ?: "none");
}

static void paths_of_the_runtimes(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct cgroup_id id;

		memset(&id, 'x', sizeof(id));
		cgroup_identify(samples[i].path, &id);
		check(&samples[i], &id);
	}
}

static void a_name_that_is_too_long_is_none(void **state)
{
	char name[300], path[512];
	struct cgroup_id id;

	memset(name, 'a', sizeof(name));
	snprintf(path, sizeof(path), "/system.slice/crun-%.*s.scope", (int)sizeof(name), name);
	cgroup_identify(path, &id);
	assert_string_equal(id.container, "");
}

static void parse(const char *text, const char *path, const char *container)
{
	char copy[2048];
	struct cgroup_id id;
	const char *got;

	snprintf(copy, sizeof(copy), "%s", text);
	got = cgroup_parse(copy, &id);
	if (!path) {
		assert_null(got);
		return;
	}
	assert_non_null(got);
	assert_string_equal(got, path);
	assert_string_equal(id.container, container);
}

static void of_several_hierarchies_the_one_that_says_most(void **state)
{
	/* unified */
	parse("0::/system.slice/docker-" ID ".scope\n", "/system.slice/docker-" ID ".scope", ID);
	parse("0::/\n", "/", "");
	/* hybrid: the controllers are elsewhere */
	parse("2:cpu:/kubepods/pod" UID "/" ID "\n1:name=systemd:/kubepods/pod" UID "/" ID "\n0::/\n",
	      "/kubepods/pod" UID "/" ID, ID);
	parse("13:freezer:/docker/" ID "\n11:files:/\n1:name=systemd:/docker/" ID
	      "\n0::/system.slice/containerd.service\n",
	      "/docker/" ID, ID);
	/* of equals the unified one, else the first */
	parse("2:cpu:/a.service\n0::/b.service\n", "/b.service", "");
	parse("0::/b.service\n2:cpu:/a.service\n", "/b.service", "");
	parse("3:cpu:/a.service\n2:memory:/b.service\n", "/a.service", "");
	parse("3:cpu:/\n2:memory:/b.service\n", "/b.service", "");
}

static void what_is_no_such_text_has_no_path(void **state)
{
	parse("", NULL, NULL);
	parse("\n\n", NULL, NULL);
	parse("0:", NULL, NULL);
	parse("0::", NULL, NULL);
	parse("0::relative\n", NULL, NULL);
	parse("nonsense\n0::/a.service\n", "/a.service", "");
	/* a path may have colons */
	parse("0::/system.slice/kubepods-pod" UID_ ".slice:cri-containerd:" ID "\n",
	      "/system.slice/kubepods-pod" UID_ ".slice:cri-containerd:" ID, ID);
}

static void own(const char *path, const char *expected)
{
	struct cgroup_id id;

	cgroup_identify(path, &id);
	if (cgroup_own_len(path, &id) != strlen(expected))
		fail_msg("%s: %.*s", path, (int)cgroup_own_len(path, &id), path);
}

/* What a container, or a unit, makes beneath its cgroup belongs to it. */
static void a_containers_own_cgroup_ends_with_its_name(void **state)
{
	own("/kubepods/burstable/pod" UID "/" ID, "/kubepods/burstable/pod" UID "/" ID);
	own("/kubepods/burstable/pod" UID "/" ID "/init.scope", "/kubepods/burstable/pod" UID "/" ID);
	own("/machine.slice/libpod-" ID ".scope/container/a.service", "/machine.slice/libpod-" ID ".scope");
	own("/system.slice/docker-" ID ".scope/kubepods/pod" UID "/" ID "/x",
	    "/system.slice/docker-" ID ".scope/kubepods/pod" UID "/" ID);
	/* called like itself, and like nothing that is one */
	own("/docker/" ID "/" ID "/x", "/docker/" ID);
	own("/docker/" ID "/crun-" ID ID ID ".scope/x", "/docker/" ID);
	/* a pod's, and no container's */
	own("/kubepods/burstable/pod" UID "/x", "/kubepods/burstable/pod" UID "/x");
	own("/system.slice/a.service", "/system.slice/a.service");
	own("/system.slice/a.service/b/c", "/system.slice/a.service");
	own("/user.slice/user@0.service/app.slice/b.service/c", "/user.slice/user@0.service/app.slice/b.service");
	own("/user.slice/session-1.scope", "/user.slice/session-1.scope");
	own("/a/b", "/a/b");
	own("/", "/");
}

/* Longer than any buffer, and with more parts than could be looked at anew for each. */
static void deep_paths_are_told_as_others(void **state)
{
	const size_t room = 8192;
	cleanup_free char *path = calloc(1, room), *beneath = calloc(1, room);
	size_t len = 0;

	assert_true(path && beneath);
	while (len < 5000)
		len += (size_t)snprintf(path + len, room - len, "/d");
	snprintf(path + len, room - len, "/docker-" ID ".scope");
	snprintf(beneath, room, "%.*s/init.scope/x", (int)room - 32, path);
	own(path, path);
	own(beneath, path);
	snprintf(path + len, room - len, "/a.service");
	snprintf(beneath, room, "%.*s/x", (int)room - 32, path);
	own(beneath, path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_containers_own_cgroup_ends_with_its_name),
		cmocka_unit_test(deep_paths_are_told_as_others),
		cmocka_unit_test(paths_of_the_runtimes),
		cmocka_unit_test(a_name_that_is_too_long_is_none),
		cmocka_unit_test(of_several_hierarchies_the_one_that_says_most),
		cmocka_unit_test(what_is_no_such_text_has_no_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
