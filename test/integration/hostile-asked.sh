#!/usr/bin/env bash
# timeout: 900
# Hostile answers to what is asked now and then: tokens, Events, what `env` fetches, pods in doubt. test/hostile/asked.py says how.
# It takes long.
here=$(dirname "$(realpath "$0")")
exec python3 -B "$here/../hostile/asked.py" --build "$TEST_BUILD_DIR" --dir "$TEST_DIR"
