#!/usr/bin/env bash
# timeout: 900
# The verdicts of `secretlet check`, and of the daemon on a change, beside those of a real API server: what one of them
# refuses, the other refuses. Where they differ it is on purpose, and stands in the list at the end of each part.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

kube_up
cases=$TEST_DIR/cases overlays=$TEST_DIR/overlays n=0 n_asked=0
names=() wanted=()
declare -A path_of=() code_of=() refused_here=()
mkdir "$cases" "$TEST_DIR/answers"

# All objects are made by one jq, and all requests by one curl: hundreds of processes are what takes the time.

# write ID NAME KIND OBJECT: $cases/ID.json is to be the smallest good object with the other one merged into it. Each has
# a name of its own, or check would find it twice.
write() { printf '{"id": "%s", "name": "%s", "kind": "%s", "object": %s}\n' "$@" >>"$overlays"; }
write_secret() { write $((++n)) "a$n" Secret "$1"; }
write_pod() { write $((++n)) "a$n" Pod "$1"; }
write_file() { # write_file FILE: the Secret as it is
	mv "$1" "$cases/$((++n)).json"
	path_of[$n]=/api/v1/namespaces/default/secrets
}
make_objects() {
	local id path object
	jq -rc '(({apiVersion: "v1", kind, metadata: {name}} +
		if .kind == "Pod" then {spec: {containers: [{name: "c", image: "none"}]}} else {} end) * .object) as $object |
		($object.metadata.namespace // "" | tostring | if . == "" then "default" else @uri end) as $ns |
		"\(.id)\t/api/v1/namespaces/\($ns)/\(.kind | ascii_downcase)s\t\($object)"' "$overlays" >"$overlays.made" ||
		bail "the objects are JSON"
	while IFS=$'\t' read -r id path object; do
		printf '%s\n' "$object" >"$cases/$id.json"
		path_of[$id]=$path
	done <"$overlays.made"
	rm "$overlays"
}

# ask ID METHOD PATH: to be sent with $cases/ID.json
ask() {
	[ $((n_asked++)) -eq 0 ] || echo next
	printf '%s = "%s"\n' url "https://127.0.0.1:$kube_port$3" request "$2" data-binary "@$cases/$1.json" \
		header "Content-Type: application/json" user-agent e2e cacert "$kube/ca.crt" cert "$kube/admin.crt" \
		key "$kube/admin.key" output "$TEST_DIR/answers/$1" write-out "$1 %{http_code}\\n"
} >>"$TEST_DIR/requests"
answers() { # to all that was asked
	local id code
	code_of=()
	while read -r id code; do code_of[$id]=$code; done < <(curl -sS -K "$TEST_DIR/requests" 2>>"$TEST_DIR/curl.out")
	rm "$TEST_DIR/requests"
	n_asked=0
}

# theirs ID: sets verdict; what is neither good nor bad is shown as it is
theirs() {
	local body=''
	read -r body <"$TEST_DIR/answers/$1"
	case "${code_of[$1]:-none} $body" in
	20[01]\ *) verdict=good ;;
	401* | 429*) verdict="none: $body" ;;
	4[0-9][0-9]' {"kind":"Status",'*) verdict=bad ;;
	*) verdict="none: ${code_of[$1]:-} $body" ;;
	esac
}

# verdicts NAME OURS THEIRS: of what was written last
verdicts() { names[n]=$1 wanted[n]="here $2, there $3"; }

