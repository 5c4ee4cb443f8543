#!/usr/bin/env bash
# timeout: 400
# The part of test/canary/canary.py that finds most in a short time (`make canary` does the whole): no copy of a Secret is
# anywhere but where it belongs. Not the stages in which one is now and then left in a receive buffer (SECURITY.md).
set -u
here=$(dirname "$(realpath "$0")")

[ "$(id -u)" = 0 ] || { echo "root is needed" && exit 77; }
exec python3 "$here/../canary/canary.py" --build "$TEST_BUILD_DIR" --dir "$TEST_DIR/canary" \
	--only life,small,escaped,manifests
