#!/usr/bin/env bash
# timeout: 120
# The daemon's folder of manifests is replaced while it runs: what is in the new one counts. The agent, which has no right to the
# folder by its path, does not end for it.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet
above=$TEST_DIR/etc manifests=$TEST_DIR/etc/manifests keys=$TEST_DIR/keys pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log
value=$pods/by-name/default/app/volumes/kubernetes.io~secret/creds/password
chmod 755 "$TEST_DIR"

make_folder() { # as the package's: nobody else gets into it
	mkdir -p "$above"
	mkdir -m 0700 "$manifests"
}
write_secret() { # write_secret VALUE
	printf 'apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\nstringData:\n  password: "%s"\n' "$1" >"$TEST_DIR/next"
	mv "$TEST_DIR/next" "$manifests/db.yaml"
}
write_pod() {
	cat >"$manifests/app.yaml" <<-Y
	apiVersion: v1
	kind: Pod
	metadata: {name: app}
	spec:
	  volumes:
	  - name: creds
	    secret: {secretName: db}
	  containers:
	  - name: main
	    image: none
	    volumeMounts:
	    - {name: creds, mountPath: /creds}
	Y
}
fill() { # fill VALUE
	write_secret "$1"
	write_pod
}
start() { # start [OPTION...]
	"$secretlet" run --manifests "$manifests" --pods-dir "$pods" --runtime-dir "$run" "$@" 2>>"$log" &
	keeper=$!
}
stop() {
	kill "$keeper"
	wait "$keeper"
}
agent() { pgrep -P "$keeper" -f '^secretlet-agent '; }
shows() { [ "$(cat "$value")" = "$1" ]; }
status() { "$secretlet" status --runtime-dir "$run" -o json | jq -r "$1"; }
gone() { [[ $(status .source.lastError) == *"the manifests folder is gone; what was read from it stays"* ]]; }
watched() { [ "$(status '"\(.source.watches) \(.healthy)"')" = "1 true" ]; }

make_folder
fill one
start
check "the pod is ready" "$secretlet" wait --quiet --runtime-dir "$run" --timeout 20s default/app
first=$(agent)

# --- moved away, and another one in its place
mv "$manifests" "$TEST_DIR/away"
check "a folder that is moved away is missed" eventually 10 gone
check "what was in it stays" shows one
make_folder
fill two
check "what is in the new one is shown" eventually 20 shows two
check "it is watched, and nothing is wrong" eventually 10 watched
write_secret three
check "so is what changes in it" eventually 10 shows three

# --- removed with all that is in it
rm -r "$manifests"
check "a folder that is removed is missed" eventually 10 gone
make_folder
fill four
check "the next one is read" eventually 20 shows four

# --- emptied, and another one renamed over it
old=$manifests
manifests=$above/next
make_folder
fill "four and a half"
manifests=$old
rm "$manifests"/*
check "what is removed from it goes" eventually 10 "[ ! -e '$value' ]"
mv -T "$above/next" "$manifests"
check "one that takes an empty one's place is read" eventually 20 "shows 'four and a half'"
check "it is watched" eventually 10 watched

# --- with the folder above, which is watched for its end
rm -r "$above"
check "it is missed with the folder above" eventually 10 gone
make_folder
fill five
check "and found again" eventually 20 shows five
check "it is watched" eventually 10 watched
rm -r "$manifests"
check "its end is seen again" eventually 10 gone
make_folder
fill six
check "as is the next one" eventually 20 shows six
check "nothing is wrong" eventually 10 watched

# --- with the folder above, which is moved away, and another one takes its place
mv "$above" "$TEST_DIR/app.old"
make_folder
fill "six and a half"
check "one that comes with another folder above is read" eventually 20 "shows 'six and a half'"
check "it is watched" eventually 10 watched
write_secret seven
check "so is what changes in it" eventually 10 shows seven
mv "$above" "$TEST_DIR/app.2"
check "the next move is seen as well" eventually 10 gone
mv "$TEST_DIR/app.2" "$above"
check "it is found again" eventually 10 watched

# --- something else in its place
mv "$manifests" "$TEST_DIR/away.2"
echo "no folder" >"$manifests"
check "what is no folder is said" eventually 10 "grep -q '$manifests: the manifests folder cannot be watched: Not a directory' '$log'"
rm "$manifests"
mv "$TEST_DIR/away.2" "$manifests"
write_secret eight
check "the old one comes back" eventually 20 shows eight

check_equal "all by the first agent" "$(agent)" "$first"
stop

# --- the private keys lie in it
mkdir "$keys" "$TEST_DIR/keys.2"
"$secretlet" keygen --out "$keys" >"$TEST_DIR/out" || echo "# keygen failed"
printf 'apiVersion: secretlet.config/v1alpha1\nkind: SecretletConfiguration\nsealedSecretsKeyFile: %s\n' "$manifests/sealing.key" \
	>"$TEST_DIR/sealed.yaml"
cp -p "$keys/sealing.key" "$manifests/"
seal() { # seal FOLDER VALUE
	write_secret "$2"
	"$secretlet" seal --public-key "$1/sealing.pub" "$manifests/db.yaml" >"$TEST_DIR/next"
	mv "$TEST_DIR/next" "$manifests/db.yaml"
}
seal "$keys" "sealed one"
start --config "$TEST_DIR/sealed.yaml"
check "a sealed value is shown" eventually 20 "shows 'sealed one'"
first=$(agent)
"$secretlet" keygen --out "$TEST_DIR/keys.2" >"$TEST_DIR/out" || echo "# keygen failed"
mv "$manifests" "$TEST_DIR/away.3"
check "the folder is missed" eventually 10 gone
make_folder
write_pod
cp -p "$TEST_DIR/keys.2/sealing.key" "$manifests/"
seal "$TEST_DIR/keys.2" "sealed two"
check "the new folder's keys are read with it" eventually 20 "shows 'sealed two'"
cp -p "$keys/sealing.key" "$manifests/next.key"
mv "$manifests/next.key" "$manifests/sealing.key"
seal "$keys" "sealed three"
check "and followed" eventually 10 "shows 'sealed three'"
check_equal "by the first agent" "$(agent)" "$first"
stop
tap_done