judge() { # all that was written
	local i file status
	make_objects
	for ((i = 1; i <= n; i++)); do ask "$i" POST "${path_of[$i]}?dryRun=All"; done
	answers
	"$secretlet" check -o json "$cases"/*.json >"$TEST_DIR/check.out" 2>"$TEST_DIR/check.err"
	status=$?
	check_equal "check looks at all of them and refuses some" "$status $(jq .files "$TEST_DIR/check.out")" "1 $n"
	while read -r file; do refused_here[${file##*/}]=bad; done < <(jq -r \
		'[.findings[] | select(.level == "error").file] | unique[]' "$TEST_DIR/check.out")
	for ((i = 1; i <= n; i++)); do
		theirs "$i"
		check_equal "${names[i]}" "here ${refused_here[$i.json]:-good}, there $verdict" "${wanted[i]}"
	done
}
secret() { write_secret "$3" && verdicts "secret: $2" "$1" "$1"; } # secret good|bad NAME OBJECT
pod() { write_pod "$3" && verdicts "pod: $2" "$1" "$1"; }
volume_is() { # volume_is good|bad NAME SECRET-SOURCE
	write_pod "{\"spec\": {\"volumes\": [{\"name\": \"v\", \"secret\": $3}]}}"
	verdicts "secret volume: $2" "$1" "$1"
}
item_is() { volume_is "$1" "item: $2" "{\"secretName\": \"s\", \"items\": [$3]}"; }
write_mount() { # write_mount MOUNT...: one of them is good
	local more
	more=$(printf ', %s' "$@")
	write_pod "{\"spec\": {\"volumes\": [{\"name\": \"v\"}], \"containers\": [{\"name\": \"c\", \"image\": \"none\",
		\"volumeMounts\": [{\"name\": \"v\", \"mountPath\": \"/a\"}$more]}]}}"
}
mount_is() { write_mount "$3" && verdicts "mount: $2" "$1" "$1"; }
letters=$(printf %0300d 0 | tr 0 a)
subdomain=${letters:0:63}.${letters:0:63}.${letters:0:63}.${letters:0:63}
quote() { # quote TEXT: sets quoted
	quoted=${1//\\/\\\\} quoted=${quoted//\"/\\\"} quoted=${quoted//$'\n'/\\n} quoted=${quoted//$'\r'/\\r}
	quoted="\"$quoted\""
}
typed() { # typed good|bad NAME TYPE DATA: values as they are
	secret "$1" "$3: $2" "{\"type\": \"$3\", \"stringData\": $4}"
}

# --- metadata
secret good "the smallest one" '{}'
pod good "the smallest one" '{}'
for kind in secret pod; do
	named() { "$kind" "$1" "name $2" "{\"metadata\": {\"name\": \"$3\"}}"; }
	named good "of 253 characters" "${subdomain:0:253}"
	named bad "of 254 characters" "${subdomain:0:254}"
	named good "with a part of 64 characters" "${letters:0:64}.b"
	named good "with dots and digits" 0.a-b.9
	for bad in '' A a_b -a a- a. .a a..b a/b 'a b' .. 'a%'; do named bad "'$bad'" "$bad"; done
	"$kind" bad "name is null" '{"metadata": {"name": null}}'
	"$kind" bad "name is a number" '{"metadata": {"name": 12}}'
	"$kind" bad "no metadata" '{"metadata": null}'
	"$kind" good "an empty namespace" '{"metadata": {"namespace": ""}}'
	for bad in A a.b a/b -a; do "$kind" bad "namespace '$bad'" "{\"metadata\": {\"namespace\": \"$bad\"}}"; done
	label() { "$kind" "$1" "label $2" "{\"metadata\": {\"labels\": $3}}"; }
	label good "of a prefix, empty, null" '{"a.b/C_d.e": "", "x": null, "0": "A-b_c.9"}'
	label good "of 63 characters" "{\"${subdomain:0:253}/${letters:0:63}\": \"${letters:0:63}\"}"
	label bad "with a name of 64 characters" "{\"${letters:0:64}\": \"\"}"
	label bad "with a prefix of 254 characters" "{\"${subdomain:0:254}/a\": \"\"}"
	label bad "with a value of 64 characters" "{\"a\": \"${letters:0:64}\"}"
	for bad in '' 'a b' /a a/ a/b/c -a a- A/b 'a_b/c'; do label bad "key '$bad'" "{\"$bad\": \"\"}"; done
	for bad in 'a b' -a a- a/b 'ä'; do label bad "value '$bad'" "{\"a\": \"$bad\"}"; done
	label bad "is a number" '{"a": 1}'
	label bad "is a list" '["a"]'
	annotation() { "$kind" "$1" "annotation $2" "{\"metadata\": {\"annotations\": $3}}"; }
	annotation good "with a prefix in capitals, any value" '{"A.b/c": "a b\n\u0001", "d": null}'
	annotation bad "key 'a b'" '{"a b": ""}'
	annotation bad "key 'a/b/c'" '{"a/b/c": ""}'
	annotation bad "is a boolean" '{"a": true}'
	annotations_of() { # annotations_of BYTES
		"write_$kind" "{\"metadata\": {\"annotations\": {\"a\": \"$(printf "%0$(($1 - 1))d" 0)\"}}}"
	}
	annotations_of $((256 << 10)) && verdicts "$kind: annotations of 256 KiB" good good
	annotations_of $(((256 << 10) + 1)) && verdicts "$kind: annotations of one byte more" bad bad
done

# --- keys and values
key() { quote "$3" && secret "$1" "key $2" "{\"data\": {$quoted: \"\"}}"; }
key good "of 253 characters" "${letters:0:253}"
key bad "of 254 characters" "${letters:0:254}"
for good in .a a.b A_b-1 ... -; do
	case "$good" in ...) verdict=bad ;; *) verdict=good ;; esac
	key "$verdict" "'$good'" "$good"
