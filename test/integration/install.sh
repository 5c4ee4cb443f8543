#!/usr/bin/env bash
# timeout: 60
# make install and make uninstall: every variable, DESTDIR, modes, and what is not theirs.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"
cd "$here/../.." || exit 1

dest=$TEST_DIR/dest
ours() { # ours TARGET [VARIABLE...]
	env -u MAKEFLAGS -u MAKELEVEL make -s -o all "$1" B="$TEST_BUILD_DIR" DESTDIR="$dest" "${@:2}" >>"$TEST_DIR/make.out" 2>&1
}
files() { (cd "$dest" && find . -type f -printf '%m %P\n' | sort -k 2); }
# what there is to install, below the folders of a variable each: BIN MAN DOC UNIT SYSUSERS OCIHOOKS BASHCOMP ZSHCOMP FISHCOMP
expected() {
	echo "755 $1/secretlet"
	find man -name '*.[1-9]' -printf '%f\n' | while read -r page; do echo "644 $2/man${page##*.}/$page"; done
	find README.md SECURITY.md CHANGELOG.md docs examples -type f -printf "644 $3/%p\n"
	(cd deploy && find podman prometheus grafana oci/secretlet-precreate.json -type f -printf "644 $3/%p\n")
	printf '644 %s\n' "$4/secretlet.service" "$4/secretlet-wait@.service" "$5/secretlet.conf" "$6/secretlet.json" \
		"$7/secretlet" "$8/_secretlet" "$9/secretlet.fish"
}

dirs=(UNITDIR=/lib/systemd/system SYSUSERSDIR=/usr/lib/sysusers.d)
check "make install" ours install "${dirs[@]}"
check_equal "what is installed, and with which modes" "$(files)" \
	"$(expected usr/bin usr/share/man usr/share/doc/secretlet lib/systemd/system usr/lib/sysusers.d usr/share/containers/oci/hooks.d \
		usr/share/bash-completion/completions usr/share/zsh/vendor-completions usr/share/fish/vendor_completions.d | sort -k 2)"
check "the program works" test "$("$dest/usr/bin/secretlet" version)" = "$("$TEST_BUILD_DIR/secretlet" version)"
check_equal "the unit starts it" "$(grep ^ExecStart= "$dest/lib/systemd/system/secretlet.service")" "ExecStart=/usr/bin/secretlet run"
check_equal "a folder for the configuration" "$(stat -c %a "$dest/etc/secretlet")" 755
echo "# mine" >"$dest/etc/secretlet/secretlet.yaml"
echo "# mine" >"$dest/usr/bin/other"
check "make install again" ours install "${dirs[@]}"
check "make uninstall" ours uninstall "${dirs[@]}"
check_equal "leaves the configuration, and what is not ours" "$(files | cut -d ' ' -f 2 | xargs)" "etc/secretlet/secretlet.yaml usr/bin/other"
check_equal "which is as it was" "$(cat "$dest/etc/secretlet/secretlet.yaml")" "# mine"

rm -r "$dest"
dirs=(PREFIX=/opt/x BINDIR=/opt/x/s MANDIR=/opt/m DOCDIR=/opt/d UNITDIR=/opt/u SYSUSERSDIR=/opt/y SYSCONFDIR=/opt/etc
	OCIHOOKSDIR=/opt/h BASHCOMPDIR=/opt/cb ZSHCOMPDIR=/opt/cz FISHCOMPDIR=/opt/cf)
check "make install with all variables" ours install "${dirs[@]}"
check_equal "all is where they say" "$(files)" "$(expected opt/x/s opt/m opt/d opt/u opt/y opt/h opt/cb opt/cz opt/cf | sort -k 2)"
check "the configuration's folder as well" test -d "$dest/opt/etc/secretlet"
check_equal "nothing is anywhere else" "$(ls "$dest")" opt
check_equal "the unit starts that program" "$(grep ^ExecStart= "$dest/opt/u/secretlet.service")" "ExecStart=/opt/x/s/secretlet run"
check "make uninstall with them" ours uninstall "${dirs[@]}"
check_equal "nothing is left" "$(files)" ""

rm -r "$dest"
check "make install with PREFIX" ours install PREFIX=/usr/local UNITDIR=/usr/local/lib/systemd/system SYSUSERSDIR=/usr/local/lib/sysusers.d
check_equal "all but the configuration follows it" "$(cd "$dest" && find . -type f ! -path './usr/local/*')" ""
[ "$tap_failed" -eq 0 ] || sed 's/^/# /' "$TEST_DIR/make.out"
tap_done
