#!/usr/bin/env bash
# timeout: 300
# The test runner itself: all the ways in which a test can go wrong count as failures. Its "programs" are scripts in a
# tree of their own.
# It takes long.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

# python3 may be a script that looks for one, each time
run=("$(python3 -c 'import sys; print(sys.executable)')" -IS "$here/../run")
tree=$TEST_DIR/tree
program() { # program NAME <BODY: a compiled test
	mkdir -p "$tree/test/unit" "$tree/build/test/unit"
	echo "cmocka_unit_test($1_case)" >"$tree/test/unit/test_$1.c"
	{ echo '#!/usr/bin/env bash'; cat; } >"$tree/build/test/unit/test_$1"
	chmod +x "$tree/build/test/unit/test_$1"
}
script() { # script NAME <BODY: an e2e script
	mkdir -p "$tree/test/e2e"
	{ echo '#!/usr/bin/env bash'; cat; } >"$tree/test/e2e/$1.sh"
	chmod +x "$tree/test/e2e/$1.sh"
}
running() { pgrep -f "$1" >/dev/null; }
empty_run() { "${run[@]}" --root "$tree" --build "$tree/build" "$@" >"$TEST_DIR/out"; }
# counts NAME LINE SUITE...: runs everything in the tree and removes it
counts() {
	local name=$1 line=$2 rc
	shift 2
	KEEP=0 "${run[@]}" --root "$tree" --build "$tree/build" "$@" >"$TEST_DIR/out" 2>&1
	rc=$?
	check_equal "$name" "$(tail -n 1 "$TEST_DIR/out")" "$line"
	case $line in
	*" 0 failed"*) check_equal "$name: exit status" "$rc" 0 ;;
	*) check_equal "$name: exit status" "$rc" 1 ;;
	esac
	rm -rf "$tree"
}

program good <<<'echo "1..2"; echo "ok 1 - a"; echo "ok 2 - b"'
counts "success" "2 passed, 0 failed, 0 skipped" unit

program bad <<<'echo "1..2"; echo "ok 1 - a"; echo "not ok 2 - b"; exit 1'
counts "a failing case" "1 passed, 1 failed, 0 skipped" unit
check "a failing case: its name is shown" grep -q "FAIL  unit/test_bad: not ok: b" "$TEST_DIR/out"
check "a failing case: says how to run it again" grep -q "repro: .*--only test_bad unit" "$TEST_DIR/out"

program bad <<<'echo "1..3"; echo "not ok 1 - a"; echo "# why"; echo "ok 2 - b"; echo "# c"; echo "not ok 3 - d"; exit 1'
counts "two that fail" "1 passed, 2 failed, 0 skipped" unit
check_equal "they are said first, and why" "$(grep '^    [>|]' "$TEST_DIR/out" | head -n 4 | xargs)" "> not ok 1 - a > # why > not ok 3 - d | 1..3"

program quiet <<<'echo "1..1"; echo "not ok 1 - a"; exit 0'
counts "a failing case with exit status 0" "0 passed, 1 failed, 0 skipped" unit

program status <<<'echo "1..1"; echo "ok 1 - a"; exit 3'
counts "an exit status without a failing case" "1 passed, 1 failed, 0 skipped" unit

program crash <<<'echo "1..3"; echo "ok 1 - a"; kill -SEGV $$'
counts "a crash in the middle" "1 passed, 2 failed, 0 skipped" unit
program crash <<<'echo "1..1"; echo "ok 1 - a"; kill -SEGV $$'
counts "a crash after the last case" "1 passed, 1 failed, 0 skipped" unit
check "a crash: says the signal" grep -q "killed by SIGSEGV" "$TEST_DIR/out"

program early <<<'echo "1..3"; echo "ok 1 - a"; exit 0'
counts "fewer results than planned" "1 passed, 2 failed, 0 skipped" unit
program plan <<<'echo "ok 1 - a"; exit 0'
counts "no plan" "1 passed, 1 failed, 0 skipped" unit
program silent <<<'exit 0'
counts "no output at all" "0 passed, 1 failed, 0 skipped" unit
program group <<<'echo "1..2"; echo "not ok 0 - t [  FAILED  ] GROUP SETUP"; exit 1'
counts "a failing group setup" "0 passed, 3 failed, 0 skipped" unit

program skipping <<<'echo "1..2"; echo "ok 1 - a"; echo "# it is Sunday"; echo "not ok 2 # SKIP b"'
counts "a skipped case as cmocka writes it" "1 passed, 0 failed, 1 skipped" unit
check "a skipped case: says why" grep -q "skipped: b: it is Sunday" "$TEST_DIR/out"
program skipping <<<'echo "1..2"; echo "ok 1 - a"; echo "not ok 2 # SKIP b"'
counts "a skipped case of cmocka that does not say why" "1 passed, 1 failed, 0 skipped" unit
program skipping <<<'echo "1..2"; echo "ok 1 - a # SKIP it is Sunday"; echo "ok 2 - b # SKIP"'
counts "a skipped case that does not say why" "0 passed, 1 failed, 1 skipped" unit
check "a skipped case that does not say why is named" grep -q "does not say why: b" "$TEST_DIR/out"

