#!/usr/bin/env bash
# timeout: 600
# secretlet explain: each reason that the agent can give, with its code and its advice; where the daemon is not there, too. Runs
# in a private mount namespace (test/run sees to it).
# It takes long.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet
pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log objects=$TEST_DIR/objects
chmod 755 "$TEST_DIR"
mkdir "$objects"

object() { # object FILE: JSON on stdin, for the server to load
	cat >"$objects/$1.json"
}
# pod NAME VOLUMES [MORE]: volumes as in spec.volumes, each mounted; more is merged in
pod() {
	jq -n --arg name "$1" --argjson volumes "$2" --argjson more "${3:-"{}"}" '{apiVersion: "v1", kind: "Pod",
		metadata: {name: $name, namespace: "default", uid: "uid-\($name)"}, spec: {nodeName: "node-1",
		volumes: $volumes, containers: [{name: "c", image: "i",
			volumeMounts: [$volumes[] | {name, mountPath: "/v/\(.name)"}]}]}} * $more' | object "pod-$1"
}
secret() { # secret NAME DATA
	jq -n --arg name "$1" --argjson data "$2" '{apiVersion: "v1", kind: "Secret",
		metadata: {name: $name, namespace: "default"}, data: $data}' | object "a-$1"
}
volume() { # volume SECRET [MORE]
	jq -n --arg name "$1" --argjson more "${2:-"{}"}" '[{name: "v", secret: ({secretName: $name} + $more)}]'
}
projected() { # projected SOURCE
	jq -n --argjson source "$1" '[{name: "v", projected: {sources: [$source]}}]'
}
options() { # options TEXT
	jq -n --arg text "$1" '{metadata: {annotations: {"secretlet.dev/volumes": $text}}}'
}
explain() { "$secretlet" explain -o json --runtime-dir "$run" "$@" >"$TEST_DIR/findings.json" 2>"$TEST_DIR/explain.err"; }
finding() { jq -r --arg code "$1" "[.[] | select(.code == \$code)][0] | $2" "$TEST_DIR/findings.json"; }
has() { # has POD CODE
	explain "default/$1"
	[ "$(finding "$2" .code)" = "$2" ]
}
# says NAME POD CODE FIELD WORDS: this finding comes, and in this field it has these words; the exit status is 1
says() {
	local result
	if ! eventually 15 "has '$2' '$3'"; then
		tap_result "not ok" "$1" "no $3 in $(cat "$TEST_DIR/findings.json" "$TEST_DIR/explain.err")"
		return
	fi
	explain "default/$2"
	result=$?
	check_contains "$1" "$(finding "$3" "$4")" "$5"
	[ "$result" = "${6:-1}" ] || tap_result "not ok" "$1: the exit status" "$result"
}

# --- a server, and what stands between it and the agent: it has answers of its own for some Secrets
port=$(free_port) server_port=$(free_port)
cat >"$TEST_DIR/between.py" <<'P'
import http.client, http.server, json, sys, threading
server_port, faults = int(sys.argv[2]), sys.argv[3]
def status(code, reason, message=None, details=None):
	return json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
		"message": message or reason + " it is", "details": details or {}}).encode()
def refuses(what):
	return status(403, "Forbidden", what.split()[-1] + ' is forbidden: User "system:node:another" cannot ' + what)
ANSWERS = {
	"forbidden": (403, status(403, "Forbidden")),
	"unauthorized": (401, status(401, "Unauthorized")),
	"toomany": (429, status(429, "TooManyRequests")),
	"broken": (500, status(500, "InternalError")),
	"nowhere": (404, b"404 page not found"),
	"odd": (200, b"<html>Please log in</html>"),
}
# by account, as kube-apiserver puts it
TOKENS = {
	"unallowed": (403, refuses("create resource serviceaccounts/token")),
	"nobody": (404, status(404, "NotFound", 'serviceaccounts "nobody" not found', {"kind": "serviceaccounts", "name": "nobody"})),
}
class Handler(http.server.BaseHTTPRequestHandler):
	protocol_version = "HTTP/1.1"
	def answer(self):
		body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
		try:
			with open(faults) as f:
				wrong = f.read().split()
		except OSError:
			wrong = []
		found = [a for name, a in ANSWERS.items() if "secrets" in self.path and (name in self.path or name in wrong)]
		found += [a for name, a in TOKENS.items() if f"/serviceaccounts/{name}/token" in self.path]
		found += [(403, refuses("list pods"))] if "nopods" in wrong and "/api/v1/pods" in self.path else []
		for code, text in found[:1]:
			self.send_response(code)
			self.send_header("Content-Length", str(len(text)))
			self.end_headers()
			self.wfile.write(text)
			return
		try:
			c = http.client.HTTPConnection("127.0.0.1", server_port)
			c.request(self.command, self.path, body or None, {"Content-Type": "application/json"})
			r = c.getresponse()
			self.send_response(r.status)
			self.send_header("Content-Type", "application/json")
			self.send_header("Transfer-Encoding", "chunked")
			self.end_headers()
			while data := r.read1():
				self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
			self.wfile.write(b"0\r\n\r\n")
		except OSError:
			self.close_connection = True
	do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer
	def log_message(self, *args):
		pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
