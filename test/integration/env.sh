#!/usr/bin/env bash
# timeout: 120
# `secretlet env`, `secretlet pull-config` and mounts with a subPathExpr: from manifests, and from the test API server, with
# the search for what must not remain in the daemon's memory. Runs in a private mount namespace.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet
pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log conf=$TEST_DIR/secretlet.yaml manifests=$TEST_DIR/manifests
canary="CANARY-$RANDOM$RANDOM$RANDOM"
mkdir "$manifests"
chmod 755 "$TEST_DIR"

configure() { # configure LINE...
	printf '%s\n' "apiVersion: secretlet.config/v1alpha1" "kind: SecretletConfiguration" "podsDir: $pods" \
		"runtimeDir: $run" "nodeName: node-1" "$@" >"$conf"
	chmod 600 "$conf"
}
start() {
	"$secretlet" run --config "$conf" 2>>"$log" &
	keeper=$!
}
stop() {
	kill -s TERM "$keeper"
	wait "$keeper"
}
ask() { "$secretlet" "$@" --runtime-dir "$run"; }
refused() { # refused NAME STATUS WORDS COMMAND...
	local name=$1 status=$2 words=$3 out
	shift 3
	out=$("$@" 2>&1 >"$TEST_DIR/stdout")
	check_equal "$name: exit status" $? "$status"
	check_contains "$name: why" "$out" "$words"
	check_equal "$name: nothing is printed" "$(wc -c <"$TEST_DIR/stdout")" 0
}
put() { # put FILE: a manifest, at once
	cat >"$TEST_DIR/new"
	mv "$TEST_DIR/new" "$manifests/$1.yaml"
}

# --- manifests
put db <<-Y
	apiVersion: v1
	kind: Secret
	metadata: {name: db}
	stringData: {password: "$canary-1", 1st: one, lines: "a\nb"}
	---
	apiVersion: v1
	kind: ConfigMap
	metadata: {name: settings}
	data: {HOST: db.example.com, DIR: web}
