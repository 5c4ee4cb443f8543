#!/usr/bin/env bash
# timeout: 1500
# Deaths after each step, of the agent too: minutes, so not in `make test`.
AGENT_EVERY=1 exec "$(dirname "$(realpath "$0")")/../integration/steps.sh"
