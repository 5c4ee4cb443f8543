#!/usr/bin/env bash
# timeout: 400
# Pods that keep folders of their volumes locked in the kernel (test/tools/hold.c): the publisher that is to change one of them cannot even
# be killed. Another one takes its place, the others' updates come, and its own when it lets go; beyond a number of them nothing does.
# It takes long.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

skip_all() { echo "$*" && exit 77; }
[ "$(id -u)" = 0 ] || skip_all "root is needed"
secretlet=$TEST_BUILD_DIR/secretlet hold=$TEST_BUILD_DIR/test/tools/hold
manifests=$TEST_DIR/manifests pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log
[ -x "$hold" ] || skip_all "test/tools/hold has not been built (make tools)"
"$hold" "$TEST_DIR" </dev/null >/dev/null || skip_all "there is no userfaultfd"
mkdir "$TEST_DIR/removed"
check "a folder that cannot be listed keeps nobody" eval \
	"(cd '$TEST_DIR/removed' && rmdir ../removed && timeout 20 '$hold' . </dev/null >/dev/null; [ \$? = 1 ])"
mkdir -p "$manifests"
chmod 755 "$TEST_DIR"
asides_max=16

secret() { # secret NAME VALUE
	printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: %s}\nstringData: {key: "%s"}\n' "$1" "$2" >"$TEST_DIR/next"
	mv "$TEST_DIR/next" "$manifests/secret-$1.yaml"
}
pod() { # pod NAME [LAYOUT]
	cat >"$TEST_DIR/next" <<-Y
	apiVersion: v1
	kind: Pod
	metadata: {name: $1, uid: uid-of-$1, annotations: {secretlet.dev/volumes: '{"creds": {"layout": "${2:-}"}}'}}
	spec:
	  volumes: [{name: creds, secret: {secretName: $1}}]
	  containers: [{name: main, image: i, volumeMounts: [{name: creds, mountPath: /secret}]}]
	Y
	[ -n "${2:-}" ] || sed -i 's/, annotations: .*/}/' "$TEST_DIR/next"
	mv "$TEST_DIR/next" "$manifests/pod-$1.yaml"
}
wait_for() { "$secretlet" wait --quiet --runtime-dir "$run" --timeout 20s "default/$1"; }
start() {
	"$secretlet" run --config "$TEST_DIR/config.yaml" 2>>"$log" &
	keeper=$!
}
volume() { echo "$pods/uid-of-$1/volumes/kubernetes.io~secret/creds"; }
shows() { [ "$(cat "$(volume "$1")/key")" = "$2" ]; } # shows POD VALUE
comes() { eventually 60 "shows $1 $2"; }
ask() { "$secretlet" "$1" --runtime-dir "$run" -o json | jq -e "$2"; }
is() { ask status "$1" >/dev/null; }
reason() { # reason POD REASON
	ask pods ".. | objects | select(.name == \"$1\" and has(\"volumes\")) | .volumes[0].reason" | grep -qx "\"$2\""
}
aside() { eventually 60 "is '.publisher.aside == $1'"; }
publishers() { pgrep -P "$keeper" -f '^secretlet-publisher'; }
child() { pgrep -P "$keeper" -f "^secretlet-$1" | head -n 1; }

declare -A holder
hold() { # hold POD: until let_go POD
	mkfifo "$TEST_DIR/fifo-$1"
	(
		for fd in "${holder[@]}"; do exec {fd}>&-; done # the others' ends
		exec "$hold" "$(volume "$1")" <"$TEST_DIR/fifo-$1" >"$TEST_DIR/held-$1"
	) &
	exec {fd}>"$TEST_DIR/fifo-$1"
	holder[$1]=$fd
	rm "$TEST_DIR/fifo-$1"
	eventually 10 "grep -qx held '$TEST_DIR/held-$1'"
}
let_go() {
	local fd=${holder[$1]}
	exec {fd}>&-
	unset "holder[$1]"
}

printf '%s\n' 'apiVersion: secretlet.config/v1alpha1' 'kind: SecretletConfiguration' "manifestsDir: $manifests" \
	"podsDir: $pods" "runtimeDir: $run" "agentHangTimeout: 1s" >"$TEST_DIR/config.yaml"
for p in a b; do secret $p one && pod $p; done
for p in flat too; do secret $p one && pod $p flat; done
start
for p in a b flat too; do check "$p is ready" wait_for $p; done