P
server_start() {
	: >"$TEST_DIR/server.out"
	"$TEST_BUILD_DIR/apiserver" --port "$server_port" --load "$objects" >"$TEST_DIR/server.out" 2>>"$TEST_DIR/server.err" &
	server=$!
	eventually 10 "grep -q http '$TEST_DIR/server.out'"
}
between_start() {
	python3 "$TEST_DIR/between.py" "$port" "$server_port" "$TEST_DIR/faults" 2>>"$TEST_DIR/between.err" &
	between=$!
	eventually 10 "curl -s -o /dev/null http://127.0.0.1:$port/"
}
end() { # end PID
	kill "$1"
	wait "$1" 2>/dev/null
}
kubeconfig() { # kubeconfig URL [CA]
	cat <<-Y
		apiVersion: v1
		kind: Config
		current-context: c
		contexts: [{name: c, context: {cluster: k, user: u}}]
		clusters: [{name: k, cluster: {server: "$1"${2:+, certificate-authority: "$2"}}}]
		users: [{name: u, user: {}}]
	Y
}
kubeconfig "http://127.0.0.1:$port" >"$TEST_DIR/kubeconfig"

# --- without a daemon
explain default/web
check_equal "without a daemon the exit status is 3" $? 3
check_equal "and what is said is that there is none" "$(finding NoDaemon .code)" NoDaemon
check_contains "with where it was looked for" "$(finding NoDaemon .message)" "$run/control.sock"
check_contains "and what to do" "$(finding NoDaemon '.commands[0]')" "systemctl status secretlet"
check_contains "people read the same" "$("$secretlet" explain --runtime-dir "$run" default/web)" "NoDaemon: cannot reach secretlet"

# --- each reason of a volume
secret db "$(jq -n '{user: ("u" | @base64), host: ("canary-host" | @base64)}')"
secret invalid '{"k": "%%%"}'
pod healthy "$(volume db)"
pod absent "$(volume nobody '{"items": [{"key": "user", "path": "u"}]}')"
pod maybe "$(volume nobody '{"optional": true}')"
pod key "$(volume db '{"items": [{"key": "password", "path": "p"}]}')"
pod maybekey "$(volume db '{"optional": true, "items": [{"key": "password", "path": "p"}, {"key": "user", "path": "u"}]}')"
pod configmap '[{"name": "v", "configMap": {"name": "app"}}]'
for fault in forbidden unauthorized toomany broken nowhere odd; do pod "$fault" "$(volume "$fault")"; done
pod invalid "$(volume invalid)"
pod token "$(projected '{"serviceAccountToken": {"path": "t"}}')"
pod tokenrefused "$(projected '{"serviceAccountToken": {"path": "t"}}')" '{"spec": {"serviceAccountName": "unallowed"}}'
pod tokenless "$(projected '{"serviceAccountToken": {"path": "t"}}')" '{"spec": {"serviceAccountName": "nobody"}}'
pod refused "$(volume db)" '{"spec": {"volumes": "none"}}'
pod option "$(volume db)" "$(options $'v:\n  layout: round')"
pod signal "$(volume db)" "$(options $'v:\n  onChange: SIGNOTHING')"
pod layout "$(volume db)"
pod mirror "$(volume db)" '{"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}'
pod paths "$(volume db '{"items": [{"key": "user", "path": "a"}, {"key": "host", "path": "a/b"}]}')"
pod absolute "$(volume db '{"items": [{"key": "user", "path": "/a"}]}')"
pod mountpath "$(volume db)" '{"spec": {"containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "../up"}]}]}}'
pod field "$(projected '{"downwardAPI": {"items": [{"path": "f", "fieldRef": {"fieldPath": "metadata.nothing"}}]}}')"
pod resource "$(projected '{"downwardAPI": {"items": [{"path": "f", "resourceFieldRef": {"containerName": "nobody", "resource": "limits.cpu"}}]}}')"
pod node "$(projected '{"downwardAPI": {"items": [{"path": "f", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}}]}}')"
pod finished "$(volume db)" '{"status": {"phase": "Succeeded"}}'
pod bare '[{"name": "v", "emptyDir": {}}]'
server_start
between_start
"$secretlet" run --kubeconfig "$TEST_DIR/kubeconfig" --node-name node-1 --pods-dir "$pods" --runtime-dir "$run" 2>>"$log" &
keeper=$!
check "the daemon is there" eventually 20 "'$secretlet' status -o json --runtime-dir '$run' | jq -e .source.podsSynced"

