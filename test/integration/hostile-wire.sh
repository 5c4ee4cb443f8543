#!/usr/bin/env bash
# timeout: 900
# A hostile API server below the answers: TLS, HTTP/2, and the node's object. test/hostile/wire.py says how.
# It takes long.
here=$(dirname "$(realpath "$0")")
exec python3 -B "$here/../hostile/wire.py" --build "$TEST_BUILD_DIR" --dir "$TEST_DIR"
