#!/usr/bin/env bash
# timeout: 300
# What a volume costs does not depend on how many there are: a new agent that takes over, and volumes that change together, as
# those of pods that share a Secret; and the mounts of one pod's. Nor does a nested mount point's, on how many its volume has, nor
# a file's that shows a container's resource, on how many the pod has, nor what a service account token costs, of which one Pod can
# want hundreds. Instructions are counted, and not time. It takes long, and valgrind, which `make test` has not.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"
# shellcheck source=../lib/linear.sh
. "$here/../lib/linear.sh"

bench=$TEST_BUILD_DIR/test/bench

# instructions FUNCTION PROGRAM ARGUMENT...: of this function, and of what it calls
instructions() {
	local counts=$TEST_DIR/callgrind.out
	rm -f "$counts".*
	valgrind -q --tool=callgrind --callgrind-out-file="$counts.%p" --toggle-collect="$1" "${@:2}" >"$TEST_DIR/valgrind.out" 2>&1 ||
		{ cat "$TEST_DIR/valgrind.out" >&2; return 1; }
	# of the processes that it starts, the one that has called it
	sed -n 's/^totals: //p' "$counts".* | sort -n | tail -n 1
}

if command -v valgrind >/dev/null; then
	check "taking over" as_much "instructions of taking over" 500 "$(instructions take_over "$bench/resume" --once 500)" \
		2000 "$(instructions take_over "$bench/resume" --once 2000)"
	check "making, changing and asking for volumes" as_much "instructions of publishing" 200 \
		"$(instructions "ask_for_all*" "$bench/profile" volumes 200)" 2000 "$(instructions "ask_for_all*" "$bench/profile" volumes 2000)"
	check "looking at the mounts of a pod" as_much "instructions of mounts" 500 "$(instructions look_at_mounts "$bench/profile" mounts 500)" \
		1000 "$(instructions look_at_mounts "$bench/profile" mounts 1000)"
	check "showing the resources of a pod's containers" as_much "instructions of resources" 200 \
		"$(instructions show_resources "$bench/profile" resources 200)" 1000 "$(instructions show_resources "$bench/profile" resources 1000)"
	check "making and changing a volume with nested mount points" as_much "instructions of publishing" 1000 \
		"$(instructions "ask_for_all*" "$bench/profile" nested 1000)" 8000 "$(instructions "ask_for_all*" "$bench/profile" nested 8000)"
	check "wanting tokens" as_much "instructions of wanting tokens" 1000 "$(instructions "want_all*" "$bench/profile" tokens 1000)" 4000 \
		"$(instructions "want_all*" "$bench/profile" tokens 4000)"
else
	tap_skip "instructions" "valgrind is not there"
fi
tap_done