mkdir -p "$tree/test/unit" && echo >"$tree/test/unit/test_unbuilt.c"
counts "a program that was not built" "0 passed, 1 failed, 0 skipped" unit
mkdir -p "$tree"
check "nothing to run fails" not empty_run unit

program asan <<<'echo "1..1"; echo "ok 1 - a"; echo "==1==ERROR: AddressSanitizer: heap-use-after-free" >&2'
counts "a sanitizer's report in a program that goes on" "1 passed, 1 failed, 0 skipped" unit

program leak <<<'echo "1..1"; echo "ok 1 - a"; echo "==1==ERROR: LeakSanitizer: detected memory leaks" >&2'
counts "a leak" "1 passed, 1 failed, 0 skipped" unit

mkdir -p "$TEST_DIR/bin"
cat >"$TEST_DIR/bin/valgrind" <<'S'
#!/usr/bin/env bash
while [[ $1 == -* ]]; do shift; done
"$@"
echo "==1== $VALGRIND_SAYS" >&2
S
chmod +x "$TEST_DIR/bin/valgrind"
valgrind() { # valgrind SAYS NAME LINE: a good program, about which valgrind says something
	program good <<<'echo "1..1"; echo "ok 1 - a"'
	VALGRIND_SAYS=$1 PATH=$TEST_DIR/bin:$PATH counts "$2" "$3" valgrind
}
valgrind "16 bytes in 1 blocks are definitely lost in loss record 1 of 1" "a leak of a child's under valgrind" \
	"1 passed, 1 failed, 0 skipped"
valgrind "Invalid read of size 1" "a bad read under valgrind" "1 passed, 1 failed, 0 skipped"
valgrind "Process terminating with default action of signal 9 (SIGKILL)" "a child that is killed under valgrind" \
	"1 passed, 0 failed, 0 skipped"

script hang <<'S'
# timeout: 10
(setsid sleep 1234 &)
echo "ok 1 - a"
sleep 1234
S
counts "a hang" "1 passed, 1 failed, 0 skipped" e2e
check "a hang: what was running is shown" grep -q "running:.*sleep" "$TEST_DIR/out"
check "a hang: nothing is left of it" not running "^sleep 1234"

script daemon <<<'(setsid sleep 4321 &) ; until pgrep -f "^sleep 4321"; do sleep 0.01; done; echo "ok 1 - a"; echo "1..1"'
counts "a process that is left" "1 passed, 0 failed, 0 skipped" e2e
check "a process that is left: is named" grep -q "left running, killed: sleep" "$TEST_DIR/out"
check "a process that is left: is killed" not running "^sleep 4321"

script plain <<<'exit 0'
counts "a script without TAP" "1 passed, 0 failed, 0 skipped" e2e
script plain <<<'exit 1'
counts "a failing script without TAP" "0 passed, 1 failed, 0 skipped" e2e
script end <<<'echo "ok 1 - a"'
counts "a script that prints results and no plan" "1 passed, 1 failed, 0 skipped" e2e
script skipped <<<'echo "there is no moon tonight"; exit 77'
counts "a script that skips itself" "0 passed, 0 failed, 1 skipped" e2e
check "a script that skips itself: says why" grep -q "skipped: there is no moon tonight" "$TEST_DIR/out"
script skipped <<<'exit 77'
counts "a skipped script that does not say why" "0 passed, 1 failed, 0 skipped" e2e
script skipped <<<'echo "ok 1 - a"; echo "and no stars"; exit 77'
counts "a script that skips its rest" "1 passed, 0 failed, 1 skipped" e2e
check "a script that skips its rest: says why" grep -q "skipped: and no stars" "$TEST_DIR/out"
script log <<<'echo "x.c:1:2: runtime error: signed integer overflow" >"$TEST_DIR/agent.log"; echo "ok 1 - a"; echo 1..1'
counts "a sanitizer's report in a log" "1 passed, 1 failed, 0 skipped" e2e
script mount <<<'mount -t tmpfs none "$TEST_DIR" && echo "ok 1 - a"; echo 1..1'
counts "a mount stays inside" "1 passed, 0 failed, 0 skipped" e2e
check "a mount stays inside: it is gone" not grep -q secretlet-test /proc/self/mountinfo

script stays <<<'touch "$TEST_DIR/mark"; sleep 5432'
mkdir "$TEST_DIR/tmp"
KEEP=0 TMPDIR=$TEST_DIR/tmp "${run[@]}" --root "$tree" --build "$tree/build" e2e >"$TEST_DIR/out" 2>&1 &
runner=$!
check "a run that is killed: it had begun" eventually 20 "ls '$TEST_DIR'/tmp/*/t/mark 2>/dev/null"
kill -9 "$runner"
check "a run that is killed: nothing is left of the test" eventually 20 '! running "^sleep 5432"'
check "a run that is killed: nor of its folder" eventually 20 "! ls '$TEST_DIR'/tmp/* 2>/dev/null"
wait "$runner"

