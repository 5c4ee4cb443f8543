#!/usr/bin/env bash
# timeout: 120
# docs/operations.md, as an operator would: its blocks that need neither a cluster nor systemd, in their order, with the paths that they
# have there. What of the machine's own lies there is hidden: the mount namespace is private.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

guide=$here/../../docs/operations.md log=$TEST_DIR/daemon.log
mkdir "$TEST_DIR/upper" "$TEST_DIR/work" "$TEST_DIR/bin" || exit 1
mount -t tmpfs none "$(realpath /run)" && mount -t tmpfs none /var/lib && mount -t tmpfs none /root || exit 1
mount -t tmpfs none "$TEST_DIR/upper" && mkdir "$TEST_DIR/upper"/{up,work} || exit 1
mount -t overlay -o "lowerdir=/etc,upperdir=$TEST_DIR/upper/up,workdir=$TEST_DIR/upper/work" none /etc || exit 1
rm -rf /etc/secretlet
mkdir /etc/secretlet
ln -s "$TEST_BUILD_DIR/secretlet" "$TEST_DIR/bin/secretlet"
export PATH=$TEST_DIR/bin:$PATH HOME=/root

# block N: the Nth block that says that it is run
block() {
	awk -v n="$1" '/^```sh$/ { inside = 1; text = ""; next } /^```$/ { if (inside && text ~ /^# runs as it is here/ && ++i == n) printf "%s", text; inside = 0 }
		inside { text = text $0 "\n" }' "$guide"
}
# run N: as a shell that ends with the first failure does
run() { block "$1" | bash -e -o pipefail >"$TEST_DIR/block-$1.out" 2>&1; }
count=$(grep -c '^# runs as it is here$' "$guide")
check "there are blocks" test "$count" -gt 8
check "the first one writes a configuration" run 1
check_contains "which is right" "$(cat "$TEST_DIR/block-1.out")" "0 errors"
secretlet run 2>"$log" & # as the unit does
daemon=$!
eventually 20 "secretlet status" || true
for n in $(seq 2 "$count"); do
	if run "$n"; then
		tap_result ok "block $n: $(block "$n" | sed -n 2p)"
	else
		tap_result "not ok" "block $n: $(block "$n" | sed -n 2p)" "$(cat "$TEST_DIR/block-$n.out")"
	fi
done
check_equal "a change is seen" "$(cat "$TEST_DIR/block-3.out")" changed
check_equal "all volumes are ready" "$(secretlet volumes -o json | jq -r '.pods[].volumes[].state' | sort -u)" ready
kill "$daemon"
wait "$daemon"
check_equal "the daemon ends well" $? 0
tap_done
