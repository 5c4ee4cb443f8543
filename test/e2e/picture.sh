#!/usr/bin/env bash
# timeout: 300
# README's picture can be made: each command of it does what it should, and shows what README's reader is to see.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

/usr/bin/python3 -c 'import rich' 2>/dev/null || skip_all "python3-rich is not installed"
picture=$TEST_DIR/picture.svg
"$lib_here/../picture" --build "$TEST_BUILD_DIR" --out "$picture" >"$TEST_DIR/picture.out" 2>&1
case $? in
0) ;;
77) skip_all "$(tail -n 1 "$TEST_DIR/picture.out")" ;;
*) bail "it is made" "$TEST_DIR/picture.out" ;;
esac
texts() { # texts FILE: what it shows; fails if that is no SVG
	/usr/bin/python3 -c 'import sys, xml.etree.ElementTree as e
print(*("".join(t.itertext()) for t in e.parse(sys.argv[1]).iter("{http://www.w3.org/2000/svg}text")), sep="\n")' "$1"
}
check "it is an SVG" eval 'texts "$picture" >"$TEST_DIR/texts"'
shown=$(cat "$TEST_DIR/texts")
for words in "correct-horse" "battery-staple" "secret/db patched" "waiting" "SecretNotFound: Secret" "default/job is ready: 1 volume"; do
	check_contains "it shows: $words" "$shown" "$words"
done
check_equal "nothing in it is fetched from elsewhere" "$(grep -cE '(href|src|url)[=(]"?[a-z]+:' "$picture")" 0
check "README has it" grep -q '](docs/secretlet.svg)' "$lib_here/../../README.md"
commands() { grep -E '^(crun|kubectl|secretlet) ' <<<"$1"; }
check_equal "README's has the same commands" "$(commands "$(texts "$lib_here/../../docs/secretlet.svg")")" "$(commands "$shown")"
tap_done