Y
put app <<-'Y'
	apiVersion: v1
	kind: Pod
	metadata: {name: app, labels: {tier: front}}
	spec:
	  nodeName: node-1
	  imagePullSecrets: [{name: pull-1}, {name: none}, {name: pull-2}, {name: db}]
	  containers:
	  - name: main
	    envFrom:
	    - configMapRef: {name: settings}
	    - {prefix: DB_, secretRef: {name: db}}
	    - secretRef: {name: missing, optional: true}
	    env:
	    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
	    - {name: TIER, valueFrom: {fieldRef: {fieldPath: "metadata.labels['tier']"}}}
	    - {name: URL, value: "$(POD):$(DB_password)@$(HOST)/$(NONE)$$(POD)"}
	    - {name: DB_lines, value: ""}
	  - name: lines
	    env: [{name: L, valueFrom: {secretKeyRef: {name: db, key: lines}}}]
	  - name: numbers
	    envFrom: [{secretRef: {name: db}}]
	    env: [{name: lines, value: ""}]
	  - name: missing
	    env: [{name: A, valueFrom: {secretKeyRef: {name: none, key: k}}}]
	  - name: keyless
	    env: [{name: A, valueFrom: {secretKeyRef: {name: db, key: nothing}}}]
	  - name: address
	    env: [{name: A, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
	  - name: paths
	    envFrom: [{configMapRef: {name: settings}}]
	    env:
	    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
	    volumeMounts: [{name: v, mountPath: /a, subPathExpr: $(DIR)/$(POD).key}]
	  - name: shown
	    env: [{name: P, valueFrom: {secretKeyRef: {name: db, key: password}}}]
	    volumeMounts: [{name: v, mountPath: /a, subPathExpr: $(P)}]
	  - name: service
	    env: [{name: API, value: "$(KUBERNETES_SERVICE_HOST):443"}]
	  - name: bare
	  volumes: [{name: v, configMap: {name: settings}}]
Y
put anywhere <<-'Y'
	apiVersion: v1
	kind: Pod
	metadata: {name: anywhere}
	spec:
	  initContainers:
	  - name: first
	    resources: {limits: {memory: 32Mi}}
	    env: [{name: MEMORY, valueFrom: {resourceFieldRef: {resource: requests.memory}}}]
	  containers:
	  - name: c
	    resources: {limits: {cpu: 2, memory: 64Mi}, requests: {cpu: 1}}
	    env:
	    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
	    - {name: CPU, valueFrom: {resourceFieldRef: {resource: requests.cpu}}}
	    - {name: MEMORY, valueFrom: {resourceFieldRef: {resource: requests.memory}}}
	  volumes: []
Y
auths() { printf '{"auths":{"%s":{"auth":"%s"},"all.example.com":{"auth":"%s"}}}' "$1" "$2" "$2"; }
user_1=$(printf 'u:%s' "$canary-u1" | base64) user_2=$(printf 'u:%s' "$canary-u2" | base64)
put pull <<-Y
	apiVersion: v1
	kind: Secret
	type: kubernetes.io/dockerconfigjson
	metadata: {name: pull-1}
	stringData: {.dockerconfigjson: '$(auths one.example.com "$user_1")'}
	---
	apiVersion: v1
	kind: Secret
	type: kubernetes.io/dockercfg
	metadata: {name: pull-2}
	stringData: {.dockercfg: '{"two.example.com":{"username":"u","password":"$canary-u2"},"all.example.com":{"auth":"$user_2"}}'}
Y

configure "manifestsDir: $manifests"
start
check "the pod is ready" ask wait --quiet --timeout 20s default/app
refused "values are not handed out unless that is configured" 1 "serveEnvironment is false" ask env default/app main
refused "nor are pull credentials" 1 "serveEnvironment is false" ask pull-config default/app
check_equal "mounts are" "$(ask mounts default/app paths | jq -r '.[].source' | sed 's|.*/volumes/||')" \
	"kubernetes.io~configmap/v/web/app.key"
refused "what a Secret says is in no path" 1 "subPathExpr: P may come from a Secret" ask mounts default/app shown
stop

configure "manifestsDir: $manifests" "serveEnvironment: true" "controlSocketGroup: daemon"
start
check "the pod is ready again" ask wait --quiet --timeout 20s default/app
expected="DIR=web
HOST=db.example.com
DB_1st=one
DB_lines=
DB_password=$canary-1
POD=app
TIER=front
URL=app:$canary-1@db.example.com/\$(NONE)\$(POD)"
check_equal "the environment, in lines" "$(ask env default/app main)" "$expected"
uid=$(ask pods default/app -o json | jq -r .uid)
check_equal "by uid, with NULs" "$(ask env "$uid" main -0 | tr '\0' '\n')" "$expected"
check_equal "the same with -o null" "$(ask env default/app main -o null | cksum)" "$(ask env default/app main -0 | cksum)"
check_equal "as JSON" "$(ask env default/app main -o json | jq -r '.[]')" "$expected"
check_equal "a container without any" "$(ask env default/app bare -o json; ask env default/app bare)" "[]"
refused "a line cannot show a line break" 1 "variable L: its value has a line break, which a line cannot show: use -o null or -o json" \
	ask env default/app lines
check_equal "NULs can" "$(ask env default/app lines -0 | tr '\0\n' '!_')" "L=a_b!"
check_equal "a key may begin with a digit" "$(ask env default/app numbers 2>&1)" "1st=one
lines=
password=$canary-1"
out=$(ask env default/app service 2>&1 >"$TEST_DIR/stdout")
check_equal "a Service's variable stays as it is" "$(cat "$TEST_DIR/stdout")" 'API=$(KUBERNETES_SERVICE_HOST):443'
check_contains "and that is told" "$out" 'variable API: $(KUBERNETES_SERVICE_HOST) stays as it is'
check_equal "a manifest's pod has what a server would have filled in" "$(ask env default/anywhere c; ask env default/anywhere first)" \
	"NODE=node-1
CPU=1
MEMORY=67108864
MEMORY=33554432"
refused "a Secret that is not there" 1 'secret "none" not found' ask env default/app missing
refused "a key that is not there" 1 "couldn't find key nothing in Secret default/db" ask env default/app keyless
refused "an address that nobody knows" 1 "variable A: status.podIP of pod default/app is not known" ask env default/app address
refused "another container" 1 "has no container other (it has: main, lines" ask env default/app other
refused "another pod" 1 "no pod default/other on node node-1" ask env default/other main
refused "a container's name that cannot be" 2 "cannot be a container's name" ask env default/app ../x
refused "a form that is none" 2 "'xml' is not line, null, table, wide, json or yaml" ask env default/app main -o xml

# --- the manual's example, with a podman that notes what it is given
mount -t tmpfs none /run # the namespace is private
mkdir "$TEST_DIR/bin"
sed -n "/^Pull a pod's image/,/^\.Ed/p" "$here/../../man/secretlet.8" | sed '1,/^\.Bd/d; /^\.Ed/d; s/\\e/\\/g' >"$TEST_DIR/example.sh"
cat >"$TEST_DIR/bin/podman" <<-'S'
	#!/bin/bash
	echo "$1 ${!#}" >>"$TEST_DIR/podman.out"
	[[ $2 =~ ^--(authfile|env-file)$ ]] && cat "$3" >"$TEST_DIR/podman.$1"
S
cat >"$TEST_DIR/bin/secretlet" <<-S
	#!/bin/bash
	exec "$secretlet" "\$1" default/app \${3:+"\$CONTAINER"} --runtime-dir "$run"
S
chmod 755 "$TEST_DIR/bin"/*
example() { # example CONTAINER
	rm -f "$TEST_DIR/podman".*
	env TEST_DIR="$TEST_DIR" CONTAINER="$1" PATH="$TEST_DIR/bin:$PATH" image=web bash "$TEST_DIR/example.sh" >"$TEST_DIR/example.out" 2>&1
}
check "the manual's example goes well" example main
check_equal "it pulls and runs" "$(cat "$TEST_DIR/podman.out")" $'pull web\nrun web'
check_equal "with the environment" "$(cat "$TEST_DIR/podman.run")" "$expected"
check "and the credentials" jq -e '.auths | length == 3' "$TEST_DIR/podman.pull"
check "without an environment the manual's example fails" not example missing
check_equal "and starts nothing" "$(cat "$TEST_DIR/podman.out")" "pull web"
check_equal "nothing is left in /run" "$(ls /run)" ""

# --- who may ask
code() { curl -s -o "$TEST_DIR/body" -w '%{http_code}' --unix-socket "$run/control.sock" "http://x/v1/pods/default/app$1"; }
member() { # member PATH: as a member of the group
	setpriv --reuid 61000 --regid daemon --clear-groups curl -s -w '%{http_code}' --unix-socket "$run/control.sock" \
		"http://x/v1/pods/default/app$1"
}
check_equal "root may" "$(code /containers/main/env) $(code /pull-config)" "200 200"
check_contains "a member of the group may ask for the pod" "$(member "")" '"ready": true'
check_contains "but not for values" "$(member /containers/main/env)" "only root is given values of Secrets"
check_contains "with 403" "$(member /containers/main/env)" "}
403"
check_contains "nor for pull credentials" "$(member /pull-config)" "only root is given values of Secrets"
check_equal "and got none" "$(member /containers/main/env | grep -c "$canary")$(member /pull-config | grep -c "$canary")" 00
check_contains "mounts are for members" "$(member /containers/paths/mounts)" "/v/web/app.key"
check_equal "a POST is none" "$(curl -s -o /dev/null -w '%{http_code}' -X POST --unix-socket "$run/control.sock" \
	http://x/v1/pods/default/app/containers/main/env)" 405

# --- pull credentials
out=$(ask pull-config default/app 2>&1 >"$TEST_DIR/stdout")
check_equal "pull secrets are merged, and the first wins" "$(jq -cS . "$TEST_DIR/stdout")" \
	"$(jq -cnS --arg a "$user_1" --arg b "$user_2" '{auths: {"one.example.com": {auth: $a}, "all.example.com": {auth: $a},
		"two.example.com": {auth: $b}}}')"
check_equal "what is missing or no pull secret is told" "$out" \
	"secretlet: secret \"none\" not found: skipped
secretlet: secret default/db: its type is Opaque, not kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg: skipped"

# --- a rotation
put db <<-Y
	apiVersion: v1
	kind: Secret
	metadata: {name: db}
	stringData: {password: "$canary-2", lines: "a"}
	---
	apiVersion: v1
	kind: ConfigMap
	metadata: {name: settings}
	data: {HOST: db.example.com, DIR: web}
Y
check "what is new is handed out" eventually 10 "ask env default/app shown | grep -q '^P=$canary-2\$'"
put db <<-Y
	apiVersion: v1
	kind: Secret
	metadata: {name: db}
	data: {password: "$canary-3, no base64!"}
	---
	apiVersion: v1
	kind: ConfigMap
	metadata: {name: settings}
	data: {HOST: db.example.com, DIR: web}
Y
check "a Secret that is refused keeps its last good version" eventually 10 \
	"ask env default/app shown 2>&1 | grep -q 'taken is what was good before'"
check_equal "which is handed out" "$(ask env default/app shown 2>/dev/null)" "P=$canary-2"
check_equal "who was given what is logged" \
	"$(grep -c 'environment: handed out pod=default/app container=main pid=[0-9]* uid=0' "$log")" 7
check_contains "and who was not" "$(grep 'container=keyless' "$log")" "environment: asked for, not handed out"
stop

# --- mistakes, with their place
cat >"$TEST_DIR/bad.yaml" <<-'Y'
	apiVersion: v1
	kind: Pod
	metadata: {name: app}
	spec:
	  containers:
	  - name: main
	    env:
	    - name: A
	      valueFrom: {secretKeyRef: {name: db}}
Y
out=$("$secretlet" check "$TEST_DIR/bad.yaml" 2>&1)
check_equal "check: exit status" $? 1
check_contains "check: what is wrong, and where" "$out" "bad.yaml:9:"
check_contains "check: in the API server's words" "$out" "spec.containers[0].env[0].valueFrom.secretKeyRef.key: Required value"

# --- the test API server
"$TEST_BUILD_DIR/apiserver" --port 0 >"$TEST_DIR/server.out" 2>"$TEST_DIR/server.err" &
server=$!
eventually 10 "grep -q http '$TEST_DIR/server.out'"
url=$(head -n 1 "$TEST_DIR/server.out")
cat >"$TEST_DIR/kubeconfig" <<-Y
	apiVersion: v1
	kind: Config
	current-context: c
	contexts: [{name: c, context: {cluster: k, user: u}}]
	clusters: [{name: k, cluster: {server: "$url"}}]
	users: [{name: u, user: {}}]
Y
api() { # api METHOD PATH [BODY]
	curl -sS -o /dev/null -X "$1" -H 'Content-Type: application/json' --data-binary "${3:-}" "$url/api/v1/namespaces/default/$2"
}
secret() { # secret NAME VALUE
	jq -n --arg name "$1" --arg value "$2" '{apiVersion: "v1", kind: "Secret", metadata: {name: $name}, stringData: {password: $value}}'
}
api POST secrets "$(secret db "$canary-api-1")"
api POST secrets "$(secret volume "$canary-volume")"
api POST pods "$(jq -n '{apiVersion: "v1", kind: "Pod", metadata: {name: "app"}, spec: {nodeName: "node-1",
	volumes: [{name: "v", secret: {secretName: "volume"}}],
	containers: [
		{name: "c", image: "i", volumeMounts: [{name: "v", mountPath: "/v"}], env: [
			{name: "P", valueFrom: {secretKeyRef: {name: "db", key: "password"}}}, {name: "Q", value: "<$(P)>"}]},
		{name: "held", image: "i", env: [{name: "P", valueFrom: {secretKeyRef: {name: "volume", key: "password"}}}]},
		{name: "none", image: "i", env: [{name: "P", valueFrom: {secretKeyRef: {name: "none", key: "password"}}}]}]}}')"
configure "kubeconfig: kubeconfig" "serveEnvironment: true"
start
check "API server: the pod is ready" ask wait --quiet --timeout 20s default/app
before=$(ask status -o json | jq .source.requests)
check_equal "API server: the environment" "$(ask env default/app c)" "P=$canary-api-1
Q=<$canary-api-1>"
check_equal "it takes one request" "$(($(ask status -o json | jq .source.requests) - before))" 1
api PUT secrets/db "$(secret db "$canary-api-2")"
check_equal "each one asks anew" "$(ask env default/app c)" "P=$canary-api-2
Q=<$canary-api-2>"
refused "API server: a Secret that is not there" 1 'secret "none" not found' ask env default/app none
check_equal "what an environment needs is not followed" "$(ask secrets -o json | jq -c '[.secrets[].name]')" '["volume"]'

# many at once, one given up half-way
for i in $(seq 20); do ask env default/app c >"$TEST_DIR/many.$i" & done
timeout 0.02 "$secretlet" env --runtime-dir "$run" default/app c >/dev/null 2>&1
for i in $(jobs -p); do [ "$i" = "$keeper" ] || [ "$i" = "$server" ] || wait "$i"; done
check_equal "twenty at once" "$(cat "$TEST_DIR"/many.* | sort | uniq -c | xargs)" \
	"20 P=$canary-api-2 20 Q=<$canary-api-2>"

search() { # search NEEDLE: how often it is in the agent's memory outside the arena
	python3 - "$here/../canary" "$(pgrep -P "$keeper" -f internal-agent)" "$1" <<-'P'
		import sys
		sys.path.insert(0, sys.argv[1])
		import memory
		hits = memory.search_process(int(sys.argv[2]), "agent", memory.needles("value", sys.argv[3].encode()), memory.Searched())
		for hit in hits:
		    print("#", hit, file=sys.stderr)
		print(len([h for h in hits if not h.place.startswith("/memfd:secretlet-arena")]), len(hits))
	P
}
check_equal "what was handed out is not in the agent's memory" "$(search "$canary-api")" "0 0"
check_equal "the search finds what is there" "$(search "$canary-volume" 2>/dev/null | cut -d ' ' -f 2 | grep -c '^[1-9]')" 1

check_equal "nobody's ServiceAccount: no credentials" "$(ask pull-config default/app 2>/dev/null | jq -c .)" '{"auths":{}}'

kill "$server"
wait "$server"
check "the API server's end is noticed" eventually 20 "[ \"\$(ask status -o json | jq .source.connected)\" = false ]"
refused "nothing stale is handed out" 1 "secret default/db: the API server does not answer" ask env default/app c
refused "no credentials are not taken for all that there are" 1 "serviceaccount default/default: the API server does not answer" \
	ask pull-config default/app
out=$(ask env default/app held 2>&1 >"$TEST_DIR/stdout")
check_equal "but what a volume has" "$(cat "$TEST_DIR/stdout")" "P=$canary-volume"
check_contains "and that is said" "$out" "secret default/volume: the API server does not answer"
check_contains "with its time" "$out" "taken is what was told of it at 20"
check_equal "still nothing is in the agent's memory" "$(search "$canary-api")" "0 0"
stop
check_equal "no value is in the log" "$(grep -c "$canary" "$log")" 0
tap_done
