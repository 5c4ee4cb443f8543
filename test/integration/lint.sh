#!/usr/bin/env bash
# timeout: 120
# Static analysis that does not come to an end: it is ended, and what was not looked at is named. The analyzers are scripts here.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

run=("$(python3 -c 'import sys; print(sys.executable)')" "$here/../lint/run" --jobs 2 --seconds 1 --mebibytes 512)
mkdir "$TEST_DIR/bin"
tool() { # tool NAME <BODY: what it does with a file that has no bug planted in it
	{
		printf '#!/usr/bin/env bash\ncase "$*" in *planted*) echo "x.c:1:1: error: the planted bug"; exit 1 ;; esac\n'
		cat
	} >"$TEST_DIR/bin/$1"
	chmod +x "$TEST_DIR/bin/$1"
}
# ends NAME EXIT-STATUS WORDS TOOL...: each says these words of a file
ends() {
	local name=$1 status=$2 words=$3
	shift 3
	PATH=$TEST_DIR/bin:$PATH "${run[@]}" --only "$(IFS=, && echo "$*")" --match common/err.c >"$TEST_DIR/out" 2>&1
	check_equal "$name: exit status" "$?" "$status"
	check_equal "$name" "$(grep -cF "$words" "$TEST_DIR/out")" $#
}

tool gcc <<<'exit 0'
tool clang <<<'exit 0'
ends "a file without findings" 0 "1 files " gcc-analyzer scan-build

unfinished='common/err.c: '
for name in gcc clang; do
	tool $name <<<'while :; do :; done'
done
ends "one that takes all time is named" 1 "$unfinished" gcc-analyzer scan-build
check_equal "and by what it was not finished" "$(grep -oE '[a-z-]+ has not come to an end' "$TEST_DIR/out" | xargs)" \
	"gcc-analyzer has not come to an end scan-build has not come to an end"

forever="86407.$$"
tool gcc <<<"sleep $forever & wait"
ends "one that waits for ever" 1 "$unfinished" gcc-analyzer
check "and nothing of it goes on" not pgrep -x -f "sleep $forever"

# as gcc says it; without a limit it has the memory, and nothing to complain of
for name in gcc clang; do
	tool $name <<<'exec python3 -c "
try:
    bytearray(600 << 20)
except MemoryError:
    print(\"cc1: out of memory allocating 65536 bytes\")
    raise SystemExit(1)
"'
done
ends "one that takes all memory" 1 "$unfinished" gcc-analyzer scan-build

# the line of the program that it is about is not its own word
for name in gcc clang; do
	tool $name <<<'printf "%s\n" "common/err.c:5:1: warning: what is found" "    5 | say(\"out of memory\");"; exit 1'
done
ends "a finding beside the words of one that has no memory" 1 "common/err.c:5:1: warning: what is found" gcc-analyzer scan-build
tap_done