done
for bad in '' . .. ..a a/b 'a b' 'a*' ä $'a\nb'; do key bad "'${bad//$'\n'/ }'" "$bad"; done
secret bad "key 'a/b' in stringData" '{"stringData": {"a/b": ""}}'
secret good "a key in data and in stringData" '{"data": {"a": "YQ=="}, "stringData": {"a": "b"}}'
secret good "no keys" '{"data": null, "stringData": {}}'
secret good "values that are null" '{"data": {"a": null}, "stringData": {"b": null}}'
value() { quote "$3" && secret "$1" "base64 $2" "{\"data\": {\"k\": $quoted}}"; }
value good "empty" ""
value good "with line ends" $'Y\nQ=\r\n='
value good "with bits behind the last byte" YR==
for bad in YQ Y 'YQ=' 'YQ===' 'Y Q==' '====' '_-8=' '~~~~' 'YQ==YQ=='; do value bad "'$bad'" "$bad"; done
secret bad "a value in data that is a number" '{"data": {"k": 1}}'
secret bad "a value in stringData that is a number" '{"stringData": {"k": 8080}}'
secret bad "data is a list" '{"data": ["YQ=="]}'
secret bad "immutable is a string" '{"immutable": "true"}'
secret good "immutable is null" '{"immutable": null}'
secret good "a resourceVersion" '{"metadata": {"resourceVersion": "1"}}'
secret bad "type is a number" '{"type": 1}'

# --- 1 MiB in all values
sized() { # sized VERDICT NAME BYTES FIELD OTHER-BYTES
	head -c "$3" /dev/zero | tr '\0' x >"$TEST_DIR/value"
	head -c "$5" /dev/zero | tr '\0' y >"$TEST_DIR/other"
	jq -n --arg name "sized-$((n + 1))" --arg field "$4" --rawfile value "$TEST_DIR/value" \
		--rawfile other "$TEST_DIR/other" '{apiVersion: "v1", kind: "Secret", metadata: {$name}} + (if $field == "data"
		then {data: {k: ($value | @base64), l: ($other | @base64)}}
		else {data: {l: ($other | @base64)}, stringData: {k: $value}} end)' >"$TEST_DIR/doc"
	write_file "$TEST_DIR/doc"
	verdicts "secret: $2" "$1" "$1"
}
mib=$((1 << 20))
sized good "1 MiB in data" $mib data 0
sized bad "one byte more" $((mib + 1)) data 0
sized good "1 MiB in two values" $((mib - 5)) data 5
sized bad "one byte more in two values" $((mib - 5)) data 6
sized good "1 MiB with stringData" $((mib - 1)) stringData 1
sized bad "one byte more with stringData" $((mib - 1)) stringData 2

# --- the built-in types
typed good "anything" example.com/x '{}'
typed good "nothing" bootstrap.kubernetes.io/token '{}'
tls=kubernetes.io/tls
typed good "both keys, of any content" $tls '{"tls.crt": "", "tls.key": "rubbish"}'
typed bad "no key" $tls '{}'
typed bad "no tls.key" $tls '{"tls.crt": "a"}'
typed bad "no tls.crt" $tls '{"tls.key": "a"}'
basic=kubernetes.io/basic-auth
typed good "a name" $basic '{"username": ""}'
typed good "a password" $basic '{"password": "a"}'
typed bad "neither" $basic '{"user": "a"}'
ssh=kubernetes.io/ssh-auth
typed good "a key of any content" $ssh '{"ssh-privatekey": "rubbish"}'
typed bad "an empty key" $ssh '{"ssh-privatekey": ""}'
typed bad "no key" $ssh '{"ssh-publickey": "a"}'
for docker in dockercfg dockerconfigjson; do
	type=kubernetes.io/$docker
	docker() { quote "$3" && typed "$1" "$2" "$type" "{\".$docker\": $quoted}"; }
	docker good "an object" '{"auths": {"r.example": {"auth": "YTpi"}}}'
	docker good "an empty object, with space around it" $' {}\n'
	docker good "null" null
	docker good "a key twice, a large number" '{"a": 1, "a": 123456789012345678901234567890}'
	for bad in '' '{' '[]' '"a"' 1 '{} {}' '{a: 1}' "{'a': 1}" '{"a": 1e999}'; do docker bad "'$bad'" "$bad"; done
	typed bad "no key" "$type" '{"config.json": "{}"}'
