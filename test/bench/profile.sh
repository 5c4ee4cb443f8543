#!/usr/bin/env bash
# Instructions of one watch event, of publishing one revision (profile.c) and of one read of which the kernel knows nothing any
# more (coldread.c), counted by callgrind: of many, less those of few, divided by the difference. So neither the start nor what
# else runs on the machine is in them.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

command -v valgrind >/dev/null || { echo "valgrind is not installed (make deps-lint)" && exit 77; }
few=$(bench_pick 50 10) many=$(bench_pick 250 40)

# count CASE N FUNCTION...: where the counts are; of these functions, which are the agent's, and what they call
count() {
	local counts="$TEST_DIR/${1// /-}-$2.callgrind"
	local toggle=("${@:3}") program=("$TEST_BUILD_DIR/test/bench/profile" "$1" "$2")
	[ "$1" != "cold read" ] || program=("$TEST_BUILD_DIR/test/bench/coldread" "$2")
	valgrind -q --tool=callgrind --callgrind-out-file="$counts" "${toggle[@]/#/--toggle-collect=}" "${program[@]}" \
		>"$TEST_DIR/valgrind.out" 2>&1 || die "callgrind, of $1" "$TEST_DIR/valgrind.out"
	echo "$counts"
}
# profile CASE FUNCTION...
profile() {
	local some all
	progress "$1"
	some=$(count "$1" "$few" "${@:2}")
	all=$(count "$1" "$many" "${@:2}")
	"$bench_here/profile.py" "$1" "$some" "$few" "$all" "$many" >>"$OUT/profile.jsonl"
}
profile event reflector_body
profile publish publish_volume loop_run_once 'tree_commit_*'
profile "cold read" session_answer
