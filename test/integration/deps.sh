#!/usr/bin/env bash
# timeout: 60
# test/deps starts no service, whatever becomes of it, and takes nobody's policy away; .ci/run finds an API server, or says why it
# does not. apt-get and make are scripts here that say what they were asked; /usr/sbin is ours: the mount namespace is private.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
policy=/usr/sbin/policy-rc.d bin=$TEST_DIR/bin said=$TEST_DIR/said
mkdir -p "$bin" "$TEST_DIR"/layer
own_sbin() {
	mount -t tmpfs none "$TEST_DIR/layer" && mkdir "$TEST_DIR"/layer/{up,work} &&
		mount -t overlay -o "lowerdir=/usr/sbin,upperdir=$TEST_DIR/layer/up,workdir=$TEST_DIR/layer/work" none /usr/sbin
}
own_sbin || { echo "no overlay here"; exit 77; }
rm -f "$policy"

# --- test/deps
cat >"$bin/apt-get" <<-A
	#!/bin/sh
	[ "\$1" = install ] || exit 1
	echo "\$*" >"$TEST_DIR/asked"
	for action in start restart; do
		status=0
		"$policy" --quiet some.service \$action || status=\$?
		echo "\$action \$status" >>"$said"
	done
	exec "$TEST_DIR/then"
A
chmod +x "$bin/apt-get"
then_() { printf '#!/bin/sh\n%s\n' "$1" >"$TEST_DIR/then" && chmod +x "$TEST_DIR/then"; }
deps() { : >"$said" && PATH=$bin:$PATH "$here/../deps" secretlet-no-such-package >"$TEST_DIR/deps.out" 2>&1; }
left() { find /usr/sbin -name 'policy-rc.d*'; }

then_ "exit 0"
check "what is missing is installed" deps
check_contains "another apt-get is waited for" "$(cat "$TEST_DIR/asked")" "-o DPkg::Lock::Timeout="
check_equal "nothing is started, but what runs may be restarted" "$(xargs <"$said")" "start 101 restart 0"
check_equal "afterwards all is as it was" "$(left)" ""
then_ "exit 100"
check "an installation that fails is a failure" not deps
check_equal "nothing was started" "$(sort -u "$said" | xargs)" "restart 0 start 101"
check_equal "and all is as it was" "$(left)" ""
then_ 'kill -TERM $PPID; sleep 1'
check "one that is ended is one" not deps
check_equal "and all is as it was" "$(left)" ""
then_ 'kill -KILL $PPID'
deps 2>/dev/null
check_equal "one that is killed leaves its policy behind" "$(left)" "$policy"
check "which forbids nothing any more" "$policy" some.service start
then_ "exit 0"
check "the next one" deps
check_equal "forbids it again" "$(xargs <"$said")" "start 101 restart 0"
check_equal "and takes it away" "$(left)" ""
printf '#!/bin/sh\nexit 104\n' >"$policy"
chmod +x "$policy"
check "who has a policy" deps
check_equal "is asked" "$(xargs <"$said")" "start 104 restart 104"
check_equal "and keeps it" "$(tail -n 1 "$policy")" "exit 104"

# --- .ci/run
mkdir -p "$TEST_DIR"/{repo/.ci,assets,empty}
cp "$here/../../.ci/run" "$TEST_DIR/repo/.ci/"
cp /bin/true "$TEST_DIR/assets/kube-apiserver"
printf '#!/bin/sh\necho "$*" >>%s\necho "1 passed, 0 failed, 0 skipped"\n' "$said" >"$bin/make"
chmod +x "$bin/make"
ci() { # ci [VARIABLE=VALUE...]: what it says of e2e and at its end, and what it asks make for there
	: >"$said"
	(cd / && env -u KUBEBUILDER_ASSETS -u KUBE_ASSETS PATH="$bin:$PATH" "$@" "$TEST_DIR/repo/.ci/run") | grep -v '^1 passed' | xargs
	grep ^e2e "$said"
}
ci_status() { PATH=$bin:$PATH env -u KUBEBUILDER_ASSETS -u KUBE_ASSETS "$@" "$TEST_DIR/repo/.ci/run" >/dev/null 2>&1; echo $?; }
check_equal "CI with a folder" "$(ci KUBEBUILDER_ASSETS="$TEST_DIR/assets" | xargs)" \
	"5 passed, 0 failed, 0 skipped e2e KUBEBUILDER_ASSETS=$TEST_DIR/assets"
check_equal "with one that has nothing in it" "$(ci KUBEBUILDER_ASSETS="$TEST_DIR/empty")" \
	"e2e failed: KUBEBUILDER_ASSETS: there is no kube-apiserver in $TEST_DIR/empty 4 passed, 1 failed, 0 skipped"
check "which is a failure" not test "$(ci_status KUBEBUILDER_ASSETS="$TEST_DIR/empty")" = 0
check_equal "with none, and no program that makes one" "$(ci nothing=set)" \
	"e2e skipped: KUBEBUILDER_ASSETS is not set, and there is no ../shared/kube/assets 4 passed, 0 failed, 1 skipped"
printf '#!/bin/sh\necho %s\n' "$TEST_DIR/assets" >"$TEST_DIR/program"
chmod +x "$TEST_DIR/program"
check_equal "with such a program" "$(ci KUBE_ASSETS="$TEST_DIR/program" | xargs)" \
	"5 passed, 0 failed, 0 skipped e2e KUBEBUILDER_ASSETS=$TEST_DIR/assets"
printf '#!/bin/sh\nexit 1\n' >"$TEST_DIR/program"
check_equal "with one that fails" "$(ci KUBE_ASSETS="$TEST_DIR/program")" \
	"e2e failed: $TEST_DIR/program makes no folder with kube-apiserver 4 passed, 1 failed, 0 skipped"
check_equal "with one that is not there" "$(ci KUBE_ASSETS="$TEST_DIR/none" 2>/dev/null)" \
	"e2e failed: $TEST_DIR/none makes no folder with kube-apiserver 4 passed, 1 failed, 0 skipped"
check_equal "none of which may pass" "$(ci_status KUBE_ASSETS="$TEST_DIR/program") $(ci_status KUBE_ASSETS="$TEST_DIR/none")" "1 1"
check_equal "and with none it is skipped" "$(ci_status nothing=set)" 0
printf '#!/bin/sh\ncase $1 in\nlong) printf "    > not ok 1 - a\n    > # why\n    | 1..1\nFAIL  long/x: not ok: a\n0 passed, 1 failed, 0 skipped\n"; exit 1 ;;\nesac\necho "1 passed, 0 failed, 0 skipped"\n' >"$bin/make"
check_equal "what failed is said again at the end" "$(PATH=$bin:$PATH env -u KUBEBUILDER_ASSETS -u KUBE_ASSETS "$TEST_DIR/repo/.ci/run" | tail -n 5 | xargs)" \
	"make long failed > not ok 1 - a > # why FAIL long/x: not ok: a 3 passed, 1 failed, 1 skipped"
tap_done
