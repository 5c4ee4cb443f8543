#!/usr/bin/env bash
# timeout: 600
# The short form of what `make bench` does with a real API server: that it comes to its end, and what must be so however fast it is.
# The test API server does the same in bench_load.sh; but only a real one takes its time to stop.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"
# shellcheck source=../lib/bench.sh
. "$here/../lib/bench.sh"
with_kube=1
if [ ! -x "${KUBEBUILDER_ASSETS:-}/kube-apiserver" ]; then
	echo "no kube-apiserver in KUBEBUILDER_ASSETS=${KUBEBUILDER_ASSETS:-}"
	exit 77
fi

check "the API server's load is counted, over restarts" bench apiload
check "for each strategy, in each phase" figures apiload 'map(select(.who == "secretlet") | [.strategy, .phase]) | unique | length == 9'
check "beside the kubelet's, where a rule says what these are" figures apiload \
	'map(select(.who == "kubelet") | [.strategy, .phase]) | unique | length == 7'
check "a start is a list and a watch for each Secret" every apiload '.who == "secretlet" and .strategy == "Watch" and .phase == "cold"' \
	'.lists == .secrets and .watches == .secrets and .gets == 0'
check "after a restart all are watched again: once, or after a list that the server has asked for once more" every apiload \
	'.who == "secretlet" and .strategy == "Watch" and .phase == "restart"' '.watches >= .secrets and .watches <= 2 * .secrets + .lists + 2'

check "a node's size is measured" bench scale
check "the server counts a watch for each Secret" every scale true '.streams == .secrets'
check "which share connections" every scale true '.connections <= 4'
check "a storm publishes each Secret" every scale true '.storm_published == .storms * .secrets'

check "whose the memory is, is measured" bench memory
# both are measured, in processes of their own: were blocks left out, or counted twice, they would not meet
check "all that grows on the heap is somebody's, and no more than that" figures memory '(map(select(.kind == "heap").bytes_each) | add) as $grown |
	(map(select(.what == "heap").bytes_each) | add) | . > 0.75 * $grown and . < 1.33 * $grown'

check "propagation is measured" bench propagate
check "a page can be made of it" "$here/../bench/report" --in "$out" --out "$TEST_DIR/page"
check_contains "it names the server" "$(cat "$TEST_DIR/page/README.md")" "kube-apiserver v"
tap_done
