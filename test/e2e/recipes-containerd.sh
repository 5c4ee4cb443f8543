#!/usr/bin/env bash
# timeout: 600
# The recipes of secretlet-runtimes(7) for containerd, with Debian's.
set -u
# shellcheck source=../lib/recipes.sh
. "$(dirname "$(realpath "$0")")/../lib/recipes.sh"

command -v containerd >/dev/null || skip_all "containerd is not installed"
command -v runc >/dev/null || skip_all "runc is not installed"
recipes_prepare
recipes_rootfs "$TEST_DIR/image"
mkdir -p "$sd/files/srv"
# image NAME OUT: an OCI archive of $TEST_DIR/image
image() {
	local d=$TEST_DIR/oci layer config manifest
	mkdir -p "$d/blobs/sha256"
	blob() { local sum; sum=$(sha256sum <"$1" | cut -d' ' -f1); mv "$1" "$d/blobs/sha256/$sum"; echo "$sum"; }
	size() { stat -c %s "$d/blobs/sha256/$1"; }
	tar --owner=0 --group=0 --numeric-owner -C "$TEST_DIR/image" -cf "$d/blob" .
	layer=$(blob "$d/blob")
	jq -cn --arg l "sha256:$layer" '{architecture: "amd64", os: "linux", rootfs: {type: "layers", diff_ids: [$l]},
		config: {Env: ["PATH=/bin"], Cmd: ["/bin/sleep", "1000"]}}' >"$d/blob"
	config=$(blob "$d/blob")
	jq -cn --arg l "sha256:$layer" --argjson ls "$(size "$layer")" --arg c "sha256:$config" --argjson cs "$(size "$config")" '{
		schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json",
		config: {mediaType: "application/vnd.oci.image.config.v1+json", digest: $c, size: $cs},
		layers: [{mediaType: "application/vnd.oci.image.layer.v1.tar", digest: $l, size: $ls}]}' >"$d/blob"
	manifest=$(blob "$d/blob")
	jq -cn --arg m "sha256:$manifest" --argjson ms "$(size "$manifest")" --arg n "$1" '{schemaVersion: 2, manifests: [{
		mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $m, size: $ms,
		annotations: {"io.containerd.image.name": $n, "org.opencontainers.image.ref.name": $n}}]}' >"$d/index.json"
	echo '{"imageLayoutVersion": "1.0.0"}' >"$d/oci-layout"
	tar -C "$d" -cf "$2" oci-layout index.json blobs
}
image localhost/web:latest "$sd/files/srv/image.tar"
recipes_world || skip_all "no overlay can be mounted here"
containerd >"$TEST_DIR/containerd.out" 2>&1 &
containerd=$!
eventually 60 "inside ctr version" || skip_all "containerd does not start here: $(tail -n 3 "$TEST_DIR/containerd.out")"
inside ctr images import /srv/image.tar >"$TEST_DIR/import.out" 2>&1
usable=$(inside ctr run --rm localhost/web:latest probe /bin/echo it runs 2>&1)
[ "$usable" = "it runs" ] || skip_all "containerd starts no container here: $usable"

eventually_reads() { # eventually_reads PASSWORD COMMAND...: that runs in the container
	local wanted=$1
	shift
	eventually 60 "[ \"\$(inside $* cat /etc/credentials/password 2>&1)\" = $wanted ]"
}

rotate first
eventually 60 'inside grep -q first /var/lib/pods/by-name/default/web/volumes/kubernetes.io~secret/credentials/password'
recipe_run ctr >"$TEST_DIR/out" 2>&1
check_equal "recipe ctr" "$? $(grep -i error "$TEST_DIR/out")" "0 "
check "ctr: the container reads its Secret" eventually_reads first "ctr task exec --exec-id e\$RANDOM web"
rotate second
check "ctr: it sees the update" eventually_reads second "ctr task exec --exec-id e\$RANDOM web"
inside ctr task rm -f web >/dev/null 2>&1
inside ctr container rm web

kill "$containerd"
wait "$containerd"
recipes_end
tap_done