done
token=kubernetes.io/service-account-token
account() { secret "$1" "$token: $2" "{\"type\": \"$token\", \"metadata\": {\"annotations\": $3}}"; }
account good "with an account" '{"kubernetes.io/service-account.name": "x"}'
account bad "with an empty account" '{"kubernetes.io/service-account.name": ""}'
account bad "with another annotation" '{"kubernetes.io/service-account.uid": "x"}'

# --- secret volumes
volume_is good "a name" '{"secretName": "s"}'
volume_is good "all fields" '{"secretName": "s", "defaultMode": 511, "optional": true, "items": []}'
volume_is good "fields that are null" '{"secretName": "s", "defaultMode": null, "optional": null, "items": null}'
volume_is bad "nothing" '{}'
volume_is bad "an empty name" '{"secretName": ""}'
volume_is bad "a name that is a number" '{"secretName": 1}'
volume_is bad "a string" '"s"'
volume_is good "mode 0" '{"secretName": "s", "defaultMode": 0}'
for mode in 512 -1 644 '"0644"' 0.5 2147483648; do
	volume_is bad "mode $mode" "{\"secretName\": \"s\", \"defaultMode\": $mode}"
	item_is bad "mode $mode" "{\"key\": \"k\", \"path\": \"p\", \"mode\": $mode}"
done
volume_is bad "optional is a string" '{"secretName": "s", "optional": "yes"}'
item_is good "mode 0777" '{"key": "k", "path": "p", "mode": 511}'
item_is bad "empty" '{}'
item_is bad "no key" '{"path": "p"}'
item_is bad "no path" '{"key": "k"}'
item_is bad "an empty path" '{"key": "k", "path": ""}'
item_is good "a key that no Secret can have" '{"key": "a/b", "path": "p"}'
item_is good "the same path twice" '{"key": "k", "path": "p"}, {"key": "l", "path": "p"}'
for path in a/b/..c . a//b a/ 'a b' .a a/...; do item_is good "path '$path'" "{\"key\": \"k\", \"path\": \"$path\"}"; done
for path in /p .. ../a a/.. a/../b ..a ... / ..a/b; do item_is bad "path '$path'" "{\"key\": \"k\", \"path\": \"$path\"}"; done
pod bad "items are an object" '{"spec": {"volumes": [{"name": "v", "secret": {"secretName": "s", "items": {}}}]}}'

# --- pods
volumes() { pod "$1" "volumes: $2" "{\"spec\": {\"volumes\": $3}}"; }
volumes good "without a type" '[{"name": "v"}, {"name": "w", "emptyDir": {}, "secret": null}]'
volumes bad "two with one name" '[{"name": "v"}, {"name": "v"}]'
volumes bad "two types" '[{"name": "v", "emptyDir": {}, "secret": {"secretName": "s"}}]'
volumes good "a name of 63 characters" "[{\"name\": \"${letters:0:63}\"}]"
volumes bad "a name of 64 characters" "[{\"name\": \"${letters:0:64}\"}]"
for bad in '' A a.b ../v -v; do volumes bad "name '$bad'" "[{\"name\": \"$bad\"}]"; done
volumes bad "no name" '[{"emptyDir": {}}]'
volumes bad "a string" '["v"]'
containers() { pod "$1" "containers: $2" "{\"spec\": {\"containers\": $3}}"; }
containers bad "none" '[]'
containers bad "null" null
containers bad "no name" '[{"image": "none"}]'
containers bad "two with one name" '[{"name": "c", "image": "none"}, {"name": "c", "image": "none"}]'
containers good "a name of 63 characters" "[{\"name\": \"${letters:0:63}\", \"image\": \"none\"}]"
for bad in "${letters:0:64}" A a.b; do containers bad "name '$bad'" "[{\"name\": \"$bad\", \"image\": \"none\"}]"; done
containers bad "an object" '{}'
pod bad "an init container with the name of a container" '{"spec": {"initContainers": [{"name": "c", "image": "none"}]}}'
pod bad "an init container whose volume is not there" '{"spec": {"initContainers": [{"name": "i", "image": "none",
	"volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}}'
