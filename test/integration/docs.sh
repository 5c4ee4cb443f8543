#!/usr/bin/env bash
# timeout: 60
# What README.md and SECURITY.md say of the tests: each that they name is there, and so is each case; and the table of features
# has no empty cell and names, in each line, a script that runs against a real API server.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"
cd "$here/../.." || exit

in_code() { grep -oE '`[^`]+`' "$@" | tr -d '`'; }
# Names of scripts; e2e/NAME.sh is one of these, without a folder it is in any.
missing_scripts() {
	local name
	in_code -h README.md SECURITY.md | grep -oE '[A-Za-z0-9_/-]+\.(sh|py)\b' | sort -u | while read -r name; do
		[ -n "$(find . -path ./build -prune -o \( -path "*/$name" -perm -100 -print \))" ] || echo "$name"
	done
}
missing_programs() {
	local name
	in_code -h README.md SECURITY.md | grep -xE '(test|fuzz)_[a-z0-9_]+' | sort -u | while read -r name; do
		[ -n "$(find test -name "$name.c")" ] || grep -rqw "$name" test --include='*.c' --include='*.py' || echo "$name"
	done
}
# Cases stand behind the program that has them: `test_sandbox` (`a_case`, `another_case`), or alone in SECURITY.md's table of
# rules.
missing_cases() {
	local name
	in_code -h README.md SECURITY.md | grep -xE '[a-z0-9]+(_[a-z0-9]+){2,}' | grep -vE '^(test|fuzz)_' | sort -u | while read -r name; do
		grep -rqw "$name" test agent common fusefs --include='*.c' --include='*.h' --include='*.sh' || echo "$name"
	done
}
check_equal "each script that is named is there" "$(missing_scripts)" ""
check_equal "so is each program" "$(missing_programs)" ""
check_equal "and each case" "$(missing_cases)" ""

table() { sed -n '/^## Compared/,/^## /p' README.md | grep '^|' | sed '1,2d'; }
check "there is a table of features" test "$(table | wc -l)" -gt 20
check_equal "it has no empty cell" "$(table | grep -nE '\|[[:space:]]*\|')" ""
check_equal "each of its lines has six" "$(table | awk -F'|' 'NF != 8' | head -n 5)" ""
# The last cell: scripts of test/e2e
unverified() {
	local line scripts name
	table | while IFS= read -r line; do
		scripts=$(awk -F'|' '{ print $7 }' <<<"$line" | grep -oE '`[a-z0-9_-]+\.sh`' | tr -d '`')
		[ -n "$scripts" ] || echo "no script: $line"
		for name in $scripts; do [ -x "test/e2e/$name" ] || echo "no test/e2e/$name: $line"; done
	done
}
check_equal "each is shown by a script of test/e2e" "$(unverified)" ""
tap_done
