#!/usr/bin/env bash
# timeout: 600
# A hostile API server below the answers, with all of the rows.
here=$(dirname "$(realpath "$0")")
exec python3 -B "$here/../hostile/wire.py" --long --hold 10 --build "$TEST_BUILD_DIR" --dir "$TEST_DIR"