says "what is healthy is explained, too" healthy Ready '.details | join("; ")' "of Secret default/db, revision" 0
says "with the mount that a container needs" healthy Ready '.details | join("; ")' "container c has it at /v/v" 0
says "with the keys" healthy Ready '.details | join("; ")' "host, user" 0
says "and with how it is updated" healthy Ready '.details | join("; ")' "updates: at once" 0
says "an absent Secret" absent SecretNotFound .object "Secret default/nobody"
says "an absent Secret is to be created, value by value from a file" absent SecretNotFound '.commands | join("; ")' \
	"kubectl -n default create secret generic nobody --from-file=user=FILE"
says "an absent Secret that is optional" maybe OptionalNotFound .level note 0
says "an absent key" key KeyNotFound .message password
says "an absent key, and those that there are" key KeyNotFound .advice "asks for password, and Secret default/db has host, user"
says "an absent key that is optional" maybekey OptionalKeyNotFound .advice "without password" 0
says "an absent ConfigMap" configmap ConfigMapNotFound .object "ConfigMap default/app"
says "403" forbidden Forbidden .message "Forbidden it is"
says "403, and how to look into it" forbidden Forbidden '.commands[0]' \
	"kubectl auth can-i get secrets/forbidden -n default --as=system:node:node-1 --as-group=system:nodes"
says "401" unauthorized Unauthorized .message "Unauthorized it is"
says "429" toomany TooManyRequests .message "TooManyRequests it is"
says "500" broken ApiServerError .message "InternalError it is"
says "404 of somebody else" nowhere NotFoundAtServer .object "Secret default/nowhere"
says "a login page" odd AnswerInvalid .advice "does not speak as an API server"
says "a Secret that cannot be" invalid ObjectInvalid .message "data.k"
says "a token that nobody makes" token NotFoundAtServer .object "token of pod default/token"
says "403 of a token, and what it takes" tokenrefused TokenForbidden .advice \
	"system:node:another and does not let it make a token of ServiceAccount default/unallowed: that takes the verb create on serviceaccounts/token"
says "and how to look into it" tokenrefused TokenForbidden '.commands[0]' \
	"kubectl auth can-i create serviceaccounts/unallowed --subresource=token -n default --as=system:node:another --as-group=system:nodes"
says "404 of a token" tokenless ServiceAccountNotFound .message 'serviceaccounts "nobody" not found'
says "and how to end it" tokenless ServiceAccountNotFound '.commands[1]' "kubectl -n default create serviceaccount nobody"
says "a pod that is refused is not unknown" refused PodRefused .message "pod default/refused: spec.volumes: "
check_equal "and not called so" "$(finding PodUnknown .code)" null
explain uid-refused
check_contains "nor when it is asked for by its UID" "$(finding PodRefused .message)" "pod default/refused: spec.volumes: "
check "who waits for it is told why" bash -c "'$secretlet' wait --runtime-dir '$run' --timeout 100ms uid-refused 2>&1 | grep -q 'pod uid-refused is refused: pod default/refused: spec.volumes: '"
says "an option that is wrong" option VolumeOptionInvalid .message "v.layout"
says "an option that is wrong, and its place" option AnnotationInvalid .object "annotation secretlet.dev/volumes:2:"
says "a signal that there is not" signal VolumeOptionInvalid .message "v.onChange"
says "a static pod" mirror StaticPod .advice "mirror of a static pod"
says "a file that is a folder" paths PathInvalid .advice "items[].path"
says "a path that cannot be" absolute PathInvalid .message "must be relative path"
says "a mount path that leads out" mountpath MountPathInvalid .message "../up"
says "a field that there is not" field VolumeInvalid .message "downwardAPI.items[0].fieldRef.fieldPath"
says "a resource of a container that there is not" resource FieldInvalid .message "container nobody not found"
says "a limit that is the node's" node NodeNotFetched .advice "Node object has not come"
says "a finished pod" finished PodFinished .advice "phase Succeeded"
says "a pod with nothing of ours" bare NoVolumes .level note 0
says "a pod that nobody knows, and who is like it" helthy PodUnknown .message "is it default/healthy?"
explain default/healthy w
check_contains "a volume that nobody knows" "$(finding VolumeUnknown .advice)" "The pod has v."

