#!/usr/bin/env bash
# timeout: 400
# The recipes of secretlet-runtimes(7) for services, under a real systemd: the units are the blocks of the page.
set -u
# shellcheck source=../lib/recipes.sh
. "$(dirname "$(realpath "$0")")/../lib/recipes.sh"

recipes_prepare
for unit in web.service once.service once-restart.path once-restart.service; do recipe_file "/etc/systemd/system/$unit"; done
mkdir -p "$sd/files/usr/local/bin"
cat >"$sd/files/usr/local/bin/web" <<-'W'
	#!/bin/bash
	while :; do
		text=$(cat /run/web/credentials/password 2>&1)
		[ "$text" = "${last:-}" ] || echo "web reads $text"
		last=$text
		sleep 0.05
	done
	W
cat >"$sd/files/usr/local/bin/once" <<-'O'
	#!/bin/bash
	echo "once reads $(cat "$CREDENTIALS_DIRECTORY/password") as $(stat -c %a "$CREDENTIALS_DIRECTORY/password")"
	exec sleep infinity
	O
chmod 755 "$sd/files/usr/local/bin"/*
recipes_start
journal() { inside journalctl -q -o cat -u "$1"; }
says() { eventually 30 "journal $1 | grep -qxF '$2'"; }
pid() { inside systemctl show -P MainPID "$1"; }

for unit in web.service once.service once-restart.path once-restart.service secretlet-wait@default-web.service; do
	check_equal "systemd-analyze has nothing to say of $unit" "$(inside systemd-analyze verify "$unit" 2>&1 | grep -F "$unit")" ""
done
# the Secret is not there yet: what needs it waits, and is not started without
inside mv $manifests/credentials.yaml /run/kept.yaml
inside systemctl start --no-block web.service once-restart.path once.service
eventually 30 "inside secretlet status"
sleep 1
check_equal "a service waits for the pod" "$(inside systemctl is-active web.service once.service secretlet-wait@default-web.service | xargs)" \
	"inactive inactive activating"
inside mv /run/kept.yaml $manifests/credentials.yaml
check "and starts when its volumes are there" says web.service "web reads first"
check "so does one with a credential" says once.service "once reads first as 400"
eventually 10 "inside systemctl is-active once-restart.path"
before="$(pid web.service) $(pid once.service)"

rotate second
check "the service sees the update" says web.service "web reads second"
check "without a restart" test "$(pid web.service)" = "${before% *}"
check "the one with a credential is restarted, with the new value" says once.service "once reads second as 400"
rotate third
check "and again" says once.service "once reads third as 400"

before=$(pid web.service)
inside systemctl restart secretlet.service
check "after a restart of secretlet" eventually 30 "inside secretlet wait default/web"
check_equal "the service is the same" "$(pid web.service)" "$before"
rotate fourth
check "and sees the next update" says web.service "web reads fourth"
check_equal "it has never seen anything else" "$(journal web.service | grep -c "web reads")" 4
tap_done
