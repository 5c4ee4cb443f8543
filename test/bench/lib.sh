# What the scripts in test/bench share; test/bench/run starts each with TEST_DIR (an empty folder), TEST_BUILD_DIR, OUT (where
# its figures go, as $OUT/NAME.jsonl) and QUICK (empty, or 1: the smallest form that still shows each figure), in a mount
# namespace of its own. Exit status 77: it cannot be measured here, the last line says why.
# shellcheck shell=bash disable=SC2034
bench_here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=../e2e/lib.sh
. "$bench_here/../e2e/lib.sh"

config=$TEST_DIR/config.yaml
bench_pids=() # to be killed at the end, beside the daemon and the API server

bench_more() { :; } # what a script has to end beside these

bench_end() {
	local status=$?
	set +e
	bench_more
	[ -z "${secretlet_pid:-}" ] || secretlet_stop
	if [ ${#bench_pids[@]} -gt 0 ]; then
		kill "${bench_pids[@]}"
		wait "${bench_pids[@]}"
	fi 2>/dev/null
	[ -z "$kube_apiserver_pid" ] || kube_down
	return $status
}
trap bench_end EXIT

die() { # die REASON [FILE]
	echo "bench: $1" >&2
	[ -z "${2:-}" ] || tail -n 20 "$2" >&2
	exit 1
}

# progress WORDS...: what is done now, and how long the script has been at it
progress() { printf '  %4d s  %s\n' "$SECONDS" "$*"; }

# bench_config FILE LINE...: a configuration
bench_config() {
	local file=$1
	shift
	printf '%s\n' 'apiVersion: secretlet.config/v1alpha1' 'kind: SecretletConfiguration' "$@" >"$file"
	chmod 600 "$file"
}

# bench_pick FULL QUICK: the one or the other
bench_pick() {
	if [ -n "${QUICK:-}" ]; then echo "$2"; else echo "$1"; fi
}

wait_ready() { ready "$1" 180 || die "$1 is not ready" "$log"; }
