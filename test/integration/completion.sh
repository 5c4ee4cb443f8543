#!/usr/bin/env bash
# timeout: 120
# Completion in bash, zsh and fish: what each of them offers, with a daemon and without one. What there is to offer is compared with
# --help.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

completion=$here/../../deploy/completion
pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log manifests=$TEST_DIR/manifests bin=$TEST_DIR/bin
chmod 755 "$TEST_DIR"
mkdir "$manifests" "$bin" "$TEST_DIR/home" "$TEST_DIR/files" "$TEST_DIR/files/folder"
touch "$TEST_DIR/files/fine.yaml"
ln -s "$TEST_BUILD_DIR/secretlet" "$bin/secretlet"
export PATH=$bin:$PATH HOME=$TEST_DIR/home
cd "$TEST_DIR/files" || exit 1

in_bash() { # in_bash WORD...: the candidates for the last one, sorted
	bash -c '. "$1/secretlet.bash" && shift && COMP_WORDS=(secretlet "$@") COMP_CWORD=$# && _secretlet &&
		printf "%s\n" "${COMPREPLY[@]}"' - "$completion" "$@" 2>"$TEST_DIR/bash.err" | sort | paste -sd ' '
}
# what zsh's own functions would be given
in_zsh() {
	# shellcheck disable=SC2016
	zsh -f -c '_describe() { print -rl -- "${(@)${(P@)4}%%:*}" }; _files() { print -r -- "_files $*" }
		completion=$1; shift; words=(secretlet "$@") CURRENT=$#words; . $completion/_secretlet' \
		- "$completion" "$@" 2>"$TEST_DIR/zsh.err" | sort | paste -sd ' '
}
in_fish() {
	local line
	printf -v line '%q ' secretlet "${@:1:$#-1}"
	# shellcheck disable=SC2016
	fish --no-config -c 'source $argv[1]/secretlet.fish; complete -C $argv[2]' "$completion" "$line${!#}" \
		2>"$TEST_DIR/fish.err" | cut -f1 | sort | paste -sd ' '
}
shells=(bash)
for shell in zsh fish; do
	if command -v "$shell" >/dev/null; then shells+=("$shell"); else tap_skip "$shell" "no $shell"; fi
done
all() { # all NAME EXPECTED WORD...
	local name=$1 expected=$2 shell
	shift 2
	for shell in "${shells[@]}"; do
		check_equal "$shell: $name" "$("in_$shell" "$@")" "$expected"
		check_equal "$shell: $name: nothing is complained of" "$(cat "$TEST_DIR/$shell.err")" ""
	done
}

