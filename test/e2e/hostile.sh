#!/usr/bin/env bash
# timeout: 900
# A hostile API server, the long form: with the attacks of hundreds of megabytes and millions of keys, for longer at once.
here=$(dirname "$(realpath "$0")")
exec python3 -B "$here/../hostile/hostile.py" --long --hold 15 --build "$TEST_BUILD_DIR" --dir "$TEST_DIR"
