/* Pages: what is answered in plain text and not as JSON: /metrics, /healthz, /readyz. */
#pragma once

#include "common/buf.h"

enum page { PAGE_METRICS, PAGE_HEALTHZ, PAGE_READYZ, PAGES_N };

/* "metrics" */
const char *page_name(enum page page);
/* The page at this path ("/metrics"); PAGES_N: none. */
enum page page_find(const char *path);
/* For Content-Type. */
const char *page_type(enum page page);

/* HTTP: kube-apiserver says the same. */
enum { PAGE_GOOD = 200, PAGE_BAD = 500 };
/* Writes the page. Returns one of these, or -ENOMEM, -ENOBUFS: *text is of no use then. */
typedef int (*page_fn)(void *userdata, enum page page, bool verbose, struct buf *text);
#define PAGE_BYTES_MAX ((size_t)1024 * 1024)
