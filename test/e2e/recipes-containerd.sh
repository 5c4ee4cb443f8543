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
recipe_file /srv/api.yaml
recipe_file /srv/class.yaml
cp "$sd/files/srv/api.yaml" "$sd/files$manifests/api.yaml"
recipes_world || skip_all "no overlay can be mounted here"
# what this machine needs, or any without a registry: an image for sandboxes, whose command stays, and no oom_score_adj below 0
mkdir -p /etc/containerd
containerd config default | sed -e 's|sandbox_image = .*|sandbox_image = "localhost/web:latest"|' \
	-e 's/restrict_oom_score_adj = .*/restrict_oom_score_adj = true/' >/etc/containerd/config.toml
recipe_run containerd-cri '/^systemctl/d' >"$TEST_DIR/out" 2>&1 # it is not started yet
check_equal "recipe containerd-cri" "$? $(cat "$TEST_DIR/out")" "0 "
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

# --- Kubernetes: a kubelet's part is cri.py's
cri() { # cri COMMAND...
	local command=$1
	shift
	inside "$recipes_root/test/lib/cri.py" /run/containerd/containerd.sock "$command" "$@"
}
handler=$(awk '/^handler:/ { print $2 }' /srv/class.yaml)
check_equal "the pod names the class" "$(awk '/runtimeClassName:/ { print $2 } /^  name:/ { print $2 }' /srv/api.yaml /srv/class.yaml | xargs)" \
	"api secretlet secretlet"
check_equal "which names the runtime" "$(grep -c "runtimes.$handler\]" /etc/containerd/config.toml)" 1
inside ctr -n k8s.io images import /srv/image.tar >"$TEST_DIR/import.out" 2>&1
uid_of() { inside secretlet pods -o json | jq -r ".pods[] | select(.name == \"$1\").uid"; }
inside secretlet wait default/api >/dev/null
uid=$(uid_of api)
of() { awk -v name="$1" '$1 == "container" && $2 == name { sub(/^[^ ]* [^ ]* /, ""); print }' "$TEST_DIR/pod"; }
start() { # start UID [KEY=VALUE...]: the pod of the page
	cri run /srv/api.yaml "$@" >"$TEST_DIR/pod" 2>&1
	sandbox=$(awk '$1 == "sandbox" { print $2 }' "$TEST_DIR/pod")
	[ -n "$sandbox" ]
}
cri_reads() { [ "$(cri exec "$(of "$1")" cat "$2/password" 2>&1)" = "$3" ]; }
if start "$uid"; then
	check "cri: a container reads its Secret" eventually 60 "cri_reads main /etc/credentials second"
	check "cri: and another one of the pod has it elsewhere" eventually 60 "cri_reads sidecar /run/credentials second"
	check_equal "cri: each has its own mounts alone" \
		"$(cri exec "$(of sidecar)" ls /etc | grep -c credentials)" 0
	rotate third
	check "cri: it sees the update" eventually 60 "cri_reads main /etc/credentials third"
	check "cri: and so does the other one" eventually 60 "cri_reads sidecar /run/credentials third"
	# what the hook's tests have of containerd is what it says
	check_equal "cri: containerd's annotations are those that the hook reads" "$(inside ctr -n k8s.io container info "$(of main)" |
		jq -c '.Spec.annotations | [."io.kubernetes.cri.container-type", ."io.kubernetes.cri.sandbox-namespace",
			."io.kubernetes.cri.sandbox-name", ."io.kubernetes.cri.sandbox-uid", ."io.kubernetes.cri.container-name"]')" \
		"[\"container\",\"default\",\"api\",\"$uid\",\"main\"]"
	check_equal "cri: and those of a sandbox" "$(inside ctr -n k8s.io container info "$sandbox" |
		jq -c '.Spec.annotations | [."io.kubernetes.cri.container-type", ."secretlet.dev/pod"]')" '["sandbox","self"]'
	cri remove "$sandbox"
	start "$uid" secretlet.dev/container=main
	check "cri: a name that the pod gives one of its containers is not the others'" \
		eventually 60 "cri_reads sidecar /run/credentials third"
	cri remove "$sandbox"
	start "$uid" secretlet.dev/pod=default/web
	check_contains "cri: another one's pod is refused" "$(of main)" "this is a container of default/api"
	cri remove "$sandbox"
	start "$(uid_of web)"
	check_contains "cri: another one's UID, too" "$(of main)" "is default/web, and not default/api"
	cri remove "$sandbox"
	start "$uid" secretlet.dev/contaner=main
	check_contains "cri: a mistake starts the sandbox alone" "$(of main)" "is not known"
	cri remove "$sandbox"
else
	tap_result "not ok" "cri: the sandbox starts" "$(tail -n 1 "$TEST_DIR/pod"; grep 'grpc.v1.cri"' "$TEST_DIR/containerd.out")"
fi

kill "$containerd"
wait "$containerd"
recipes_end
tap_done
