#!/usr/bin/env bash
# What libcurl is to find in the program before it looks into its own libraries (agent/http_ping.c, common/wipe_http2.c).
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

symbols=$(readelf --dyn-syms --wide "$TEST_BUILD_DIR/secretlet")
exported=$(awk '$7 != "UND" { print $8 }' <<<"$symbols")
wanted=(nghttp2_session_send nghttp2_session_want_write)
# a sanitizer has its own malloc, and nothing is wiped there
grep -q ' __[at]san_' <<<"$symbols" ||
	wanted+=(nghttp2_session_callbacks_set_on_data_chunk_recv_callback nghttp2_session_mem_recv nghttp2_session_del)
for name in "${wanted[@]}"; do
	check "$name is exported" grep -qx "$name" <<<"$exported"
done
tap_done
