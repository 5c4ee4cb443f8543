#!/usr/bin/env bash
# timeout: 400
# The recipes of secretlet-runtimes(7) for crun and runc, and that each block of the page is executed by some script.
set -u
# shellcheck source=../lib/recipes.sh
. "$(dirname "$(realpath "$0")")/../lib/recipes.sh"

# --- the page: no literal block without a comment, no comment that no script names
check_equal "each literal block of the page has a name" \
	"$(awk '/^\.Bd -literal/ && last !~ /^\.\\" (file|commands): / { print FNR } { last = $0 }' "$recipes_page")" ""
unused() {
	local name
	sed -nE 's/^\.\\" (file|commands): (.*)/\2/p' "$recipes_page" | while read -r name; do
		grep -qE "recipe.*${name##*/}|for .*${name##*/}" "$recipes_root"/test/e2e/recipes-*.sh || echo "$name"
	done
}
check_equal "each is executed by a script" "$(unused)" ""

command -v crun >/dev/null || command -v runc >/dev/null || skip_all "neither crun nor runc is installed"
recipes_prepare
recipes_rootfs "$sd/files/srv/web/rootfs"
recipes_start
check "the pod is ready" inside sh -c 'systemctl start secretlet && secretlet wait default/web'

# The bundle that the page begins with. There is no CAP_SYS_RESOURCE on every machine that tests, and crun would need it
# for the filter of devices.
bundle() {
	inside bash -ec "cd /srv/web && rm -f config.json && $1 spec && jq '.process.terminal = false | del(.linux.resources) |
		.process.args = [\"/bin/sleep\", \"1000\"]' config.json >config.new && mv config.new config.json"
}
reads() { [ "$(inside "$1" exec web cat /etc/credentials/password 2>&1)" = "$2" ]; }
for runtime in crun runc; do
	if ! inside which "$runtime" >/dev/null; then
		tap_skip "$runtime" "it is not installed"
		continue
	fi
	for name in bundle hook; do
		rotate first
		bundle "$runtime"
		recipe_run "$name" "s/^crun/$runtime/"
		check_equal "$runtime: recipe $name" "$? $(inside cat /srv/web/web.log)" "0 "
		check "$runtime, $name: the container reads its Secret" eventually 20 "reads $runtime first"
		check_equal "$runtime, $name: all volumes are there" \
			"$(inside "$runtime" exec web cat /etc/nginx/tls/server/web.crt)" "a made-up certificate"
		rotate second
		check "$runtime, $name: it sees the update" eventually 20 "reads $runtime second"
		inside "$runtime" delete --force web
	done
done
tap_done
