#!/usr/bin/env bash
# timeout: 3600
# `make deb` as a user has it: from an export of the source in which nothing was built, without root, with Debian's flags; and what
# lintian says. It takes long. package.sh installs what was built before.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"
root=$(realpath "$here/../..") tree=$TEST_DIR/tree

command -v dh >/dev/null || { echo "no debhelper here"; exit 77; }
mkdir "$tree"
if [ -e "$root/.git" ]; then
	# what a commit of all of it would have
	git -c safe.directory='*' -C "$root" ls-files -z --cached --others --exclude-standard
else
	(cd "$root" && find . -path ./build -prune -o -type f -print0)
fi | tar -C "$root" --null --ignore-failed-read -T - -c 2>/dev/null | tar -C "$tree" -x
user=()
if [ "$(id -u)" = 0 ]; then
	user=(setpriv --reuid nobody --regid nogroup --clear-groups --)
	chown -R nobody:nogroup "$tree"
fi
version=$(cat "$root/VERSION") arch=$(dpkg --print-architecture)
before=$(cd "$tree" && find . -type f -exec sha256sum {} + | sort)
make_deb() { "${user[@]}" env -i PATH="$PATH" HOME="$tree/none" LANG=C make -C "$tree" deb >"$TEST_DIR/deb.out" 2>&1; }
check "make deb" make_deb
[ "$tap_failed" = 0 ] || tail -n 20 "$TEST_DIR/deb.out" | cut -c 1-300 | sed 's/^/# /'
packages=("$tree/build/deb/secretlet_${version}_$arch.deb" "$tree/build/deb/secretlet-dbgsym_${version}_$arch.deb")
deb=${packages[0]}
check_equal "it says where the packages are" "$(grep '\.deb$' "$TEST_DIR/deb.out" | sort)" "$(printf '%s\n' "${packages[@]}" | sort)"
check_equal "the source is as it was" "$(cd "$tree" && find . -path ./build -prune -o -type f -exec sha256sum {} + | sort)" "$before"
check_equal "its version" "$(dpkg-deb -f "$deb" Version)" "$version"
check_equal "all is root's" "$(dpkg-deb -c "$deb" | awk '{ print $2 }' | sort -u)" root/root
dpkg-deb -x "$deb" "$TEST_DIR/x"
check_equal "the program runs" "$("$TEST_DIR/x/usr/bin/secretlet" version)" "secretlet $version"
check "it is built with Debian's flags" grep -qE -- ' -ffile-prefix-map=.* -o [^ ]*agent/main\.o ' "$tree/build/deb/build.log"
check "it has full RELRO" grep -q 'BIND_NOW' <<<"$(readelf -d "$TEST_DIR/x/usr/bin/secretlet")"
check_equal "and no symbols: they are in the other one" "$(readelf -S "$TEST_DIR/x/usr/bin/secretlet" | grep -c '\.symtab\|\.debug_info')" 0
if command -v lintian >/dev/null; then
	lintian --allow-root --fail-on error "${packages[@]}" >"$TEST_DIR/lintian.out" 2>&1
	check_equal "lintian finds no error" "$? $(grep ^E: "$TEST_DIR/lintian.out")" "0 "
	sed 's/^/# /' "$TEST_DIR/lintian.out"
else
	tap_skip "lintian finds no error" "lintian is not installed"
fi
tap_done
