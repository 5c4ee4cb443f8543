#!/usr/bin/env bash
# timeout: 300
# secretlet explain against a real API server: what goes wrong most often, in the API server's own words.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

findings=$TEST_DIR/findings.json
explain() { "$secretlet" explain -o json --runtime-dir "$run" "$@" >"$findings" 2>>"$TEST_DIR/explain.err"; }
finding() { jq -r --arg code "$1" "[.[] | select(.code == \$code)][0] | $2" "$findings"; }
has() { # has POD CODE
	explain "default/$1"
	[ "$(finding "$2" .code)" = "$2" ]
}
says() { # says NAME POD CODE FIELD WORDS
	if eventually 30 "has '$2' '$3'"; then
		check_contains "$1" "$(finding "$3" "$4")" "$5"
	else
		tap_result "not ok" "$1" "no $3 in $(cat "$findings")"
	fi
}
fine() { explain "default/$1"; }

kube_up
put_secret db user=u host=h
put_pod healthy '{"v": {"secretName": "db"}}'
put_pod absent '{"v": {"secretName": "nobody"}}'
put_pod key '{"v": {"secretName": "db", "items": [{"key": "password", "path": "p"}]}}'
put_pod elsewhere '{"v": {"secretName": "db"}}' '{"nodeName": "node-2"}'
secretlet_start --kubeconfig "$kube/node-1.kubeconfig" --node-name node-1
require "$log" "a pod becomes ready" ready healthy

check "what is healthy has no problem" eventually 20 fine healthy
check_contains "and is explained" "$(finding Ready '.details | join("; ")')" "of Secret default/db, revision"
says "an absent Secret" absent SecretNotFound .advice "Secret default/nobody does not exist"
says "an absent key" key KeyNotFound .advice "Secret default/db has host, user"
says "a pod of another node" elsewhere PodUnknown .advice "bound to node node-1"
check_contains "and where to see it" "$(finding PodUnknown '.commands[0]')" "kubectl -n default get pod elsewhere -o wide"
put_secret nobody k=v
check "what was absent is there, and all is well" eventually 30 fine absent

# --- the API server is stopped, and comes back
kube_stop_apiserver
says "an API server that is stopped" healthy ApiServerUnreachable .message "https://127.0.0.1:$kube_port"
check_equal "what is shown stays" "$(cat "$(volume healthy v)/user")" u
kube_start_apiserver
check "the API server is there again" eventually 60 kube_answers
check "and all is well" eventually 90 fine healthy
secretlet_stop
check_equal "it ends in peace" $? 0

# --- another node's identity: the Node authorizer does not let it read this node's Secrets
secretlet_start --kubeconfig "$kube/node-2.kubeconfig" --node-name node-1
says "403 of the Node authorizer" absent Forbidden .message "no relationship found between node 'node-2' and this object"
check_contains "403, and how to look into it" "$(finding Forbidden '.commands[0]')" \
	"kubectl auth can-i get secrets/nobody -n default --as=system:node:node-2 --as-group=system:nodes"
secretlet_stop
check_equal "it ends in peace, too" $? 0
tap_done