# the folders of runs that could not clean up: one is in use, one is kept, and one is nobody's
mkdir "$TEST_DIR"/tmp/secretlet-test.{used,kept,orphan}
touch "$TEST_DIR"/tmp/secretlet-test.{used,orphan}/lock
exec 9>>"$TEST_DIR/tmp/secretlet-test.used/lock"
flock 9
program good <<<'echo 1..1; echo "ok 1 - a"'
TMPDIR=$TEST_DIR/tmp counts "beside a folder that is nobody's" "1 passed, 0 failed, 0 skipped" unit
exec 9>&-
check_equal "which is removed, and no other" "$(cd "$TEST_DIR/tmp" && echo *)" "secretlet-test.kept secretlet-test.used"

program one <<<'echo 1..1; echo "ok 1 - $TEST_FILTER"'
program two <<<'echo 1..1; echo "ok 1 - $TEST_FILTER"'
counts "only one program" "1 passed, 0 failed, 0 skipped" --only test_two unit
program one <<<'echo 1..1; echo "not ok 1 - $TEST_FILTER"; exit 1'
program two <<<'echo 1..1; echo "ok 1 - $TEST_FILTER"'
counts "only one test" "0 passed, 1 failed, 0 skipped" --only one_ca unit
check "only one test: as a filter" grep -q 'not ok: \*one_ca\*' "$TEST_DIR/out"

integration() { mkdir -p "$tree/test/integration"; install -m 755 /dev/stdin "$tree/test/integration/$1.sh"; } # integration NAME <BODY
slow_and_quick() {
	integration slow <<<$'#!/bin/sh\n# It takes long.\nexit 0'
	integration quick <<<$'#!/bin/sh\nexit 1'
}
slow_and_quick
counts "what takes long is not in integration" "0 passed, 1 failed, 0 skipped" integration
slow_and_quick
counts "it is in long, and nothing else" "1 passed, 0 failed, 0 skipped" long
slow_and_quick
counts "and found by its name" "1 passed, 0 failed, 0 skipped" --only slow integration

for name in a b c; do program "$name" <<<"echo 1..1; echo ok 1 - $name; echo $name >>$TEST_DIR/order"; done
printf '%s\n' '# a comment' 'unit/test_b 30.0 1.0' 'unit/test_c 20.0 1.0' >"$tree/test/times"
counts "the longest begins first" "3 passed, 0 failed, 0 skipped" --jobs 1 unit
check_equal "as test/times says" "$(xargs <"$TEST_DIR/order")" "b c a"
# each of the two that wait ends when the other one has begun
for name in a b; do
	program "$name" <<-S
		touch "$TEST_DIR/began-$name"
		until [ -e "$TEST_DIR/began-a" ] && [ -e "$TEST_DIR/began-b" ] && [ -e "$TEST_DIR/began-c" ]; do sleep 0.02; done
		echo 1..1
		echo "ok 1 - $name"
	S
done
program c <<<"touch $TEST_DIR/began-c; echo 1..1; echo ok 1 - c"
printf '%s\n' 'unit/test_a 30.0 0.1' 'unit/test_b 30.0 0.1' >"$tree/test/times"
counts "what waits does so beside the others" "3 passed, 0 failed, 0 skipped" unit
for i in $(seq 11); do program "p$i" <<<'echo 1..1; echo "ok 1 - a"'; done
counts "many programs" "11 passed, 0 failed, 0 skipped" --record --began "$(($(date +%s) - 100))" unit
check_equal "the slowest ten are shown" "$(grep -cE '^      unit/test_p[0-9]+ .* s, cpu .* s$' "$TEST_DIR/out")" 10
check "and what all of it took" grep -qE '^11 programs in [0-9]+ s; processor time: unit [0-9]+ s$' "$TEST_DIR/out"
check "of which the build is a part" grep -qE '^make: 1[0-9]{2} s, of which the build 1[0-9]{2} s$' "$TEST_DIR/out"

named() { CMOCKA_MESSAGE_OUTPUT=TAP "$TEST_BUILD_DIR/test/unit/test_list" "$@" 2>/dev/null | sed -n 's/^ok [0-9]* - //p'; }
check_equal "a test program runs the tests that are named, no other" "$(named 'append_*')" append_keeps_the_order
check "and all of them if none is" test "$(named | wc -l)" -gt 1

program one <<<'echo 1..1; echo "ok 1 - a"'
check "only what does not exist fails" not empty_run --only nonesuch unit

# --- the fuzzers' ---
harness() { # harness <BODY: a fuzzer of the codec
	mkdir -p "$tree/fuzz/test/fuzz"
	{ echo '#!/usr/bin/env bash'; cat; } >"$tree/fuzz/test/fuzz/fuzz_codec"
	chmod +x "$tree/fuzz/test/fuzz/fuzz_codec"
}
fuzz_run() { "$here/../fuzz/run" --build "$tree/fuzz" --seconds 1 codec >"$TEST_DIR/out" 2>&1; }
harness <<<'exit 0'
check "a fuzzer that finds nothing is well" fuzz_run
harness <<<'exit 1'
check "one that finds something is not" not fuzz_run
tap_done
