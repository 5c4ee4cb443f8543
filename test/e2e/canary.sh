#!/usr/bin/env bash
# timeout: 900
# The whole of test/canary/canary.py, of which `make test` does a part: no copy of a Secret is anywhere but where it belongs.
set -u
here=$(dirname "$(realpath "$0")")

exec python3 "$here/../canary/canary.py" --build "$TEST_BUILD_DIR" --dir "$TEST_DIR/canary"
