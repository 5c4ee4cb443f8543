#!/usr/bin/env bash
# timeout: 300
# takes long: it is in the suite of which the packages for `make lint` are there before it in CI, so valgrind is
# What a volume costs does not depend on how many there are: a new agent that takes over, and volumes that change together, as
# those of pods that share a Secret. Instructions are counted, and page faults, and not time.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

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
# as_much NAME FEW COST MANY COST: each of many costs 15 percent more than each of few, at most
as_much() {
	echo "# $1: $(($3 / $2)) for each of $2, $(($5 / $4)) for each of $4"
	[ "$3" -gt "$2" ] && [ $(($5 * $2 * 100)) -le $(($3 * $4 * 115)) ]
}

if command -v valgrind >/dev/null; then
	check "taking over" as_much "instructions of taking over" 500 "$(instructions take_over "$bench/resume" --once 500)" \
		2000 "$(instructions take_over "$bench/resume" --once 2000)"
	check "making, changing and asking for volumes" as_much "instructions of publishing" 200 \
		"$(instructions "ask_for_all*" "$bench/profile" volumes 200)" 2000 "$(instructions "ask_for_all*" "$bench/profile" volumes 2000)"
else
	tap_skip "instructions" "valgrind is not there"
fi

"$bench/resume" "$TEST_BUILD_DIR/secretlet" 1000 15000 >"$TEST_DIR/resume.jsonl"
faults() { jq "select(.volumes == $1) | .page_faults" "$TEST_DIR/resume.jsonl"; }
check "the memory of taking over" as_much "page faults" 1000 "$(faults 1000)" 15000 "$(faults 15000)"
tap_done
