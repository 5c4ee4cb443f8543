#!/usr/bin/env bash
# timeout: 300
# make install and make uninstall: every variable, DESTDIR, modes, and what is not theirs. What is compiled anew when the version, or
# the configuration's place, is another one.
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
# what there is to install, below the folders of a variable each: BIN MAN DOC UNIT SYSUSERS BASHCOMP ZSHCOMP FISHCOMP DATA TMPFILES
expected() {
	echo "755 $1/secretlet"
	find man -name '*.[1-9]' -printf '%f\n' | while read -r page; do echo "644 $2/man${page##*.}/$page"; done
	find README.md SECURITY.md CHANGELOG.md docs examples -type f ! -name openapi.yaml -printf "644 $3/%p\n"
	(cd deploy && find podman -type f -printf "644 $3/%p\n")
	(cd deploy && find prometheus grafana oci -type f -printf "644 $9/%p\n")
	printf '644 %s\n' "$9/openapi.yaml" "${10}/secretlet.conf"
	printf '644 %s\n' "$4/secretlet.service" "$4/secretlet-wait@.service" "$5/secretlet.conf" \
		"$6/secretlet" "$7/_secretlet" "$8/secretlet.fish"
}

dirs=(UNITDIR=/lib/systemd/system SYSUSERSDIR=/usr/lib/sysusers.d TMPFILESDIR=/usr/lib/tmpfiles.d)
check "make install" ours install "${dirs[@]}"
check_equal "what is installed, and with which modes" "$(files)" \
	"$(expected usr/bin usr/share/man usr/share/doc/secretlet lib/systemd/system usr/lib/sysusers.d \
		usr/share/bash-completion/completions usr/share/zsh/vendor-completions usr/share/fish/vendor_completions.d usr/share/secretlet \
		usr/lib/tmpfiles.d | sort -k 2)"
check "the program works" test "$("$dest/usr/bin/secretlet" version)" = "$("$TEST_BUILD_DIR/secretlet" version)"
check_equal "the unit starts it" "$(grep ^ExecStart= "$dest/lib/systemd/system/secretlet.service")" "ExecStart=/usr/bin/secretlet run"
check_equal "a folder for the configuration" "$(stat -c %a "$dest/etc/secretlet")" 755
echo "# mine" >"$dest/etc/secretlet/secretlet.yaml"
echo "# mine" >"$dest/usr/bin/other"
echo "# mine" >"$dest/usr/share/doc/secretlet/examples/mine.yaml"
echo "# mine" >"$dest/usr/share/secretlet/mine"
mkdir "$dest/usr/share/doc/secretlet/empty"
check "make install again" ours install "${dirs[@]}"
check "make uninstall" ours uninstall "${dirs[@]}"
check_equal "leaves the configuration, and what is not ours" "$(files | cut -d ' ' -f 2 | xargs)" \
	"etc/secretlet/secretlet.yaml usr/bin/other usr/share/doc/secretlet/examples/mine.yaml usr/share/secretlet/mine"
check_equal "of its own folders those that are needed for it" "$(cd "$dest/usr/share" && find doc/secretlet secretlet -type d | sort | xargs)" \
	"doc/secretlet doc/secretlet/empty doc/secretlet/examples secretlet"
check_equal "which is as it was" "$(cat "$dest/etc/secretlet/secretlet.yaml")" "# mine"

rm -r "$dest"
dirs=(PREFIX=/opt/x BINDIR=/opt/x/s MANDIR=/opt/m DOCDIR=/opt/d DATADIR=/opt/a UNITDIR=/opt/u SYSUSERSDIR=/opt/y TMPFILESDIR=/opt/t SYSCONFDIR=/opt/etc
	BASHCOMPDIR=/opt/cb ZSHCOMPDIR=/opt/cz FISHCOMPDIR=/opt/cf)
check "make install with all variables" ours install "${dirs[@]}"
check_equal "all is where they say" "$(files)" "$(expected opt/x/s opt/m opt/d opt/u opt/y opt/cb opt/cz opt/cf opt/a opt/t | sort -k 2)"
check "the configuration's folder as well" test -d "$dest/opt/etc/secretlet"
check_equal "nothing is anywhere else" "$(ls "$dest")" opt
check_equal "the unit starts that program" "$(grep ^ExecStart= "$dest/opt/u/secretlet.service")" "ExecStart=/opt/x/s/secretlet run"
for file in a/oci/hooks.d/secretlet.json a/oci/secretlet-precreate.json; do
	check_equal "$file too" "$(jq -r .hook.path "$dest/opt/$file")" /opt/x/s/secretlet
