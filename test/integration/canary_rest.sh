#!/usr/bin/env bash
# timeout: 900
# All of test/canary/canary.py that canary.sh does not run: bursts, tokens that are renewed, credentials that are replaced, HTTP/1.1,
# idle connections, the offline cache, every command, what env and pull-config hand out, crashes, a keeper that dies, signals. It takes long.
set -u
here=$(dirname "$(realpath "$0")")

[ "$(id -u)" = 0 ] || { echo "root is needed" && exit 77; }
exec python3 "$here/../canary/canary.py" --build "$TEST_BUILD_DIR" --dir "$TEST_DIR/canary" --part rest
