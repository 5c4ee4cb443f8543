#!/usr/bin/env bash
# timeout: 120
# What a reader sees of a volume's age and origin: extended attributes of a daemon's volumes with the tools that people use,
# through bind mounts and as another user; the same in `secretlet volumes -o json`; and after deaths of the agent, when the API
# server cannot be asked.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet
pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log
vol=$pods/by-name/default/app/volumes/kubernetes.io~secret/creds
all=$pods/by-name/default/app/volumes/kubernetes.io~projected/all
live=$pods/by-name/default/app/live/creds
chmod 755 "$TEST_DIR"

server_start() { # server_start PORT
	"$TEST_BUILD_DIR/apiserver" --port "$1" >"$TEST_DIR/server.out" 2>>"$TEST_DIR/server.err" &
	server=$!
	eventually 10 "grep -q http '$TEST_DIR/server.out'"
	url=$(head -n 1 "$TEST_DIR/server.out")
}
api() { # api METHOD PATH [BODY]: the answer
	curl -sS -X "$1" -H 'Content-Type: application/json' ${3:+--data-binary "$3"} "$url/api/v1/namespaces/default/$2"
}
put() { # put METHOD VALUE LABEL
	local path=secrets
	[ "$1" = POST ] || path=secrets/db
	api "$1" "$path" "$(jq -n --arg value "$2" --arg resource "$3" '{apiVersion: "v1", kind: "Secret", metadata: {name: "db",
		labels: {"tensorstack.dev/resource": $resource}}, stringData: {password: $value}}')" >/dev/null
}
meta() { api GET "$1" | jq -r ".metadata.$2"; } # meta secrets/db uid
attribute() { getfattr --only-values --absolute-names -n "user.secretlet.$2" "$1" 2>/dev/null; } # attribute PATH NAME
names() { getfattr --absolute-names "$1" 2>/dev/null | sed -n 's/^user\.secretlet\.//p' | paste -sd ' '; }
report() { "$secretlet" volumes --runtime-dir "$run" -o json default/app | jq -r ".volumes[] | select(.name == \"$1\")$2"; }
is() { [ "$(attribute "$1" "$2")" = "$3" ]; }
agent() { pgrep -P "$keeper" | while read -r pid; do
	IFS= read -r -d '' name <"/proc/$pid/cmdline" && [ "$name" = secretlet-agent ] && echo "$pid"
done 2>/dev/null; }
kill_agent() {
	local pid
	pid=$(agent)
	kill -9 "$pid"
	eventually 10 "[ -n \"\$(agent)\" ] && [ \"\$(agent)\" != $pid ]"
}

server_start 0
cat >"$TEST_DIR/kubeconfig" <<-Y
	apiVersion: v1
	kind: Config
	current-context: c
	contexts: [{name: c, context: {cluster: k, user: u}}]
	clusters: [{name: k, cluster: {server: "$url"}}]
	users: [{name: u, user: {}}]
Y
chmod 600 "$TEST_DIR/kubeconfig"
put POST CANARY-1 s3-cfg
api POST configmaps '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"conf","labels":{"tier":"front"}},"data":{"a":"1"}}' >/dev/null
api POST pods '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"app","annotations":{"secretlet.dev/live":"creds"}},"spec":{
	"nodeName":"node-1","containers":[{"name":"c","image":"i","volumeMounts":[{"name":"creds","mountPath":"/c"},
		{"name":"all","mountPath":"/a"}]}],
	"volumes":[{"name":"creds","secret":{"secretName":"db","items":[{"key":"password","path":"password"},
			{"key":"password","path":"closed","mode":256}]}},
		{"name":"all","projected":{"sources":[{"secret":{"name":"db"}},{"configMap":{"name":"conf"}},
			{"downwardAPI":{"items":[{"path":"name","fieldRef":{"fieldPath":"metadata.name"}}]}}]}}]}}' >/dev/null
