#!/usr/bin/env bash
# timeout: 420
# The short form of `make chaos`; test/chaos/chaos.py says what it does.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

"$here/../chaos/chaos.py" --build "$TEST_BUILD_DIR" --dir "$TEST_DIR/chaos" --instances 2 --kills 60 --duration 45 \
	--seed "${SEED:-1}" >"$TEST_DIR/out" 2>&1
status=$?
sed 's/^/# /' "$TEST_DIR/out"
check_equal "60 kills under load: nobody noticed, nothing is left" "$status" 0
tap_done
