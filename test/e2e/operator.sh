#!/usr/bin/env bash
# timeout: 900
# A new operator's way, with README's own commands: the package on a machine where secretlet never was, under a real systemd,
# a real API server, a container that reads a Secret which is rotated, a failure that `explain` explains, a real Prometheus
# that scrapes it with what the package brings.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=../lib/systemd.sh
. "$lib_here/../lib/systemd.sh"

[ -x /lib/systemd/systemd ] || skip_all "no systemd here"
! dpkg-query -W secretlet >/dev/null 2>&1 || skip_all "secretlet is installed here"
for program in dh crun busybox prometheus jq; do command -v $program >/dev/null || skip_all "$program is not installed"; done
root=$lib_here/../..

# block TITLE [N]: README's Nth block of shell commands below that title, without sudo: we are root
block() {
	local text
	text=$(awk -v title="## $1" -v want="${2:-1}" '/^## / { here = $0 == title } !here { next }
		/^```sh$/ { n++; inside = 1; next } /^```$/ { inside = 0; next } inside && n == want' "$root/README.md" | sed 's/\bsudo //g')
	[ -n "$text" ] || echo "block: README has no '$1' ${2:-1}" >&2
	printf '%s\n' "$text"
}
in_readme() { # in_readme NAME: the commands on stdin, there
	cat >"$TEST_DIR/commands"
	if inside sh -euc 'cd /srv/secretlet && . /dev/stdin' <"$TEST_DIR/commands" >"$TEST_DIR/out" 2>&1; then
		tap_result ok "$1"
	else
		tap_result "not ok" "$1" "$(tail -n 5 "$TEST_DIR/out")"
	fi
}

# --- a package, as `make deb` makes it, on a machine; and a cluster
package=$sd/files/srv/secretlet/build/deb
mkdir -p "$package" "$sd/files/usr/sbin" "$sd/files/etc/kubernetes" "$sd/files/srv/web/rootfs"
if ! DEB_BUILD_OPTIONS=noautodbgsym env -u MAKEFLAGS -u MAKELEVEL "$root/deploy/mkdeb" --build "$TEST_BUILD_DIR" --out "$package" \
	>"$TEST_DIR/deb.out" 2>&1; then
	bail "a package is built" "$TEST_DIR/deb.out"
fi
printf '#!/bin/sh\nexit 0\n' >"$sd/files/usr/sbin/policy-rc.d" # an image for containers forbids to start anything
chmod 755 "$sd/files/usr/sbin/policy-rc.d"
mkdir -p "$sd/files/srv/web/rootfs"/{bin,dev,proc,sys,tmp}
cp "$(command -v busybox)" "$sd/files/srv/web/rootfs/bin/busybox"
for applet in sh cat sleep; do ln -s busybox "$sd/files/srv/web/rootfs/bin/$applet"; done
kube_up
embedded() { base64 -w 0 "$kube/$1"; }
cat >"$sd/files/etc/kubernetes/kubelet.conf" <<-K
	apiVersion: v1
	kind: Config
	clusters: [{name: c, cluster: {server: "https://127.0.0.1:$kube_port", certificate-authority-data: $(embedded ca.crt)}}]
	users: [{name: u, user: {client-certificate-data: $(embedded node-1.crt), client-key-data: $(embedded node-1.key)}}]
	contexts: [{name: x, context: {cluster: c, user: u}}]
	current-context: x
	K
chmod 600 "$sd/files/etc/kubernetes/kubelet.conf"
put_secret db user=web password=first
put_pod web '{"db": {"secretName": "db"}}' '{"containers": [{"name": "nginx", "image": "none", "volumeMounts": [{"name": "db", "mountPath": "/credentials"}]}]}'
if ! systemd_up; then
	tail -n 20 "$sd/console" | sed 's/^/# /'
	skip_all "systemd cannot be booted here"
fi
inside hostname node-1 # which is what its certificate is for
trap 'systemd_down; kube_down' EXIT

# --- Install
in_readme "README, Install: the package is installed, the service runs and is healthy" < <(block Install | sed '/make deb/d')
check_equal "it is enabled" "$(inside systemctl is-enabled secretlet)" enabled

# --- Against a cluster
in_readme "README, Against a cluster: the kubeconfig is taken" < <(block "Against a cluster" | sed '/^secretlet run/d')
in_readme "README: status, wait, volumes, explain and mounts" < <(block "Against a cluster" 2 |
	sed 's|NS/POD CONTAINER|default/web nginx|; s|NS/POD \[VOLUME\]|default/web|; s|NS/POD|default/web|; /^secretlet top/d' |
	sed '1{h;d}; ${p;x}') # status after wait: a pod that is being set up is no picture of health
in_readme "README: a container with these mounts" < <(printf '%s\n' 'cd /srv/web' 'crun spec' \
	"jq 'del(.process.rlimits) | .process.terminal = false | .process.args = [\"/bin/sleep\", \"1000\"]' config.json >c && mv c config.json" \
	"$(block "Against a cluster" 3 | sed 's/^crun run web/crun --cgroup-manager=disabled run --detach web/')")
reads() { [ "$(inside crun exec web cat /credentials/password 2>&1)" = "$1" ]; }
check "the container reads its Secret" eventually 30 "reads first"
put_secret db user=web password=second
check "it is rotated, and the container reads it" eventually 30 "reads second"

# --- a failure, and what explain says of it
put_pod job '{"tls": {"secretName": "job-tls"}}'
explained() { ! inside secretlet explain default/job >"$TEST_DIR/explained" 2>&1 && grep -q SecretNotFound "$TEST_DIR/explained"; }
check "a pod whose Secret is not there: explain says so" eventually 30 explained
advice=$(sed -n 's/^ *\$ kubectl -n default create secret generic \([^ ]*\) .*/\1/p' "$TEST_DIR/explained")
check_equal "and how to make it" "$advice" job-tls
put_secret "$advice" tls.key=there
check "that helps" eventually 30 "inside secretlet explain default/job"
check "status is healthy again" eventually 30 "inside secretlet status"

# --- Prometheus and the dashboard, with what the package brings; the port is this run's own
metrics_port=$(free_port) prometheus_port=$(free_port)
installed() { inside find /usr/share -path "*secretlet*$1"; }
inside sh -c "echo 'metricsBindAddress: 127.0.0.1:$metrics_port' >>/etc/secretlet/secretlet.yaml && systemctl restart secretlet"
inside sh -c "mkdir /srv/prometheus && cd /srv/prometheus && cp $(installed /alerts.yaml) . &&
	sed 's/127.0.0.1:10249/127.0.0.1:$metrics_port/; s/15s/1s/' $(installed /scrape.yaml) >scrape.yaml &&
	systemd-run --quiet --unit scraper --working-directory /srv/prometheus prometheus --config.file=scrape.yaml \
	--storage.tsdb.path=/srv/prometheus/data --web.listen-address=127.0.0.1:$prometheus_port" >"$TEST_DIR/prometheus.out" 2>&1
started=$?
check_equal "Prometheus starts with the package's files" "$started $(cat "$TEST_DIR/prometheus.out")" "0 "
query() { curl -sS --get --data-urlencode "query=$1" "http://127.0.0.1:$prometheus_port/api/v1/query"; }
scraped() { [ "$(query 'up{job="secretlet"} == 1' | jq '.data.result | length')" = 1 ]; }
check "it scrapes secretlet" eventually 60 scraped
check "the container reads on after the restart" eventually 30 "reads second"
put_secret db user=web password=third
check "and follows" eventually 30 "reads third"
counted() { [ "$(query 'secretlet_event_visible_seconds_count > 0' | jq '.data.result | length')" != 0 ]; }
check "which Prometheus has seen" eventually 30 counted
n=0 data=0 unanswered=''
while IFS=$'\t' read -r where expression; do
	n=$((n + 1))
	# what is not switched on here has no series; metrics.sh has it all switched on, and asks for data in each
	case $(query "$expression" 2>>"$TEST_DIR/curl.out" | jq -r '"\(.status) \(.data.result | length > 0)"') in
	'success true') data=$((data + 1)) ;;
	'success false') ;;
	*) unanswered+=" $where" ;;
	esac
done < <("$lib_here/../lib/dashboards.py" queries)
check_equal "each query of the dashboard and of the alerts is answered" "$((n >= 40))$unanswered" 1
check "with data in most" test "$data" -ge 20
check "the package has that dashboard" eval 'inside cat $(installed /grafana/secretlet.json) | cmp -s - "$root/deploy/grafana/secretlet.json"'

inside crun delete -f web
check "the service stops" inside systemctl stop secretlet
check "what is left of the mount is dead" not inside stat --file-system /var/lib/pods
check "it starts again" inside systemctl start secretlet
check "and serves" inside secretlet wait --timeout 30s default/web
tap_done
