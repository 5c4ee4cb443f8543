#!/usr/bin/env bash
# What a volume costs does not depend on how many there are: the memory of a new agent that takes over. Page faults are counted, and
# not time; linear_instructions.sh counts instructions.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"
# shellcheck source=../lib/linear.sh
. "$here/../lib/linear.sh"

"$TEST_BUILD_DIR/test/bench/resume" "$TEST_BUILD_DIR/secretlet" 1000 15000 >"$TEST_DIR/resume.jsonl"
faults() { jq "select(.volumes == $1) | .page_faults" "$TEST_DIR/resume.jsonl"; }
check "the memory of taking over" as_much "page faults" 1000 "$(faults 1000)" 15000 "$(faults 15000)"
tap_done
