#!/usr/bin/env bash
# timeout: 300
# Deaths after each step: the publisher (with AGENT_EVERY=1 then the agent, too) is killed after the first system call of an update, after the
# second, and so on, until an update comes through before that. What a volume shows is wholly old or wholly new, and then
# new. As a new agent waits a little where the last ones have died young, several daemons share the work. (deaths.sh kills
# before the calls that change something.)
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"
shopt -s dotglob nullglob

secretlet=$TEST_BUILD_DIR/secretlet dieat=$TEST_BUILD_DIR/test/tools/dieat
workers=6 calls_max=2000
agent_every=${AGENT_EVERY:-0} # the agent, too, which takes minutes: each call (1), or each n-th; 0: none
chmod 755 "$TEST_DIR"

child() { # child NAME: the pid of the keeper's child of that name, in $pid
	local p name
	for p in $(pgrep -P "$keeper"); do
		IFS= read -r -d '' name <"/proc/$p/cmdline" && [ "$name" = "secretlet-$1" ] && pid=$p && return
	done 2>/dev/null
	return 1
}
# Two keys that every revision has, and one that only it has.
write_secret() { # write_secret NUMBER
	printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {a: "%s", b: "%s", k%s: "%s"}\n' "$1" "$1" "$1" "$1" \
		>"$dir/next"
	mv "$dir/next" "$dir/manifests/db.yaml"
}
value() { # value FILE: what is in it, in $value
	value=
	read -r value 2>/dev/null <"$1" || [ -n "$value" ]
}
# What a reader may see at any time: both keys, of one revision (..data is opened once).
whole() { # whole OLD NEW
	local a b _
	for _ in 1 2 3; do # one that waits here for longer than a version's grace looks again
		exec 7<"$vol/..data/" || return 1
		value /proc/self/fd/7/a && a=$value && value /proc/self/fd/7/b && b=$value && break
		a=none b=none
	done
	exec 7<&-
	case $a$b in "$1$1" | "$2$2") ;; *) echo "# seen: $a $b, not $1 or $2" && return 1 ;; esac
}
shows() { # shows NUMBER: this revision, its links and nothing else
	local names
	value "$vol/a" && [ "$value" = "$1" ] && value "$vol/b" && [ "$value" = "$1" ] && value "$vol/k$1" &&
		[ "$value" = "$1" ] && names=("$vol"/*) && [ "${#names[@]}" = 5 ] && [ -e "$vol/..data" ]
}

# deaths_of CHILD FIRST STRIDE: after calls FIRST, FIRST + STRIDE, ... Says what was wrong, and how many deaths there were.
deaths_of() {
	local n=$2 deaths=0 wrong=0 new status
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
		eventually 20 "shows $new" || { wrong=$((wrong + 1)) && echo "# $1 after call $n: it shows $(ls -A "$vol/" | xargs)"; }
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
	vol=$dir/pods/by-name/default/app/volumes/kubernetes.io~secret/creds
	mkdir -p "$dir/manifests"
	write_secret 1
	cat >"$dir/manifests/app.yaml" <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: app}
		spec:
		  volumes: [{name: creds, secret: {secretName: db}}]
		  containers: [{name: main, image: none, volumeMounts: [{name: creds, mountPath: /creds}]}]
	Y
	"$secretlet" run --manifests "$dir/manifests" --pods-dir "$dir/pods" --runtime-dir "$dir/run" 2>>"$TEST_DIR/$1.log" &
	keeper=$!
	"$secretlet" wait --quiet --runtime-dir "$dir/run" --timeout 20s default/app || echo "# not ready"
	deaths_of publisher "$1" "$workers" >"$dir/publisher"
	[ "$agent_every" = 0 ] || deaths_of agent "$((1 + first + ($1 - 1) * agent_every))" "$((workers * agent_every))" >"$dir/agent"
	kill "$keeper"
	wait "$keeper"
	echo "exit $?" >"$dir/end"
}

first=0 whos=publisher
[ "$agent_every" = 0 ] || { first=$((RANDOM % agent_every)) && whos='publisher agent'; }
for i in $(seq "$workers"); do worker "$i" & done
wait
for who in $whos; do
	deaths=$(cat "$TEST_DIR"/*/"$who" | sed -n 's/^\([0-9]*\) deaths.*/\1/p' | awk "{ n += \$1 } END { print n + 0 }")
	check_equal "the $who, after each call: wholly old or wholly new, then new ($deaths deaths)" \
		"$(cat "$TEST_DIR"/*/"$who" | grep -v ' deaths, 0 wrong$' | head -n 20)" ""
	check "the $who: every daemon has done its share" test "$(cat "$TEST_DIR"/*/"$who" | grep -c ' deaths, ')" = "$workers"
	check "the $who: there were deaths" test "$deaths" -gt "$((3 * workers))"
done
check_equal "each daemon ends well" "$(sort -u "$TEST_DIR"/*/end)" "exit 0"
tap_done