printf '%s\n' 'apiVersion: secretlet.config/v1alpha1' 'kind: SecretletConfiguration' 'extendedAttributes: true' >"$TEST_DIR/config.yaml"
"$secretlet" run --config "$TEST_DIR/config.yaml" --kubeconfig "$TEST_DIR/kubeconfig" --node-name node-1 --pods-dir "$pods" --runtime-dir "$run" 2>>"$log" &
keeper=$!
check "the pod is ready" "$secretlet" wait --quiet --runtime-dir "$run" --timeout 20s default/app

# --- values
version=$(meta secrets/db resourceVersion) uid=$(meta secrets/db uid)
for place in "$vol" "$vol/password" "$vol/..data" "$live/password" "$live"; do
	check_equal "the API server's resourceVersion and uid: ${place#"$pods"/by-name/default/app/}" \
		"$(attribute "$place" resourceVersion) $(attribute "$place" uid)" "$version $uid"
done
check_equal "several objects are named" "$(attribute "$all" resourceVersion) $(attribute "$all" uid)" \
	"secret/db=$version,configMap/conf=$(meta configmaps/conf resourceVersion) secret/db=$uid,configMap/conf=$(
		meta configmaps/conf uid),pod/app=$(meta pods/app uid)"
check_equal "a file is of one of them" "$(attribute "$all/..data/a" uid) $(attribute "$all/..data/name" uid)" \
	"$(meta configmaps/conf uid) $(meta pods/app uid)"
check_equal "there is no error" "$(names "$vol")" "resourceVersion uid updated"
check "updated is RFC 3339 with a fraction" grep -qE '^[0-9-]{10}T[0-9:]{8}\.[0-9]{6}Z$' <<<"$(attribute "$vol/password" updated)"

# --- the same in volumes -o json
same() { # same VOLUME PATH
	check_equal "volumes -o json says the same as the attributes: $1" \
		"$(report "$1" '| [.updated, .error, (.sources | map(select(.resourceVersion != "") | .resourceVersion) | join(" ")),
			(.sources | map(.uid) | join(" "))] | join("|")')" \
		"$(attribute "$2" updated)|$(attribute "$2" error)|$(attribute "$2" resourceVersion | sed 's/[a-zA-Z]*\/[^=]*=//g; s/,/ /g')|$(
			attribute "$2" uid | sed 's/[a-zA-Z]*\/[^=]*=//g; s/,/ /g')"
}
same creds "$vol"
same all "$all"
check_equal "the live folder is named, where there is one" "$(report creds .live) $(report all .live)" "$(realpath "$live") null"
check "the age is a number" [ "$(report creds .ageSeconds)" -ge 0 ]
check "when each source was heard of is there" [ "$(report all '.sources | map(select(.synced)) | length')" = 2 ]

# --- who, and with what
mkdir "$TEST_DIR/bind" "$TEST_DIR/copy"
mount --rbind "$vol/." "$TEST_DIR/bind"
check_equal "through a bind mount, as another user: what can be read" \
	"$(setpriv --reuid 1000 --clear-groups getfattr --only-values -n user.secretlet.resourceVersion "$TEST_DIR/bind/password" 2>/dev/null)" "$version"
check "what cannot be read does not speak" not setpriv --reuid 1000 --clear-groups getfattr -n user.secretlet.uid "$TEST_DIR/bind/closed" 2>/dev/null
cd "$TEST_DIR" || exit 1
check "cp -a works" cp -a bind/. copy/
check_equal "ls -l works" "$(LC_ALL=C.UTF-8 ls -lL bind/password | cut -c1-10)" -rw-r--r--
check "tar --xattrs works" tar --xattrs --xattrs-include='*' -cf copy.tar -C bind .

