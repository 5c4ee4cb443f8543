#!/usr/bin/env bash
# timeout: 120
# What the documents name is there: each command of secretlet with its options, each configuration key, manual page, make target and
# variable, file of the repository, and link. For README, SECURITY, CONTRIBUTING, CHANGELOG, docs/, deploy/kubernetes/README.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"
cd "$here/../.." || exit

secretlet=$TEST_BUILD_DIR/secretlet
documents=(README.md SECURITY.md CONTRIBUTING.md CHANGELOG.md docs/*.md deploy/kubernetes/README.md)
# what is code: blocks, and `spans`, one a line
code() {
	awk '/^```/ { inside = !inside; next } inside' "${documents[@]}"
	awk '/^```/ { inside = !inside; next } !inside' "${documents[@]}" | grep -oE '`[^`]+`' | tr -d '`'
}
code >"$TEST_DIR/code"
# once for each: the words of a call, up to what is the shell's
calls() {
	sed 's/namespace secretlet//g' "$TEST_DIR/code" | grep -oE '(^|[ (`])secretlet +[a-z][^|;&)>`"#]*' | sed 's/^[ (`]*//' | sort -u
}
commands=$("$secretlet" --help | awk '/^Commands:/ { on = 1; next } /^$/ { on = 0 } on { print $1 }')
# has_option COMMAND OPTION
has_option() { "$secretlet" help "$1" 2>&1 | grep -qE -- "(^|[ ,])$2([ ,=]|\$)"; }
unknown_calls() {
	local words word command
	while read -ra words; do
		command=${words[1]}
		case " run help version ${commands//$'\n'/ } " in *" $command "*) ;; *) echo "$command: ${words[*]}" && continue ;; esac
		for word in "${words[@]:2}"; do
			case $word in
			-[a-z0-9]* | --[a-z]*) has_option "$command" "${word%%=*}" || echo "$command has no $word" ;;
			esac
		done
	done < <(calls)
}
check "there are calls" test "$(calls | wc -l)" -gt 20
check_equal "each command and option of secretlet is there" "$(unknown_calls)" ""
check "one that is not is seen" not has_option volumes --colours

# in YAML and in text: words of the configuration's form that stand alone
keys() { grep -oE '^[# ]*[a-z]+[A-Za-z]*:' examples/secretlet.yaml | tr -d '# :' | sort -u; }
unknown_keys() {
	# fields of blocks that are configurations
	awk '/kind: SecretletConfiguration/ { on = 1; next } /^(Y|```|---)/ || /^$/ { on = 0 } on' "${documents[@]}" deploy/kubernetes/configmap.yaml |
		grep -oE '^ *[a-z][A-Za-z]+:' | tr -d ' :' | sort -u | grep -vxFf <(keys)
	# and fields that are named in the text, with a value or alone, by their ends
	grep -xE '[a-z]+[A-Za-z]*(Dir|File|Limit|Timeout|Frequency|TTL|QPS|Burst|Events|Strategy|Group|Environment|Attributes|Containers|Lock|Log|Name)(: .*)?' "$TEST_DIR/code" |
		sed 's/:.*//' | sort -u | grep -vxFf <(keys) | grep -vxE 'nodeName|tokenFile|fsGroup'
}
check_equal "so is each configuration key" "$(unknown_keys)" ""
check "keys are looked for" grep -qx podsDir <(keys)

pages() { grep -ohE '\bsecretlet[a-z.-]*\([1-9]\)' "${documents[@]}" | sort -u; }
missing_pages() { pages | sed 's/(\(.\))/.\1/' | while read -r page; do [ -e "man/$page" ] || echo "$page"; done; }
check_equal "and each page of the manual" "$(missing_pages)" ""
sections() { # "secretlet(8), LIMITS": in capitals
	grep -ohE '\bsecretlet[a-z.-]*\([1-9]\), [A-Z]{2}[A-Z ]*[A-Z]\b' "${documents[@]}" | sort -u
}
missing_sections() {
	sections | sed -E 's/\((.)\), /.\1\t/' | while IFS=$'\t' read -r page section; do
		grep -qxE "\.S[hs] $section" "man/$page" || echo "$page: $section"
	done
}
check_equal "with its section" "$(missing_sections)" ""

missing_targets() {
	local word
	grep -oE '\bmake [^|;&`#]*' "$TEST_DIR/code" | sed 's/^make //' | xargs -n 1 | sort -u | while read -r word; do
		case $word in
		-* | build) ;;
		*=*) grep -qE "\b${word%%=*}\b" Makefile .ci/run test/run || echo "variable $word" ;;
		*) grep -qE "^([a-z-]+ )*$word( [a-z-]+)*:" Makefile || echo "target $word" ;;
		esac
	done
}
check_equal "and each target of make" "$(missing_targets)" ""

# paths of the repository, in code; NAME and DIR stand for something
missing_files() {
	grep -oE '\b(agent|common|fusefs|test|deploy|docs|examples|man)/[A-Za-z0-9_./-]*[A-Za-z0-9_]' "$TEST_DIR/code" | sort -u | grep -vE 'NAME|^deploy/\.$' |
		while read -r path; do [ -e "$path" ] || [ -x "build/$path" ] || [ -n "$(compgen -G "$path.c")" ] || echo "$path"; done
}
check_equal "and each file" "$(missing_files)" ""
broken_links() {
	local document target
	for document in "${documents[@]}"; do
		awk '/^```/ { inside = !inside; next } !inside' "$document" | grep -oE '\]\([^)]+\)' | sed 's/^](//; s/)$//' | while read -r target; do
			case $target in
			http*) ;;
			'#'*) ;;
			*) [ -e "$(dirname "$document")/${target%%#*}" ] || echo "$document: $target" ;;
			esac
		done
	done
}
check_equal "and each link" "$(broken_links)" ""
unlinked() { local d; for d in CONTRIBUTING.md CHANGELOG.md docs/*.md deploy/kubernetes/README.md; do grep -qF "$d" README.md || echo "$d"; done; }
check_equal "README names each of them" "$(unlinked)" ""
check_equal "none is of this machine" "$(grep -nE '/work/|/tmp/' "${documents[@]}")" ""
tap_done
