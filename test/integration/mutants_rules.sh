#!/usr/bin/env bash
# timeout: 3600
# Each rule of the sandbox that is taken away is noticed, by the case that is named for it: test/mutants/run. It takes long.
set -u
here=$(dirname "$(realpath "$0")")

[ "$(id -u)" = 0 ] || { echo "root is needed" && exit 77; }
exec "$here/../mutants/run" --build "$TEST_BUILD_DIR" --dir "$TEST_DIR/m" sandbox