# --- the same as --help
commands=$(secretlet --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p' | sort)
all "the commands" "$(paste -sd ' ' <<<"$commands")" ""
for command in $commands; do
	[ "$command" = help ] && continue
	options=$(secretlet "$command" --help | sed -n 's/^  -., \(--[a-z-]*\).*/\1/p' | sort | paste -sd ' ')
	check_contains "$command has options" "$options" "--help"
	all "the options of $command" "$options" "$command" --
done
all "options that --ready leaves" "--color --help --ready --runtime-dir" status --ready --
all "and what makes no sense with verify" "" cache verify --out
all "a command for help" wait help wai
all "the end of a command" volumes vol
all "nothing is like it" "" vol.

# --- values
formats=$(secretlet volumes --help | sed -n 's/^  -o, --output FORMAT *//p' | sed 's/;.*//; s/,/ /g; s/ or / /' | tr -s ' \n' '\n' | sort | paste -sd ' ')
all "formats" "$formats" volumes --output ""
all "formats, after the letter" "$formats" volumes -o ""
all "levels" "debug error info warning" run --log-level ""
all "kinds" "all configMap secret token" secrets --kind ""
all "a kind's beginning" configMap secrets -k con
all "subcommands" "keygen list verify wipe" cache ""
check_equal "zsh: a value in one word with its option" "$([[ ${shells[*]} != *zsh* ]] || in_zsh volumes --output=js)" "$([[ ${shells[*]} != *zsh* ]] || echo --output=json)"
check_equal "fish: a value in one word with its option" "$([[ ${shells[*]} != *fish* ]] || in_fish volumes --output=js)" "$([[ ${shells[*]} != *fish* ]] || echo --output=json)"
check_equal "bash: a value in one word with its option, of which it makes three" "$(in_bash volumes --output = js)" json
check_equal "bash: where it makes one of it" "$(COMP_WORDBREAKS=' ' bash -c '. "$0/secretlet.bash"; COMP_WORDBREAKS=" "
	COMP_WORDS=(secretlet volumes --output=js) COMP_CWORD=2; _secretlet; echo "${COMPREPLY[*]}"' "$completion")" --output=json
all "a duration has no candidates" "" wait --timeout ""
check_equal "bash: files" "$(in_bash check f)" "fine.yaml folder"
check_equal "bash: folders" "$(in_bash run --manifests f)" folder
check_equal "bash: the file behind an option that must be there" "$(in_bash seal --public-key k f)" "fine.yaml folder"
[[ ${shells[*]} != *zsh* ]] || check_equal "zsh: files and folders are its own business" "$(in_zsh check "") $(in_zsh run -m "")" "_files  _files -/"
[[ ${shells[*]} != *fish* ]] || check_equal "fish: files" "$(in_fish check f)" "fine.yaml folder/"

# --- live names
all "without a daemon there are no names" "" wait --runtime-dir "$run" ""
for name in web worker; do
	cat >"$manifests/$name.yaml" <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: $name, namespace: shop}
		spec:
		  volumes: [{name: creds, secret: {secretName: db}}, {name: tls, secret: {secretName: web-tls}}]
		  initContainers: [{name: init, volumeMounts: [{name: tls, mountPath: /t}]}]
		  containers: [{name: app, volumeMounts: [{name: creds, mountPath: /c}]}]
	Y
done
secretlet run --manifests "$manifests" --node-name node-1 --pods-dir "$pods" --runtime-dir "$run" 2>>"$log" &
keeper=$!
check "the daemon is there" eventually 20 "secretlet status -o json --runtime-dir '$run' | jq -e '.pods.total == 2'"
all "pods" "shop/web shop/worker" wait --runtime-dir "$run" ""
all "a pod's beginning" shop/worker explain -r "$run" shop/wo
all "containers" "app init" mounts -r "$run" shop/web ""
all "volumes" "creds tls" explain -r "$run" shop/web ""
all "Secrets" "shop/db shop/web-tls" refresh "--runtime-dir=$run" ""
all "no more words than there are" "" wait -r "$run" shop/web ""
all "a pod that nobody knows has no containers" "" mounts -r "$run" shop/nobody ""
chmod 755 "$run"
check_equal "who may not ask gets no names, and no complaint" \
	"$(setpriv --reuid 65534 --regid 65534 --clear-groups secretlet internal-complete -- wait -r "$run" "" 2>&1)" ""

# --- zsh as somebody uses it
if command -v zsh >/dev/null; then
	# shellcheck disable=SC2016
	typed=$(zsh -f -c 'zmodload zsh/zpty
		zpty z "TERM=dumb zsh -f -i"
		zpty -w z "PS1=; unsetopt zle_bracketed_paste; fpath=($1 \$fpath); autoload -U compinit; compinit -u -d $2/dump; print READ\Y"
		zpty -r z line "*READY*"
		zpty -n -w z "secretlet explain -r $3 shop/we"$'"'\t'"'
		zpty -r -m z line "*shop/web*" && print -r -- "$line"
		zpty -d z' - "$completion" "$TEST_DIR" "$run" 2>"$TEST_DIR/zpty.err")
	check_contains "zsh: a name that is typed in part is completed" "$typed" "shop/web"
fi
kill "$keeper"
wait "$keeper"
tap_done