# --- a layout that cannot be changed
pod layout "$(volume db)" "$(options $'v:\n  layout: flat')"
curl -sf -o /dev/null -X PUT -H 'Content-Type: application/json' --data-binary "@$objects/pod-layout.json" \
	"http://127.0.0.1:$port/api/v1/namespaces/default/pods/layout"
says "a layout that stays" layout LayoutUnchangeable '.commands[0]' "kubectl -n default delete pod layout"
says "is no reason to show nothing" layout LastGoodShown .message "the last good content is shown"

# --- for people
text=$("$secretlet" explain --runtime-dir "$run" default/key v)
check_equal "the exit status says that something is wrong" $? 1
check_contains "people read the object" "$text" "volume v: Secret default/db"
check_contains "the reason" "$text" "  KeyNotFound: Secret \"db\" has no key password"
check_contains "and a command" "$text" "    $ kubectl -n default edit secret db"
check "no value is in any of it" not grep -rqE "canary-host|$(printf canary-host | base64)" "$TEST_DIR/findings.json" <<<"$text"
check_equal "the listing has the same word" "$("$secretlet" volumes -o json --runtime-dir "$run" default/key | jq -r '.volumes[0].reason')" KeyNotFound
check_contains "and since when" "$("$secretlet" volumes -o json --runtime-dir "$run" default/key | jq -r '.volumes[0].errorSince')" T

# --- the server fails, is away, and comes back
echo broken >"$TEST_DIR/faults"
curl -sf -o /dev/null -X DELETE "http://127.0.0.1:$port/api/v1/namespaces/default/pods/maybekey"
end "$between"
between_start
says "a server that fails later" healthy ApiServerError .message "InternalError it is"
says "takes nothing away" healthy LastGoodShown .message "2 files"
rm "$TEST_DIR/faults"
end "$between"
says "a server that is away" healthy ApiServerUnreachable .message "http://127.0.0.1:$port"
check_contains "since when" "$(finding ApiServerUnreachable .since)" T
check_contains "and what is shown meanwhile" "$(finding ApiServerUnreachable .advice)" "What is shown stays"
between_start
recovered() { explain default/healthy; }
check "a server that is back is no trouble any more" eventually 60 recovered

# --- pods that may not be listed
echo nopods >"$TEST_DIR/faults"
end "$between"
between_start
says "403 of the pods" healthy Forbidden .object "http://127.0.0.1:$port" # once as what is wrong with the source
check_equal "names who asked, and nothing is to be filled in" "$(finding Forbidden '.commands[0]')" \
	"kubectl auth can-i list pods --all-namespaces --as=system:node:another --as-group=system:nodes"
check_contains "and the node" "$(finding Forbidden .advice)" "list the pods of node node-1"
check_equal "in any of it" "$("$secretlet" explain --runtime-dir "$run" default/healthy | grep -E '\b(KINDS?|NAME|NS|NODE|USER|AS)\b')" ""
rm "$TEST_DIR/faults"
end "$between"
between_start
check "and no trouble when they may be" eventually 60 recovered

# --- a revision that is refused
pod healthy "$(volume db)" '{"spec": {"volumes": "none"}}'
curl -sf -o /dev/null -X PUT -H 'Content-Type: application/json' --data-binary "@$objects/pod-healthy.json" \
	"http://127.0.0.1:$port/api/v1/namespaces/default/pods/healthy"