pod bad "no spec" '{"spec": null}'
pod bad "spec is a list" '{"spec": []}'
pod good "nodeName" '{"spec": {"nodeName": "a.b"}}'
pod good "an empty nodeName" '{"spec": {"nodeName": ""}}'
pod bad "nodeName 'A'" '{"spec": {"nodeName": "A"}}'
for group in 0 2147483647; do pod good "fsGroup $group" "{\"spec\": {\"securityContext\": {\"fsGroup\": $group}}}"; done
for group in -1 2147483648 '"1"' 0.5; do pod bad "fsGroup $group" "{\"spec\": {\"securityContext\": {\"fsGroup\": $group}}}"; done

# --- mounts
mount_is good "all fields" '{"name": "v", "mountPath": "/b", "subPath": "x/y", "readOnly": true, "mountPropagation": "None"}'
mount_is good "a relative path" '{"name": "v", "mountPath": "b"}'
mount_is good "a path with a colon" '{"name": "v", "mountPath": "/b:c"}'
# shellcheck disable=SC2016 # for the server to expand
mount_is good "subPathExpr" '{"name": "v", "mountPath": "/b", "subPathExpr": "$(X)/y"}'
mount_is bad "no name" '{"mountPath": "/b"}'
mount_is bad "no volume of that name" '{"name": "w", "mountPath": "/b"}'
mount_is bad "no path" '{"name": "v"}'
mount_is bad "an empty path" '{"name": "v", "mountPath": ""}'
mount_is bad "the same path twice" '{"name": "v", "mountPath": "/a"}'
mount_is good "the same path with a slash" '{"name": "v", "mountPath": "/a/"}'
mount_is bad "readOnly is a string" '{"name": "v", "mountPath": "/b", "readOnly": "true"}'
for path in /x .. ../x x/.. x/../y; do
	mount_is bad "subPath '$path'" "{\"name\": \"v\", \"mountPath\": \"/b\", \"subPath\": \"$path\"}"
	mount_is bad "subPathExpr '$path'" "{\"name\": \"v\", \"mountPath\": \"/b\", \"subPathExpr\": \"$path\"}"
done
mount_is good "subPath '..x'" '{"name": "v", "mountPath": "/b", "subPath": "..x"}'
mount_is bad "both of them" '{"name": "v", "mountPath": "/b", "subPath": "x", "subPathExpr": "y"}'

# --- on purpose refused here alone: the manual's "What is refused". A server before 1.25 drops unknown fields without a
# word; what a volume shows must not depend on a letter
only_here() { verdicts "refused here alone: $1" bad good; }
write_secret '{"stringdata": {"a": "b"}}' && only_here "stringdata for stringData"
write_pod '{"spec": {"volumes": [{"name": "v", "secrets": {"secretName": "s"}}]}}' && only_here "secrets for secret"
write_pod '{"spec": {"volumes": [{"name": "v", "secret": {"secretName": "s", "mode": 256}}]}}' &&
	only_here "an unknown field in a secret volume"
write_pod '{"spec": {"volumes": [{"name": "v", "secret": {"secretName": "s", "items": [{"key": "k", "path": "p",
	"defaultMode": 256}]}}]}}' && only_here "an unknown field in an item"
write_mount '{"name": "v", "mountPath": "/b", "subpath": "x"}' && only_here "an unknown field in a mount"
write_pod '{"spec": {"volumes": [{"name": "v", "secret": {"secretName": "A_b"}}]}}' && only_here "a Secret that cannot be"
write_secret '{"metadata": {"name": null, "generateName": "a-"}}' && only_here "generateName"
write_pod '{"metadata": {"uid": "a/b"}}' && only_here "a uid that is none"
write_pod '{"metadata": {"uid": "by-name"}}' && only_here "the uid that is reserved"
write_secret '{"sealedData": {"a": "rubbish"}}' && only_here "sealedData that is not sealed"
echo '{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "name": "b"}}' >"$TEST_DIR/doc"
write_file "$TEST_DIR/doc" && only_here "a field twice"
write_secret '{"type": "kubernetes.io/dockercfg", "stringData": {".dockercfg": "{\"a\": \"\\ud800\"}"}}' &&
	only_here "half a surrogate pair in a docker configuration"

