# Checks that print TAP lines; sourced by test/integration/*.sh and test/e2e/*.sh.
# shellcheck shell=bash
tap_n=0 tap_failed=0

tap_result() { # tap_result ok|"not ok" NAME [DETAIL]
	tap_n=$((tap_n + 1))
	printf '%s %d - %s\n' "$1" "$tap_n" "${2//#/}"
	if [ "$1" != ok ]; then
		tap_failed=$((tap_failed + 1))
		[ -z "${3:-}" ] || printf '%s\n' "$3" | sed 's/^/# /'
	fi
}

tap_skip() { # tap_skip NAME REASON
	tap_n=$((tap_n + 1))
	printf 'ok %d - %s # SKIP %s\n' "$tap_n" "${1//#/}" "${2//$'\n'/ }"
}

# check NAME COMMAND...: ok when the command succeeds
check() {
	local name=$1
	shift
	if "$@"; then tap_result ok "$name"; else tap_result "not ok" "$name" "failed: $*"; fi
}

check_equal() { # check_equal NAME ACTUAL EXPECTED
	if [ "$2" = "$3" ]; then tap_result ok "$1"; else tap_result "not ok" "$1" "is '$2', expected '$3'"; fi
}

check_contains() { # check_contains NAME TEXT WORDS
	case "$2" in
	*"$3"*) tap_result ok "$1" ;;
	*) tap_result "not ok" "$1" "'$3' is not in: $2" ;;
	esac
}

not() { ! "$@"; }

# eventually SECONDS COMMAND...: evaluates the words as a shell line until it succeeds; at first often, for what is there soon
eventually() {
	local end=$((SECONDS + $1)) tap_asked=0
	shift
	until eval "$*" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep "0.0$(((tap_asked += 1) < 15 ? 2 : 6))"
	done
}

# A port of 127.0.0.1 that nobody listens on. It is below the ephemeral ones: of those somebody's connection may take it while a
# server is away that is to come back to it.
free_port() {
	local port
	while :; do
		port=$((20000 + RANDOM % 10000))
		(: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
	done
	echo "$port"
}

# The plan, and the exit status.
tap_done() {
	printf '1..%d\n' "$tap_n"
	[ "$tap_failed" -eq 0 ]
}
