#!/usr/bin/env bash
# timeout: 300
# The offline cache under a real systemd, with the unit that is shipped and the key from systemd's credentials.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"
# shellcheck source=../lib/systemd.sh
. "$here/../lib/systemd.sh"

[ -x /lib/systemd/systemd ] || { echo "no systemd here"; exit 77; }
vol=/var/lib/pods/by-name/default/app/volumes/kubernetes.io~secret/creds cache=/var/lib/secretlet/offline
unit=$sd/files/etc/systemd/system objects=$TEST_DIR/objects
mkdir -p "$sd/files/etc/secretlet" "$unit/secretlet.service.d" "$objects"
make -s -C "$here/../.." install B="$TEST_BUILD_DIR" DESTDIR="$sd/files" PREFIX=/usr SYSCONFDIR=/etc UNITDIR=/etc/systemd/system \
	SYSUSERSDIR=/usr/lib/sysusers.d >"$TEST_DIR/install.out" 2>&1 || { cat "$TEST_DIR/install.out"; exit 1; }
"$TEST_BUILD_DIR/secretlet" cache keygen "$sd/files/etc/secretlet/cache.key" || exit 1
printf '[Service]\nLoadCredential=secretlet-cache-key:/etc/secretlet/cache.key\n' >"$unit/secretlet.service.d/cache.conf"
printf '%s\n' "apiVersion: secretlet.config/v1alpha1" "kind: SecretletConfiguration" "kubeconfig: kubeconfig" "nodeName: node-1" \
	"offlineCacheDir: $cache" >"$sd/files/etc/secretlet/secretlet.yaml"
echo '{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": "default"}, "data": {"a": "b25l"}}' \
	>"$objects/secret.json"
echo '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app", "namespace": "default", "uid": "uid-app"}, "spec": {
	"nodeName": "node-1", "volumes": [{"name": "creds", "secret": {"secretName": "db"}}], "containers": [{"name": "c",
	"image": "i", "volumeMounts": [{"name": "creds", "mountPath": "/c"}]}]}}' >"$objects/pod.json"
"$TEST_BUILD_DIR/apiserver" --port 0 --load "$objects" >"$TEST_DIR/server.out" 2>&1 &
server=$!
eventually 10 grep -q http "$TEST_DIR/server.out"
port=$(grep -o '[0-9]*$' "$TEST_DIR/server.out" | head -n 1)
cat >"$sd/files/etc/secretlet/kubeconfig" <<-Y
	apiVersion: v1
	kind: Config
	current-context: c
	contexts: [{name: c, context: {cluster: k, user: u}}]
	clusters: [{name: k, cluster: {server: "http://127.0.0.1:$port"}}]
	users: [{name: u, user: {}}]
	Y
chmod 600 "$sd/files/etc/secretlet/kubeconfig"
status() { inside secretlet status -o json | jq -r "$1"; }
is() { [ "$(status "$1")" = "$2" ]; }

systemd_up || { cat "$sd/console"; exit 1; }
inside systemd-sysusers
check "systemctl start" inside systemctl start secretlet
check "a pod becomes ready" inside secretlet wait --quiet --timeout 20s default/app
check "the cache is written" eventually 10 "is .offlineCache.pods 1"
check_equal "and all is well" "$(status .healthy)" true
check_equal "the folder belongs to the agent's user" "$(inside stat -c '%U %a' $cache)" "secretlet 700"
generation=$(status .offlineCache.generation)
check_equal "a command finds the unit's key" "$(inside secretlet cache verify)" "2 records of generation $generation, all good"
check_equal "also one of a unit with credentials of its own" "$(inside env CREDENTIALS_DIRECTORY=/etc secretlet cache verify)" \
	"2 records of generation $generation, all good"
check_equal "the file descriptor store has what it had" "$(inside systemctl show -P NFileDescriptorStore secretlet)" 3

inside systemctl stop secretlet
check_equal "while the unit does not run they say where the key is not" "$(inside secretlet cache verify 2>&1)" \
	"secretlet: the offline cache has no key: offlineCacheKeyFile is not set, and the credential secretlet-cache-key is not in \
\$CREDENTIALS_DIRECTORY, nor in /run/credentials/secretlet.service, where the unit has it while it runs"
check_equal "systemd gives it to them" "$(inside systemd-run --quiet --pipe --wait -p LoadCredential=secretlet-cache-key:/etc/secretlet/cache.key \
	secretlet cache verify)" "2 records of generation $generation, all good"
kill "$server"
wait "$server" 2>/dev/null
check "without an API server it starts" inside systemctl start secretlet
check "the pod is ready" inside secretlet wait --quiet --timeout 20s default/app
check_equal "with its content" "$(inside cat $vol/a)" one
check_equal "and it says from where" "$(status .offlineCache.shownPods)" 1
check "a restart changes nothing" inside systemctl restart secretlet
check_equal "the content is there" "$(inside cat $vol/a)" one
inside systemctl stop secretlet

# --- the agent has another user than before
inside chown -R 12345:12345 $cache
inside systemctl start secretlet
check "a folder of an earlier user is taken over" eventually 10 "[ \"\$(inside stat -c '%U %a' $cache)\" = 'secretlet 700' ]"
check "what is in it cannot be read, which is named" eventually 10 "status .offlineCache.error | grep -q 'index: Permission denied'"
inside systemctl stop secretlet
tap_done
