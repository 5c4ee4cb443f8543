#!/usr/bin/env bash
# test/mutants/run's tables: each text that a mutant replaces is in the tree once, and each test, case and attempt that is to notice
# is there. `make mutants` sees them notice.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"
root=$(realpath "$here/../..") copy=$TEST_DIR/copy

checked() { "$root/test/mutants/run" --check --root "$copy" 2>&1; }
for set in sandbox isolation canary; do
	check_equal "$set: what its mutants name is there" "$("$root/test/mutants/run" --check "$set" 2>&1)" ""
	check "$set: it has some" test "$("$root/test/mutants/run" --list "$set" | wc -l)" -ge 5
done

# --- and is missed
mkdir "$copy"
cp -a "$root"/{Makefile,agent,common,fusefs,test} "$copy" || exit
check_equal "nothing is missed in a copy" "$(checked)" ""
missed() { # missed NAME FILE SED WORDS: without what the program replaces
	cp "$copy/$2" "$TEST_DIR/kept"
	sed -i "$3" "$copy/$2"
	check "$1: it is changed" not cmp -s "$copy/$2" "$TEST_DIR/kept"
	check_contains "$1: it is missed" "$(checked)" "$4"
	cp "$TEST_DIR/kept" "$copy/$2"
}
missed "a text" common/sysfilter.c 's/ARCH, 1, 0);/ARCH, 1, 0); \/**\//' "seccomp: 32 bits: common/sysfilter.c: its text is there 0 times"
missed "a text that has come again" fusefs/ops.c '$a static void again(void) {\n	fuse_reply_err(req, EROFS);\n}' "fusefs/ops.c: its text is there 2 times"
missed "an attempt" test/sandbox/table.c 's/try_32_bits/try_40_bits/' "seccomp: 32 bits: test_sandbox has no attempt try_32_bits"
missed "a case" test/integration/test_sandbox.c 's/cmocka_unit_test(agent_can_do/cmocka_unit_test(agent_may_do/' "test_sandbox has no case agent_can_do"
missed "a script's case" test/integration/sandbox.sh 's/no descriptor but its own/no others/' "sandbox.sh has no case: cache: no descriptor but its own"
missed "what is judged" test/integration/isolation.sh 's/"$w" handle/"$w" handles/' "isolation.sh has no case: crun, host's root: handle"
missed "a stage" test/canary/canary.py 's/def stage_offline/def stage_away/' "the canary has no stage offline"
tap_done
