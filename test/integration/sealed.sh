#!/usr/bin/env bash
# timeout: 120
# Sealed values in the daemon, whose agent may not open the private key itself: the key is read again when its file is
# replaced and on SIGHUP, and a wrong one takes nothing away. Runs in a private mount namespace (test/run sees to it).
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet
pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log conf=$TEST_DIR/secretlet.yaml
manifests=$TEST_DIR/manifests keys=$TEST_DIR/keys
chmod 755 "$TEST_DIR"
mkdir "$manifests" "$TEST_DIR/other"
mkdir -m 700 "$keys"

seal() { # seal PUBLIC VALUE: db.yaml, into place by a rename
	printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {k: %s}\n' "$2" |
		"$secretlet" seal --public-key "$1" >"$manifests/.db" && mv "$manifests/.db" "$manifests/db.yaml"
}
value() { cat "$pods/by-name/default/web/volumes/kubernetes.io~secret/v/k" 2>/dev/null; }
becomes() { eventually 10 "[ \"\$(value)\" = $1 ]"; }
last_error() { "$secretlet" status -o json --runtime-dir "$run" | jq -r .source.lastError; }
says() { eventually 10 "last_error | grep -qF '$1'"; }

"$secretlet" keygen --out "$keys" >"$TEST_DIR/keygen.out" && "$secretlet" keygen --out "$TEST_DIR/other" >>"$TEST_DIR/keygen.out"
check_equal "key pairs are made" $? 0
cp "$keys/sealing.key" "$TEST_DIR/first"
cat >"$conf" <<-Y
	apiVersion: secretlet.config/v1alpha1
	kind: SecretletConfiguration
	podsDir: $pods
	runtimeDir: $run
	nodeName: node-1
	manifestsDir: manifests
	sealedSecretsKeyFile: keys/sealing.key
Y
cat >"$manifests/web.yaml" <<-Y
	apiVersion: v1
	kind: Pod
	metadata: {name: web}
	spec:
	  volumes: [{name: v, secret: {secretName: db}}]
	  containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}]}]
Y
seal "$keys/sealing.pub" one
"$secretlet" run --config "$conf" 2>>"$log" &
keeper=$!
check "a sealed value is served" becomes one
agent=$(pgrep -P "$keeper" -f internal-agent)

# --- another key
seal "$TEST_DIR/other/sealing.pub" two
check "a value for another key is refused" says "is sealed to another public key"
check_equal "what was served stays" "$(value)" one
cp "$TEST_DIR/other/sealing.key" "$keys/next"
mv "$keys/next" "$keys/sealing.key"
check "with the key in place it is opened" becomes two
check_equal "nothing is wrong any more" "$(last_error)" ""

# --- a wrong one
echo "secretlet-private-key v1 rubbish" >"$keys/sealing.key"
check "a key file that is wrong is named" says "$keys/sealing.key: key 1 is not a private key"
seal "$TEST_DIR/other/sealing.pub" three
check "the keys of before still open" becomes three
cp "$TEST_DIR/first" "$keys/next"
chmod 644 "$keys/next"
mv "$keys/next" "$keys/sealing.key"
check "one that others may read is refused" says "others may use this private key (mode 0644)"
check_equal "what was served stays then, too" "$(value)" three

# --- on request: a change of the mode is told by nobody
chmod 600 "$keys/sealing.key"
kill -s HUP "$keeper"
check "SIGHUP reads it again" says "is sealed to another public key"
check_equal "its values stay although this key does not open them" "$(value)" three
seal "$keys/sealing.pub" four
check "and what is for this key is opened" becomes four
check_equal "all that was one agent" "$(pgrep -P "$keeper" -f internal-agent)" "$agent"

# --- an agent that dies while the key is wrong
echo rubbish >"$keys/sealing.key"
check "the key is wrong once more" says "is not a private key"
kill -9 "$agent"
check "another agent serves" eventually 20 "[ -n \"\$(last_error)\" ]"
check_equal "the same" "$(value)" four
mv "$TEST_DIR/first" "$keys/sealing.key"
check "the right key makes all well" eventually 10 "[ -z \"\$(last_error)\" ]"
check_equal "and changes nothing" "$(value)" four

check "no key is in the log" not grep -qF "$(cut -d ' ' -f 3 "$keys/sealing.key")" "$log"
kill -s TERM "$keeper"
wait "$keeper"
check_equal "it ends well" $? 0
tap_done
