#!/usr/bin/env bash
# timeout: 300
# Live files under a daemon: what the annotation makes, what `mounts` says, and deaths of publisher and agent after system calls
# of an update (each n-th, PUBLISHER_EVERY and AGENT_EVERY, from another one on in each run; all of them take minutes), with a
# file bound as a runtime binds a subPath. A reader that finds the same time
# and size before and after has got the old or the new bytes, wholly; and then the new ones.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet dieat=$TEST_BUILD_DIR/test/tools/dieat
workers=3 calls_max=2000
publisher_every=${PUBLISHER_EVERY:-5} agent_every=${AGENT_EVERY:-100}
first=$RANDOM
chmod 755 "$TEST_DIR"

child() { # child NAME: the pid of the keeper's child of that name, in $pid
	local p name
	for p in $(pgrep -P "$keeper"); do
		IFS= read -r -d '' name <"/proc/$p/cmdline" && [ "$name" = "secretlet-$1" ] && pid=$p && return
	done 2>/dev/null
	return 1
}
# The lengths go up and down, over the ends of pages.
text() { # text NUMBER: in $text
	local lengths=(10 5000 100 4097 4096 9000)
	printf -v text "%-$((lengths[$1 % 6]))s" "$1"
	text=${text// /$(($1 % 10))}
}
write_secret() { # write_secret NUMBER
	local text
	text "$1"
	printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {a: "%s", k%s: "%s"}\n' "$text" "$1" "$1" >"$dir/next"
	mv "$dir/next" "$dir/manifests/db.yaml"
}
facts() { stat -c '%y %s' "$dir/bound"; }
whole() { # whole OLD NEW
	local before after value text
	before=$(facts)
	value=$(tr '\0' Z <"$dir/bound")
	after=$(facts)
	[ "$before" = "$after" ] || return 0
	text "$1" && [ "$value" = "$text" ] && return
	text "$2" && [ "$value" = "$text" ] && return
	echo "# seen: ${value:0:12}... (${#value} bytes), not $1 or $2; $before"
	return 1
}
shows() { # shows NUMBER: this one, for good, and the live files of its keys and no others
	local text
	text "$1"
	[ "$(cat "$dir/bound" 2>&1)" = "$text" ] && [ "$(facts)" = "$(facts)" ] && [ "$(cat "$live/k$1" 2>&1)" = "$1" ] &&
		[ "$(ls "$live")" = "$(printf 'a\nk%s' "$1")" ]
}

deaths_of() { # deaths_of CHILD FIRST STRIDE
	local n=$2 deaths=0 wrong=0 new status=0
	while [ "$n" -lt "$calls_max" ]; do
		new=$((number + 1))
		"$secretlet" wait --quiet --runtime-dir "$dir/run" --timeout 20s default/app || break
		eventually 20 "child $1" || break
		child "$1" || continue
		exec 8< <(exec "$dieat" "$pid" "$n")
		tracer=$!
		read -r <&8 || { wait "$tracer"; continue; } # it has just died
		write_secret "$new"
		until [ ! -d "/proc/$pid" ] || shows "$new"; do
			whole "$number" "$new" || wrong=$((wrong + 1))
		done
		whole "$number" "$new" || wrong=$((wrong + 1))
		eventually 20 "shows $new" || { wrong=$((wrong + 1)) && echo "# $1 after call $n: it does not show $new: $(facts); $(ls -m "$live")"; }
		number=$new
		kill "$tracer" 2>/dev/null
		wait "$tracer"
		status=$?
		exec 8<&-
		[ "$status" = 0 ] || break
		deaths=$((deaths + 1)) n=$((n + $3))
	done
	[ "$status" = 2 ] || { wrong=$((wrong + 1)) && echo "# $1, call $n: the last one was not let go ($status)"; }
	echo "$deaths deaths, $wrong wrong"
}

worker() { # worker NUMBER
	dir=$TEST_DIR/$1 number=1
	live=$dir/pods/by-name/default/app/live/creds
	mkdir -p "$dir/manifests"
	: >"$dir/bound"
	write_secret 1
	cat >"$dir/manifests/app.yaml" <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: app, annotations: {secretlet.dev/live: "creds, no-such"}}
		spec:
		  volumes: [{name: creds, secret: {secretName: db}}]
		  containers:
		  - {name: main, image: none, volumeMounts: [{name: creds, mountPath: /creds}, {name: creds, mountPath: /a, subPath: a}]}
	Y
	"$secretlet" run --manifests "$dir/manifests" --pods-dir "$dir/pods" --runtime-dir "$dir/run" 2>>"$TEST_DIR/$1.log" &
	keeper=$!
	"$secretlet" wait --quiet --runtime-dir "$dir/run" --timeout 20s default/app || echo "# not ready"
	source=$("$secretlet" mounts --runtime-dir "$dir/run" default/app main | jq -r '.[1].source')
	mount --bind "$source" "$dir/bound"
	echo "${source/#*\/live\//live/}" >"$dir/source"
	deaths_of publisher "$((1 + first % publisher_every + ($1 - 1) * publisher_every))" "$((workers * publisher_every))" >"$dir/publisher"
	deaths_of agent "$((1 + first % agent_every + ($1 - 1) * agent_every))" "$((workers * agent_every))" >"$dir/agent"
	umount "$dir/bound"
	kill "$keeper"
	wait "$keeper"
	echo "exit $?" >"$dir/end"
}

for i in $(seq "$workers"); do worker "$i" & done
wait
check_equal "mounts: a subPath leads to the live file" "$(sort -u "$TEST_DIR"/*/source)" "live/creds/a"
check_contains "the log: what the annotation names and is not there" "$(cat "$TEST_DIR/1.log")" \
	'secretlet.dev/live: "no-such" is no volume of this pod'
check_contains "check says so, too" "$("$secretlet" check "$TEST_DIR/1/manifests/app.yaml" 2>&1)" '"no-such" is no volume of this pod'
for who in publisher agent; do
	deaths=$(cat "$TEST_DIR"/*/"$who" | sed -n 's/^\([0-9]*\) deaths.*/\1/p' | awk "{ n += \$1 } END { print n + 0 }")
	check_equal "the $who, after calls of an update: wholly old or wholly new, then new ($deaths deaths)" \
		"$(cat "$TEST_DIR"/*/"$who" | grep -v ' deaths, 0 wrong$' | head -n 20)" ""
	check "the $who: every daemon has done its share" test "$(cat "$TEST_DIR"/*/"$who" | grep -c ' deaths, ')" = "$workers"
	check "the $who: there were deaths" test "$deaths" -gt 0
done
check_equal "each daemon ends well" "$(sort -u "$TEST_DIR"/*/end)" "exit 0"
tap_done
