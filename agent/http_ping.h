/* HTTP ping: asks the HTTP/2 connection of a request for a sign of life, by a PING frame, which needs no free stream. Loop thread
 * only. */
#pragma once

#include <curl/curl.h>

#include "common/base.h"

/* Of a request of that multi handle, not from inside curl's callbacks; curl may run what is due and call them, and what
 * has ended is to be read then. What was due before should have been run before, for it may be what is written to.
 * False: it is on no connection, or on none with HTTP/2, or curl did not write. True: the frame is written, or as soon
 * as there is room for it; now and then it is another request's connection that was written to before this one's. */
bool http_ping(CURLM *multi, CURL *easy);
