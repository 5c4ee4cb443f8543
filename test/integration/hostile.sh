#!/usr/bin/env bash
# timeout: 1800
# A hostile API server: what each answer costs, that it is said, and that nothing is lost. test/hostile/hostile.py says how.
# It takes long.
here=$(dirname "$(realpath "$0")")
exec python3 -B "$here/../hostile/hostile.py" --build "$TEST_BUILD_DIR" --dir "$TEST_DIR"
