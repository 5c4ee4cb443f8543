#!/usr/bin/env bash
# Instructions of the agent's data path for each Secret of a start (start.c), counted by callgrind in several sizes: of one less those
# of the one before, divided by the difference. So neither what is done once nor what else runs on the machine is in them; and
# where each Secret costs more the more there are, something is not linear. Beside them those of the bare requests (scale.c).
# How the server's answers come together in time is not always the same, which is worth some percent.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=server.sh
. "$bench_here/server.sh"

command -v valgrind >/dev/null || { echo "valgrind is not installed (make deps-lint)" && exit 77; }
read -ra sizes <<<"$(bench_pick '100 300 1000' '4 8 12')" # Secrets, a tenth as many pods
pods_of() { echo $((1 + ($1 - 1) / 10)); }

# count NAME OPTION... -- PROGRAM ARGUMENT...
count() {
	local counts=$TEST_DIR/$1.callgrind options=()
	shift
	while [ "$1" != -- ]; do
		options+=("$1") && shift
	done
	valgrind -q --tool=callgrind --callgrind-out-file="$counts" "${options[@]}" "$TEST_BUILD_DIR/test/bench/$2" "${@:3}" \
		</dev/null >"$TEST_DIR/valgrind.out" 2>&1 || die "callgrind, of ${*:2}" "$TEST_DIR/valgrind.out"
}
count_start() { count "start-$1" --toggle-collect=run_turn --toggle-collect='tree_commit_*' -- start "$kube/node-1.kubeconfig" "$1"; }
count_bare() { SCALE_CERT=$kube/node-1.crt SCALE_KEY=$kube/node-1.key count "bare-$1" -- scale bare "$url" node-1 "$1"; }
# compare NAME TITLE FEW MANY
compare() {
	"$bench_here/profile.py" "$2" "$TEST_DIR/$1-$3.callgrind" "$3" "$TEST_DIR/$1-$4.callgrind" "$4" >>"$OUT/start.jsonl"
}

server_up
before=0
for n in "${sizes[@]}"; do
	as_admin put "$url" "$before" "$n"
	as_admin pods "$url" node-1 "$n" "$(pods_of "$n")"
	count_start "$n"
	[ "$before" = 0 ] || compare start "start, Secrets $before to $n" "$before" "$n"
	before=$n
done

few=${sizes[0]} many=${sizes[1]}
for n in "$few" "$many"; do
	as_admin pods "$url" node-1 "$n" "$(pods_of "$n")"
	count_bare "$n"
done
compare bare "bare requests, Secrets $few to $many" "$few" "$many"
