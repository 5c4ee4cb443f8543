#!/usr/bin/env bash
# timeout: 600
# test/canary/canary.py at a real API server, as system:node:node-1: no copy of a Secret, or of a pod's service account token, is
# anywhere but where it belongs.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

kube_up
python3 "$lib_here/../canary/canary.py" --build "$TEST_BUILD_DIR" --dir "$TEST_DIR/canary" --kube "$kube" --port "$kube_port"