done
check "nor does an example name another one" not grep -rqE '/usr/bin/secretlet|(^|[^t])/etc/secretlet' "$dest/opt/d/examples"
check_equal "the manual names the configuration's place, and no other" \
	"$(grep -rhoE '[a-z/]*/etc/secretlet/secretlet\.yaml' "$dest/opt/m" | sort -u)" /opt/etc/secretlet/secretlet.yaml
check "make uninstall with them" ours uninstall "${dirs[@]}"
check_equal "nothing is left" "$(files)" ""
check_equal "no folder of its own either" "$(ls -d "$dest"/opt/[da] 2>/dev/null)" ""

rm -r "$dest"
check "make install with PREFIX" ours install PREFIX=/usr/local UNITDIR=/usr/local/lib/systemd/system SYSUSERSDIR=/usr/local/lib/sysusers.d \
	TMPFILESDIR=/usr/local/lib/tmpfiles.d
check_equal "all but the configuration follows it, and podman finds no hook by itself" \
	"$(cd "$dest" && find . -type f ! -path './usr/local/*')" ""

# --- in a copy of the tree, since tree and build are the others', too: the page of the figures, which `make bench-report` makes
tree=$TEST_DIR/tree build=$(realpath --relative-to . "$TEST_BUILD_DIR")
mkdir -p "$tree/$build"
cp -a Makefile VERSION agent common fusefs man deploy docs examples ./*.md "$tree/"
cp -a "$build"/{agent,common,fusefs,include,secretlet} "$tree/$build/"
make_there() { env -u MAKEFLAGS -u MAKELEVEL make -s -C "$tree" B="$build" "$@" >>"$TEST_DIR/make.out" 2>&1; }
mkdir -p "$tree/docs/bench"
touch "$tree"/docs/bench/{README.md,read.svg}
bench=$TEST_DIR/bench/usr/share/doc/secretlet/docs/bench
make_there -o all install DESTDIR="$TEST_DIR/bench"
check_equal "what is there of the figures is installed" "$(ls "$bench" | xargs)" "$(ls "$tree/docs/bench" | xargs)"
make_there -o all uninstall DESTDIR="$TEST_DIR/bench"
check "and removed" test ! -e "$bench"
rm -r "$tree/docs/bench"

# --- what was compiled is compiled again when something else is to be in it
compiled() { # compiled WHAT...: the objects that this makes anew, with make's words for what is to be made
	touch "$TEST_DIR/before"
	make_there "$@" || echo failed
	(cd "$tree/$build" && find . -name '*.o' -newer "$TEST_DIR/before" -printf '%P\n' | sort | xargs)
}
of() { grep -lE "$1" common/*.[ch] fusefs/*.[ch] agent/*.[ch] | sed -n 's/\.c$/.o/p' | xargs; }
# once without a verdict: what the build had on its command line is not known here
compiled all >"$TEST_DIR/first"
check_equal "what is built stays as it is" "$(compiled all)" ""
echo 9.8.7 >"$tree/VERSION"
check_equal "another version: what contains it" "$(compiled all)" "$(of SECRETLET_VERSION)"
check_equal "and it is in the program" "$("$tree/$build/secretlet" version)" "secretlet 9.8.7"
check_equal "the same version: nothing" "$(compiled all)" ""
there=$(compiled install SYSCONFDIR=/opt/etc DESTDIR="$TEST_DIR/other")
check_equal "another place for the configuration: its default" "$(of CONFIG_DEFAULT_PATH | xargs -n 1 | grep -vxF "$(xargs -n 1 <<<"$there")")" ""
check_contains "the program that is installed reads it there" "$("$TEST_DIR/other/usr/bin/secretlet" run 2>&1)" "in /opt/etc/secretlet/secretlet.yaml"
check_contains "and says so" "$("$TEST_DIR/other/usr/bin/secretlet" run --help)" "default: /opt/etc/secretlet/secretlet.yaml"
[ "$tap_failed" -eq 0 ] || sed 's/^/# /' "$TEST_DIR/make.out"
tap_done