# --- changes
before=$(attribute "$vol" updated)
exec 7<"$vol/password"
put PUT CANARY-2 s3-cfg
check "a rotation is seen" eventually 20 "[ \"\$(cat '$vol/password')\" = CANARY-2 ]"
check_equal "with its resourceVersion" "$(attribute "$vol/password" resourceVersion)" "$(meta secrets/db resourceVersion)"
check "and its time" [ "$(attribute "$vol" updated)" != "$before" ]
check_equal "what was opened before says of which it is" "$(attribute /proc/self/fd/7 resourceVersion)" "$version"
check_contains "and that it is not the newest" "$(attribute /proc/self/fd/7 error)" "earlier version"
check_equal "the live file says the newest" "$(attribute "$live/password" resourceVersion)" "$(meta secrets/db resourceVersion)"
before=$(attribute "$vol" updated)
put PUT CANARY-2 other
version=$(meta secrets/db resourceVersion)
check "a revision without another value is told" eventually 20 "is '$vol' resourceVersion $version"
check_equal "and nothing was published" "$(attribute "$vol" updated)" "$before"

# --- errors
api DELETE secrets/db >/dev/null
check "a Secret that has gone is an error" eventually 20 "is '$vol' error 'secret \"db\" not found'"
check_equal "of the files, too" "$(attribute "$vol/password" error)" 'secret "db" not found'
check_equal "what is shown is what it was" "$(attribute "$vol" resourceVersion) $(cat "$vol/password")" "$version CANARY-2"
same creds "$vol"
put POST CANARY-2 s3-cfg
version=$(meta secrets/db resourceVersion)
check "it is back: the error goes" eventually 20 "is '$vol' error ''"
check_equal "with the new object's uid" "$(attribute "$vol" uid) $(attribute "$vol" resourceVersion)" "$(meta secrets/db uid) $version"

# --- listings
listed() { "$secretlet" secrets --runtime-dir "$run" "$@"; }
check_equal "secrets -l with a prefix" "$(listed -o json -l tensorstack.dev/resource=s3-cfg | jq -r '.secrets[].name')" db
check_equal "and one that does not match" "$(listed -o json -l 'tensorstack.dev/resource notin (s3-cfg)' | jq '.secrets | length')" 0
check_contains "labels are shown" "$(listed)" "tensorstack.dev/resource=s3-cfg"
check_equal "ConfigMaps are listed when they are asked for" \
	"$(listed --kind configMap -o json | jq -r '.secrets[] | "\(.kind) \(.name) \(.labels.tier)"'),$(listed -o json | jq '.secrets | length')" "ConfigMap conf front,1"
check_equal "all kinds, with a selector" "$(listed --kind all -l tier -o json | jq -r '.secrets[].name')" conf
check_contains "with a column for it" "$(listed --kind all | head -n 1)" "KIND"
listed --kind nothing >"$TEST_DIR/kind.out" 2>&1
check_equal "another kind is refused: exit status" $? 2
check_equal "and by the control API" "$(curl -s --unix-socket "$run/control.sock" 'http://x/v1/secrets?kind=x' | jq -r .error)" \
	"kind: it is not secret, configMap, token or all"
check_equal "no value is in any of it" "$({ listed --kind all -o json; listed --kind all; "$secretlet" volumes --runtime-dir "$run" -o json; } | grep -c CANARY)" 0

# --- the agent dies while nobody can be asked
before=$(attribute "$vol" updated)
kill -9 "$server"
wait "$server" 2>/dev/null
for n in 1 2; do
	kill_agent
	check_equal "death $n: what is shown says at once of what it is" \
		"$(attribute "$vol" resourceVersion) $(attribute "$vol/password" resourceVersion) $(attribute "$vol" updated)" \
		"$version $version $before"
	check "death $n: and that nobody knows whether it is the newest" [ -n "$(attribute "$vol" error)" ]
	check_contains "death $n: a file that was opened before says that it is older" "$(attribute /proc/self/fd/7 error)" "earlier version"
done
exec 7<&-

check_equal "no value is in the log" "$(grep -c CANARY "$log")" 0
umount -l "$TEST_DIR/bind"
kill "$keeper"
wait "$keeper"
check_equal "the daemon ends well" $? 0
tap_done
