#!/usr/bin/env bash
# timeout: 400
# The short form of test/canary/canary.py: no copy of a Secret is anywhere but where it belongs.
set -u
here=$(dirname "$(realpath "$0")")

exec python3 "$here/../canary/canary.py" --build "$TEST_BUILD_DIR" --dir "$TEST_DIR/canary" \
	--only life,escaped,errors,unmade
