#!/usr/bin/env bash
# timeout: 600
# The soak in a short form, so that it works when it is wanted for hours: see test/soak/soak.py and `make soak`.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

"$lib_here/../soak/soak.py" --build "$TEST_BUILD_DIR" --duration 75 --seed "${SEED:-1}" --dir "$TEST_DIR/soak" \
	>"$TEST_DIR/soak.out" 2>&1
status=$?
[ "$status" != 77 ] || skip_all "$(tail -n 1 "$TEST_DIR/soak.out")"
check_equal "volumes and API server agree after 75 s of faults" "$status" 0
[ "$status" = 0 ] || tail -n 60 "$TEST_DIR/soak.out" | sed 's/^/# /'
tap_done