says "a newer revision that is refused" healthy PodRevisionRefused .message "spec.volumes"
says "takes nothing away" healthy Ready .message "2 files"
pod healthy "$(volume db)"
curl -sf -o /dev/null -X PUT -H 'Content-Type: application/json' --data-binary "@$objects/pod-healthy.json" \
	"http://127.0.0.1:$port/api/v1/namespaces/default/pods/healthy"
check "one that makes sense again" eventually 20 recovered

# --- a publisher that is stopped has its socket open, and says nothing
publisher=$(pgrep -P "$keeper" -f '^secretlet-publisher')
kill -STOP "$publisher"
pod later "$(volume db)"
curl -sf -o /dev/null -X POST -H 'Content-Type: application/json' --data-binary "@$objects/pod-later.json" \
	"http://127.0.0.1:$port/api/v1/namespaces/default/pods"
says "a publisher that hangs" later PublisherHangs .message "one order takes"
check "is replaced, and its order done" eventually 60 "'$secretlet' explain --runtime-dir '$run' default/later"

# --- the mount, and who may ask
unshare -m bash -c "umount -l '$pods'; '$secretlet' explain -o json --runtime-dir '$run' default/healthy" >"$TEST_DIR/findings.json"
check_contains "a namespace without the mount" "$(finding NotMounted .advice)" "mount namespace"
chmod 755 "$run"
setpriv --reuid 65534 --regid 65534 --clear-groups "$secretlet" explain -o json --runtime-dir "$run" default/healthy >"$TEST_DIR/findings.json"
check_equal "who may not ask is told by the exit status" $? 3
check_contains "and by a finding" "$(finding NotAllowed .advice)" controlSocketGroup
end "$keeper"
end "$between"
end "$server"

# --- a limit
head -c 900000 /dev/zero | base64 -w0 >"$TEST_DIR/large"
for n in 1 2 3 4; do
	jq -n --arg n "$n" --rawfile data "$TEST_DIR/large" '{apiVersion: "v1", kind: "Secret",
		metadata: {name: "large-\($n)", namespace: "default"}, data: {k: $data}}' | object "a-large-$n"
	pod "large-$n" "$(volume "large-$n")"
done
cat >"$TEST_DIR/limit.yaml" <<-Y
	apiVersion: secretlet.config/v1alpha1
	kind: SecretletConfiguration
	secretMemoryLimit: 2Mi
Y
server_start
kubeconfig "http://127.0.0.1:$server_port" >"$TEST_DIR/kubeconfig"
"$secretlet" run --config "$TEST_DIR/limit.yaml" --kubeconfig "$TEST_DIR/kubeconfig" --node-name node-1 --pods-dir "$pods" --runtime-dir "$run" 2>>"$log" &
keeper=$!
some_are_too_many() { has large-1 SecretMemoryFull || has large-2 SecretMemoryFull || has large-3 SecretMemoryFull || has large-4 SecretMemoryFull; }
check "a limit that is reached" eventually 30 some_are_too_many
check_contains "and the field that raises it" "$(finding SecretMemoryFull .advice)" "secretMemoryLimit in the configuration"
end "$keeper"
end "$server"

