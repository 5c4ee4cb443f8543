#!/usr/bin/env bash
# Reads of the same files: on tmpfs as the kubelet lays them out, in secretlet's two layouts, and through a plain FUSE file
# system that shows the tmpfs (plainfuse.c), each at the same depth behind a bind mount, as in a container. "control" is a copy
# of the first tree, on the same tmpfs: what its ratio differs from 1 is not to be read out of the others' either. 1,000 keys of
# 1 MiB are left out: nobody has that.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

seconds=$(bench_pick 1.0 0.1)
# KEYSxSIZE
read -ra shapes <<<"$(bench_pick '1x32 1x4096 1x1048576 16x32 16x4096 16x1048576 1000x32 1000x4096' '1x32 16x4096')"
variants=(tmpfs control links flat fuse)

manifests=$TEST_DIR/manifests trees=$TEST_DIR/trees fuse=$TEST_DIR/plainfuse
mkdir "$manifests" "$trees" "$fuse" "${variants[@]/#/$TEST_DIR/}"
mount -t tmpfs none "$trees"
for shape in "${shapes[@]}"; do
	"$bench_here/trees.py" "${shape%x*}" "${shape#*x}" "$trees/$shape" "$manifests"
	cp -a "$trees/$shape" "$trees/$shape-control"
done
"$TEST_BUILD_DIR/test/bench/plainfuse" "$trees" "$TEST_DIR/fuse.count" "$fuse" -f -o max_threads=10 2>"$TEST_DIR/plainfuse.err" &
bench_pids+=($!)
bench_config "$config" "manifestsDir: $manifests" 'secretMemoryLimit: 512Mi'
secretlet_start --config "$config"

progress "${#shapes[@]} volumes are published"
# what is still being published makes requests of its own
for shape in "${shapes[@]}"; do wait_ready "app-${shape%x*}-${shape#*x}"; done
eventually 30 '[ "$(status .publisher.queued)" = 0 ]' || die "the publisher does not come to rest" "$log"
eventually 30 "[ -e $fuse/${shapes[0]} ]" || die "plainfuse does not mount" "$TEST_DIR/plainfuse.err"

# of the pod, wherever its volumes are: secret or projected
pod_volume() { echo "$pods/by-name/default/$1/volumes/"*"/$2"; }
for shape in "${shapes[@]}"; do
	keys=${shape%x*} size=${shape#*x}
	pod=app-$keys-$size
	mount --bind "$trees/$shape" "$TEST_DIR/tmpfs"
	mount --bind "$trees/$shape-control" "$TEST_DIR/control"
	mount --bind "$(pod_volume "$pod" links)" "$TEST_DIR/links"
	mount --bind "$(pod_volume "$pod" flat)" "$TEST_DIR/flat"
	mount --bind "$fuse/$shape" "$TEST_DIR/fuse"
	for threads in 1 2; do
		progress "keys: $keys, of bytes: $size, threads: $threads"
		"$TEST_BUILD_DIR/test/bench/readpath" "$keys" "$size" "$threads" "$seconds" "tmpfs=$TEST_DIR/tmpfs" \
			"control=$TEST_DIR/control" "links=$TEST_DIR/links,$run/control.sock" \
			"flat=$TEST_DIR/flat,$run/control.sock" "fuse=$TEST_DIR/fuse,$TEST_DIR/fuse.count" >>"$OUT/readpath.jsonl"
	done
	umount "${variants[@]/#/$TEST_DIR/}"
done
