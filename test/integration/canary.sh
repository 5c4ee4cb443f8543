#!/usr/bin/env bash
# timeout: 400
# The part of test/canary/canary.py that finds most in a short time (canary_rest.sh has the others, `make canary` all, and `make e2e`
# what can be done at a real API server): no copy of a Secret is anywhere but where it belongs.
set -u
here=$(dirname "$(realpath "$0")")

[ "$(id -u)" = 0 ] || { echo "root is needed" && exit 77; }
exec python3 "$here/../canary/canary.py" --build "$TEST_BUILD_DIR" --dir "$TEST_DIR/canary" --part quick
