# What the tests of `make bench` share: a measurement in its short form, and questions about its figures; sourced by
# test/integration/bench*.sh after tap.sh.
# shellcheck shell=bash
bench_here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
out=$TEST_DIR/out
with_kube='' # what a script with a real API server sets; by itself there is the test API server
bench() { # bench NAME: its figures are in $out/NAME.jsonl
	local kube=''
	[ -z "$with_kube" ] || kube=${KUBEBUILDER_ASSETS:-}
	KUBEBUILDER_ASSETS=$kube "$bench_here/../bench/run" --build "$TEST_BUILD_DIR" --quick --out "$out" --only "$1" >"$TEST_DIR/$1.out" 2>&1
	local status=$?
	sed 's/^/# /' "$TEST_DIR/$1.out"
	return $status
}
# figures NAME JQ: of the array of them, which is true
figures() { jq -es "$2" "$out/$1.jsonl" >"$TEST_DIR/jq.out"; }
# every NAME SELECT JQ: there are such figures, and of each it is true; shows those of which it is not
every() {
	jq -s -c "map(select($2)) | if length == 0 then \"there are none\" else .[] | select(($3) | not) end" "$out/$1.jsonl" \
		>"$TEST_DIR/jq.out" || return 1
	[ ! -s "$TEST_DIR/jq.out" ] || { sed 's/^/# /' "$TEST_DIR/jq.out"; return 1; }
}
