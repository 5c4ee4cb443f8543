/* Quantity: digits, a fraction, and a suffix or an exponent. All in integers: what a program reads as its limit must not
 * be off by one byte. */
#include "common/quantity.h"

#define NANO	   ((__int128)1000000000)
#define NUMBER_MAX ((__int128)INT64_MAX * NANO)

static const struct {
	const char *suffix;
	__int128 nano; /* of 1 with this suffix */
} SUFFIXES[] = {
	{ "n", 1 },
	{ "u", 1000 },
	{ "m", 1000000 },
	{ "", NANO },
	{ "k", NANO * 1000 },
	{ "M", NANO * 1000000 },
	{ "G", NANO * 1000000000 },
	{ "T", NANO * 1000000000000 },
	{ "P", NANO * 1000000000000000 },
	{ "E", NANO * 1000000000000000000 },
	{ "Ki", NANO << 10 },
	{ "Mi", NANO << 20 },
	{ "Gi", NANO << 30 },
	{ "Ti", NANO << 40 },
	{ "Pi", NANO << 50 },
	{ "Ei", NANO << 60 },
};

/* How much 1 is with what stands behind the digits. */
static int parse_scale(const char *text, __int128 *ret_nano)
{
	char *end;
	long exponent;

	for (size_t i = 0; i < ARRAY_SIZE(SUFFIXES); i++)
		if (str_eq(text, SUFFIXES[i].suffix)) {
			*ret_nano = SUFFIXES[i].nano;
			return 0;
		}
	if ((*text != 'e' && *text != 'E') || !text[1] || !strchr("+-0123456789", text[1]))
		return -EINVAL;
	exponent = strtol(text + 1, &end, 10);
	if (*end || end[-1] == '+' || end[-1] == '-')
		return -EINVAL;
	if (exponent < -9 || exponent > 18)
		return -ERANGE;
	*ret_nano = 1;
	for (long i = -9; i < exponent; i++)
		*ret_nano *= 10;
	return 0;
}

static size_t count_digits(const char *text)
{
	return strspn(text, "0123456789");
}

int quantity_parse(const char *text, struct quantity *ret_q)
{
	bool negative = *text == '-';
	const char *whole = text + (negative || *text == '+'), *fraction;
	size_t n_whole = count_digits(whole), n_fraction = 0;
	__int128 scale, sum = 0, part;
	bool is_finer = false;
	int r;

	fraction = whole + n_whole;
	if (*fraction == '.')
		n_fraction = count_digits(++fraction);
	if (n_whole + n_fraction == 0)
		return -EINVAL;
	r = parse_scale(fraction + n_fraction, &scale);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n_whole; i++) {
		sum = sum * 10 + (whole[i] - '0') * scale;
		if (sum > NUMBER_MAX)
			return -ERANGE;
	}
	part = scale;
	for (size_t i = 0; i < n_fraction; i++) {
		/* finer than 1/10^9: nine digits are exact with every suffix from "" on */
		is_finer |= part % 10 != 0 && fraction[i] != '0';
		sum += (fraction[i] - '0') * part / 10;
		part /= 10;
	}
	sum += is_finer;
	ret_q->nano = negative ? -sum : sum;
	return 0;
}

static int64_t rounded_up(__int128 nano, __int128 unit)
{
	__int128 n = nano / unit + (nano > 0 && nano % unit != 0);

	return (int64_t)MIN(n, (__int128)INT64_MAX);
}

int64_t quantity_milli(const struct quantity *q)
{
	return rounded_up(q->nano, NANO / 1000);
}

int64_t quantity_value(const struct quantity *q)
{
	return rounded_up(q->nano, NANO);
}