# --- one pod
check "a folder is held" hold a
secret a two
secret b two
check "the other's update comes" comes b two
check "its own does not" shows a one
check "a publisher was put aside" aside 1
check "it is there, and cannot be killed" grep -q '^State:.*D' "/proc/$(publishers | head -n 1)/status"
check_equal "there is another" "$(publishers | wc -l)" 2
check_contains "status says so" "$(ask status '.problems[]')" "1 publisher hangs in a folder that a pod keeps locked"
check "the volume's reason is that" reason a FolderHeld
check "so does explain" grep -q PublishersAside <("$secretlet" explain --runtime-dir "$run" default/a -o json)
check_equal "the log names the pod, once" "$(grep -c "It is put aside.*uid-of-a" "$log")" 1

# --- what a flat volume's pod holds is every flat volume's
check "a flat volume is held, too" hold flat
secret flat two
check "another one was put aside" aside 2
secret too two
secret b three
check "updates of others come" comes b three
check "not those of flat ones" eventually 20 reason too RenameHeld
check_contains "whose error names the pod that is meant" "$(ask pods '.. | objects | select(.name == "too" and has("volumes")) | .volumes[0].error')" \
	"of the pod with the uid uid-of-flat;"
check "which show what they did" shows too one

# --- the next agent is told where not to go
kill -9 "$(child agent)"
check "after the agent's death: it is ready" eventually 20 "is .source.podsSynced"
secret b four
check "updates of others come" comes b four
check "it knows of both" is '.publisher.aside == 2'
check_equal "and no more were put aside" "$(grep -c "It is put aside" "$log")" 2

# --- they let go
let_go a
check "what it has held comes" comes a two
let_go flat
check "what the flat ones have held, too" comes flat two
check "and what has waited for them" eventually 150 shows too two
check "none is aside" aside 0
check_equal "there is one publisher" "$(publishers | wc -l)" 1
check "nothing is left over" eventually 20 "[ \"\$(find '$(volume a)/' -maxdepth 1 -name '..2*' | wc -l)\" = 1 ]"
check "all is well" eventually 20 "$secretlet status --runtime-dir $run"

# --- its agent dies before it has said where the publisher hangs
check "a is held again" hold a
secret a again
check "a publisher hangs there" eventually 20 "grep -q '^State:.*D' /proc/\$(child publisher)/status"
kill -9 "$(child agent)"
check "it is put aside, and no pod is named" eventually 20 "grep -q 'another one is started\$' '$log'"
let_go a
check "what was held comes" comes a again
check "none is aside" aside 0
check "each end is said" eventually 20 "[ \$(grep -c 'It is put aside' '$log') = \$(grep -c 'that was put aside (.*) has ended' '$log') ]"

# --- a pod that goes while it holds its folder
secret gone one
pod gone
check "one comes" wait_for gone
check "it is held" hold gone
secret gone two
check "a publisher was put aside" aside 1
rm "$manifests/pod-gone.yaml"
check "its pod goes all the same" eventually 20 "[ ! -e '$pods/uid-of-gone' ]"
check "while it is held" is '.publisher.aside == 1'
let_go gone
check "none is aside" aside 0

# --- somebody ends the file system meanwhile: the keeper does not wait
check "b is held" hold b
secret b five
check "a publisher hangs there" eventually 20 "grep -q '^State:.*D' /proc/\$(child publisher)/status"
umount -f "$pods"
check "the file system comes back, with the update" comes b five
check "an update of another comes" eval 'secret a three && comes a three'
let_go b
check "none is aside" eventually 20 "[ \"\$(publishers | wc -l)\" = 1 ]"

# --- too many
for i in $(seq $((asides_max + 1))); do secret "p$i" one && pod "p$i"; done
for i in $(seq $((asides_max + 1))); do wait_for "p$i" && hold "p$i" || echo "# p$i is not held"; done
for i in $(seq $((asides_max + 1))); do secret "p$i" two; done
check "$asides_max are put aside" eventually 150 "is '.publisher.aside == $asides_max'"
check "no more" eventually 30 "grep -q 'nothing is published until' '$log'"
check "status says that it hangs" eventually 20 "is .publisher.hangs"
secret b six
check "what is shown stays" shows b five
let_go p1
check "when one has let go, it goes on" comes b six
for i in $(seq 2 $((asides_max + 1))); do let_go "p$i"; done
all_come() {
	local i
	for i in $(seq $((asides_max + 1))); do comes "p$i" two || return 1; done
}
check "all that was held comes" all_come
check "none is aside" aside 0

# --- the end waits for nobody
check "a is held" hold a
secret a last
check "a publisher hangs there" eventually 20 "grep -q '^State:.*D' /proc/\$(child publisher)/status"
kill "$keeper"
check "the keeper ends" eventually 20 "[ ! -d /proc/$keeper ]"
wait "$keeper"
check_equal "exit status" $? 0
let_go a
tap_done