# --- on purpose refused there alone: what has no meaning here is not looked at
only_there() { verdicts "refused there alone: $1" good bad; }
write_pod '{"spec": {"containers": [{"name": "c"}]}}' && only_there "a container without an image"
write_pod '{"spec": {"restartPolicy": "Sometimes"}}' && only_there "the rest of a pod"
write_pod '{"spec": {"volumes": [{"name": "v", "hostPath": {}}]}}' && only_there "other volumes than of Secrets"
write_mount '{"name": "v", "mountPath": "/b", "mountPropagation": "Sideways"}' && only_there "mountPropagation"
write_secret '{"metadata": {"namespace": "nowhere"}}' && only_there "a namespace that is not there"
write_secret '{"metadata": {"finalizers": ["a b"]}}' && only_there "finalizers and owners"

judge

# --- changes of what is there: the daemon's verdict, against what it serves
manifests=$TEST_DIR/manifests n_updates=0 refused_there=''
mkdir "$manifests" "$TEST_DIR/fresh"
update() { # update good|bad NAME OLD NEW
	local u=u$((++n_updates))
	write "$u" "$u" Secret "$3"
	write "$u.new" "$u" Secret "$4"
	names[n_updates]=$2 wanted[n_updates]=$1
}
update good "another value" '{"data": {"k": "YQ=="}}' '{"data": {"k": "Yg=="}}'
update good "immutable from now on" '{"data": {"k": "YQ=="}}' '{"data": {"k": "Yg=="}, "immutable": true}'
update good "immutable, nothing else" '{"immutable": true, "data": {"k": "YQ=="}}' '{"immutable": true, "stringData": {"k": "a"}}'
update good "immutable, other labels" '{"immutable": true}' '{"immutable": true, "metadata": {"labels": {"a": "b"}}}'
update bad "immutable, another value" '{"immutable": true, "data": {"k": "YQ=="}}' '{"immutable": true, "data": {"k": "Yg=="}}'
update bad "immutable, one key more" '{"immutable": true}' '{"immutable": true, "data": {"k": ""}}'
update bad "immutable, one key less" '{"immutable": true, "data": {"k": ""}}' '{"immutable": true}'
update bad "no longer immutable" '{"immutable": true}' '{"immutable": false}'
update bad "no longer immutable, without the field" '{"immutable": true}' '{}'
update bad "no longer immutable, null" '{"immutable": true}' '{"immutable": null}'
update bad "another type" '{"type": "a"}' '{"type": "b"}'
update bad "no type any more" '{"type": "a"}' '{}'
update good "Opaque is the type of all that have none" '{}' '{"type": "Opaque"}'
update bad "a type that asks for keys" '{}' '{"type": "kubernetes.io/tls", "data": {"tls.crt": "", "tls.key": ""}}'
update bad "a key that is needed goes" '{"type": "kubernetes.io/basic-auth", "data": {"username": ""}}' \
	'{"type": "kubernetes.io/basic-auth"}'
update bad "a key that cannot be" '{}' '{"data": {"a/b": ""}}'

make_objects
for ((i = 1; i <= n_updates; i++)); do ask "u$i" POST /api/v1/namespaces/default/secrets; done
answers
for ((i = 1; i <= n_updates; i++)); do
	theirs "u$i"
	[ "$verdict" = good ] || bail "the old one of: ${names[i]}" "$TEST_DIR/answers/u$i"
	ask "u$i.new" PUT "/api/v1/namespaces/default/secrets/u$i?dryRun=All"
done
answers
for ((i = 1; i <= n_updates; i++)); do
	theirs "u$i.new"
	check_equal "a change there: ${names[i]}" "$verdict" "${wanted[i]}"
	[ "$verdict" = good ] || refused_there="$refused_there u$i"
	mv "$cases/u$i.json" "$manifests/"
	mv "$cases/u$i.new.json" "$TEST_DIR/fresh/u$i.json"
done

secretlet_start --manifests "$manifests" --node-name node-1
pod_json first '{}' >"$manifests/first.json"
require "$log" "the daemon has the old ones" ready first
check_equal "and refuses none" "$(status .source.rejected)" 0
for file in "$TEST_DIR"/fresh/*; do mv "$file" "$manifests/"; done
pod_json last '{}' >"$manifests/last.json"
require "$log" "it has seen the new ones" ready last
check_equal "it refuses what the server refuses" \
	"$(sed -n 's|.*secret default/\(u[0-9]*\): .*|\1|p' "$log" | sort -uV | xargs)" "$(xargs <<<"$refused_there")"
check_equal "and nothing else" "$(status .source.rejected)" "$(wc -w <<<"$refused_there")"
secretlet_stop
tap_done
