/* HTTP ping: asks the HTTP/2 connection of a request for a sign of life, by a PING frame, which needs no free stream. Loop thread
 * only. */
#pragma once

#include <curl/curl.h>

#include "common/base.h"

/* Of a request of a multi handle, not from inside curl's callbacks. False: it is on no connection, or on none with HTTP/2. True: the
 * frame is written, or as soon as there is room for it. */
bool http_ping(CURL *easy);