# --- certificates: the server is there, and is not believed
tls=$TEST_DIR/tls
mkdir "$tls"
(
	set -e
	cd "$tls"
	: >index
	echo 01 >serial
	cat >ca.conf <<-C
		[ca]
		default_ca = d
		[d]
		database = $tls/index
		serial = $tls/serial
		new_certs_dir = $tls
		default_md = sha256
		policy = p
		unique_subject = no
		copy_extensions = copy
		[p]
		commonName = supplied
	C
	new=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
	for ca in ca other; do openssl req -x509 "${new[@]}" -keyout $ca.key -out $ca.crt -subj /CN=$ca -days 2; done
	request() { # request NAME ADDRESS BEGIN END
		openssl req "${new[@]}" -keyout "$1.key" -out "$1.csr" -subj /CN=server -addext "subjectAltName=$2"
		openssl ca -batch -notext -config ca.conf -cert ca.crt -keyfile ca.key -in "$1.csr" -out "$1.crt" -startdate "$3" -enddate "$4"
	}
	request old IP:127.0.0.1 20200101000000Z 20200102000000Z
	request young IP:127.0.0.1 20700101000000Z 20710102000000Z
	request name DNS:elsewhere.example 20200101000000Z 20710102000000Z
	request good IP:127.0.0.1 20200101000000Z 20710102000000Z
) >"$TEST_DIR/openssl.out" 2>&1
check_equal "certificates are made" $? 0
distrusted() { # distrusted NAME CERT CA CODE WORDS
	port=$(free_port)
	: >"$TEST_DIR/server.out"
	"$TEST_BUILD_DIR/apiserver" --port "$port" --cert "$tls/$2.crt" --key "$tls/$2.key" >"$TEST_DIR/server.out" 2>>"$TEST_DIR/server.err" &
	server=$!
	eventually 10 "grep -q http '$TEST_DIR/server.out'"
	kubeconfig "https://127.0.0.1:$port" "$tls/$3.crt" >"$TEST_DIR/kubeconfig"
	"$secretlet" run --kubeconfig "$TEST_DIR/kubeconfig" --node-name node-1 --pods-dir "$pods" --runtime-dir "$run" 2>>"$log" &
	keeper=$!
	says "$1" any "$4" .advice "$5"
	check_equal "$1: no pod is known then" "$(finding PodsNotKnown .code)" PodsNotKnown
	end "$keeper"
	end "$server"
}
distrusted "a certificate that has expired" old ca CertificateExpired "has expired, by this node's clock"
distrusted "a certificate that begins later" young ca CertificateNotYetValid "begins in the future"
distrusted "a certificate for another name" name ca CertificateWrongName "another name"
distrusted "a certificate of an unknown authority" good other CertificateUnknownAuthority "authority that the kubeconfig does not name"

# --- manifests
manifests=$TEST_DIR/manifests
mkdir "$manifests" "$TEST_DIR/keys"
"$secretlet" keygen --out "$TEST_DIR/keys" >"$TEST_DIR/keygen.out"
mkdir "$TEST_DIR/other"
"$secretlet" keygen --out "$TEST_DIR/other" >>"$TEST_DIR/keygen.out"
for name in absent sealed; do
	printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec:\n  volumes: [{name: v, secret: {secretName: %s}}]\n  containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}]}]\n' \
		"$name" "$name" >"$manifests/$name-pod.yaml"
done
cat >"$manifests/token.yaml" <<-Y
	apiVersion: v1
	kind: Pod
	metadata: {name: token}
	spec:
	  volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t}}]}}]
	  containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}]}]
Y
printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: sealed}\nstringData: {k: v}\n' |
	"$secretlet" seal --public-key "$TEST_DIR/other/sealing.pub" >"$manifests/sealed.yaml"
cat >"$TEST_DIR/secretlet.yaml" <<-Y
	apiVersion: secretlet.config/v1alpha1
	kind: SecretletConfiguration
	podsDir: $pods
	runtimeDir: $run
	nodeName: node-1
	manifestsDir: manifests
	sealedSecretsKeyFile: keys/sealing.key
Y
"$secretlet" run --config "$TEST_DIR/secretlet.yaml" 2>>"$log" &
keeper=$!
says "manifests: an absent Secret" absent SecretNotFound .advice "No manifest in $manifests has a Secret default/absent"
says "manifests: what to look at" absent SecretNotFound '.commands[0]' "secretlet check $manifests"
says "manifests: a value that is sealed to another key" sealed SealedValueUnreadable .advice "sealed to another key"
says "manifests: no tokens" token NoTokens .advice "made by an API server"
printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: refused}\nspec:\n  volumes: [{name: v, secret: {secretName: absent}, emptyDir: {}}]\n  containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}]}]\n' \
	>"$manifests/refused.yaml"
says "manifests: a pod that is refused, and where" refused PodRefused .message "refused.yaml:5:"
check_equal "manifests: and what to look at" "$(finding PodRefused '.commands[0]')" "secretlet check $manifests/refused.yaml"
refused=$("$secretlet" pods -o json --runtime-dir "$run" | jq -r '.refused[0].uid')
explain "$refused"
check_contains "manifests: also by its UID" "$(finding PodRefused .message)" "refused.yaml:5:"
printf 'a: [\n' >"$manifests/torn.yaml"
says "manifests: one of which nobody can say what is in it" elsewhere PodUnknown '.details | join("; ")' "torn.yaml:"
rm "$manifests/refused.yaml" "$manifests/torn.yaml"
printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: absent}\ndata: {k: "%%%%"}\n' >"$manifests/wrong.yaml"
says "manifests: one that is refused, and where" absent ManifestInvalid .message "wrong.yaml:4:"
end "$keeper"
tap_done
