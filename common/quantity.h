/* Quantity: Kubernetes' numbers with a suffix: "250m", "1.5Gi", "2e3" (apimachinery, pkg/api/resource). */
#pragma once

#include "common/base.h"

struct quantity {
	__int128 nano; /* in 1/10^9 */
};

/* -EINVAL: it is none; -ERANGE: 2^63 or more. What is finer than 1/10^9 is rounded up. */
int quantity_parse(const char *text, struct quantity *ret_q);
/* In thousandths and in ones, rounded up, as Go's MilliValue() and Value(); INT64_MAX at most. */
int64_t quantity_milli(const struct quantity *q);
int64_t quantity_value(const struct quantity *q);
