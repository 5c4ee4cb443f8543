/* Base64. The decoder is our own because libsodium's refuses what Go takes (bits set behind the last byte, line ends
 * between the padding); the value of a character is computed without branches or tables, as libsodium does it. */
#include "common/b64.h"

#include <endian.h>
#include <sodium.h>

size_t b64_decoded_max(size_t len)
{
	return len / 4 * 3;
}

/* All ones if low <= c <= high, else 0: then both differences are negative, and neither is below -256. */
static inline int range_mask(int c, int low, int high)
{
	return ((low - 1 - c) & (c - high - 1)) >> 8;
}

/* 0..63, or -1: what a range adds is one more than the value. */
static inline unsigned char_value(int c)
{
	int value = -1;

	value += range_mask(c, 'A', 'Z') & (c - 'A' + 1);
	value += range_mask(c, 'a', 'z') & (c - 'a' + 27);
	value += range_mask(c, '0', '9') & (c - '0' + 53);
	value += range_mask(c, '+', '+') & 63;
	value += range_mask(c, '/', '/') & 64;
	return (unsigned)value;
}

/* The next character that is not a line end; -1 at the end. */
static int next_char(const char *text, size_t len, size_t *at)
{
	while (*at < len) {
		unsigned char c = (unsigned char)text[(*at)++];

		if (c != '\r' && c != '\n')
			return c;
	}
	return -1;
}

/* Reads a group of four characters: the bytes go to out, their number is returned (3, less for the padded last group,
 * 0 at the end of the text), or -EINVAL. */
static int decode_group(const char *text, size_t len, size_t *at, uint8_t out[static 3])
{
	unsigned bits = 0, bad = 0, value;
	int n = 0, c;

	while (n < 4 && (c = next_char(text, len, at)) >= 0 && c != '=') {
		value = char_value(c);
		bad |= value & 0xc0u;
		bits |= (value & 0x3fu) << (18 - 6 * n++);
	}
	if (bad)
		return -EINVAL;
	if (n < 4) {
		if (n == 0 && c < 0)
			return 0;
		if (n < 2 || c != '=')
			return -EINVAL;
		if (n == 2 && next_char(text, len, at) != '=')
			return -EINVAL;
		if (next_char(text, len, at) >= 0)
			return -EINVAL;
	}
	out[0] = (uint8_t)(bits >> 16);
	out[1] = (uint8_t)(bits >> 8);
	out[2] = (uint8_t)bits;
	return n - 1;
}

/* Four groups at a time, of which the compiler makes the machine's vector instructions: the same sums as above, again without
 * branches or tables. */
typedef uint8_t chars __attribute__((__vector_size__(16)));

/* What is to be added to -1 for those of low..high, whose first one has the value `first`. */
static inline chars range_values(chars c, uint8_t low, uint8_t high, uint8_t first)
{
	chars place = c - low;

	return (chars)(place <= (uint8_t)(high - low)) & (place + (uint8_t)(first + 1));
}

/* The top bit is set where there is no character of the alphabet. */
static inline chars char_values(chars c)
{
	return range_values(c, 'A', 'Z', 0) + range_values(c, 'a', 'z', 26) + range_values(c, '0', '9', 52) +
	       range_values(c, '+', '+', 62) + range_values(c, '/', '/', 63) - 1;
}

/* Up to sixteen characters of which not all are in the alphabet. Returns the number of bytes; behind them one more may have been
 * written to, which `size` has room for. */
static size_t decode_vectors(const uint8_t *in, const uint8_t *end, uint8_t *out, size_t size)
{
	uint32_t groups[4];
	uint8_t *to = out;
	chars c;

	for (; (size_t)(end - in) >= sizeof(c) && size - (size_t)(to - out) > 12; in += sizeof(c)) {
		memcpy(&c, in, sizeof(c));
		c = char_values(c);
		memcpy(groups, &c, sizeof(groups));
		if ((groups[0] | groups[1] | groups[2] | groups[3]) & 0x80808080u)
			break;
		for (int i = 0; i < 4; i++, to += 3) {
			uint32_t g = le32toh(groups[i]);

			g = htobe32(g << 26 | (g & 0x3f00) << 12 | (g & 0x3f0000) >> 2 | (g >> 24) << 8);
			memcpy(to, &g, sizeof(g));
		}
	}
	explicit_bzero(groups, sizeof(groups));
	return (size_t)(to - out);
}

/* Groups of nothing but the alphabet, which are nearly all there are: up to one that decode_group() has to look at. Returns the
 * number of bytes. */
static size_t decode_plain(const char *text, size_t len, size_t *at, uint8_t *out, size_t size)
{
	const uint8_t *in = (const uint8_t *)text + *at, *end = in + (len - *at) / 4 * 4;
	uint8_t *to = out;

	to += decode_vectors(in, end, out, size);
	in += (to - out) / 3 * 4;
	for (; in < end && size - (size_t)(to - out) >= 3; in += 4, to += 3) {
		unsigned a = char_value(in[0]), b = char_value(in[1]), c = char_value(in[2]), d = char_value(in[3]);

		if ((a | b | c | d) & 0xc0u)
			break;
		to[0] = (uint8_t)(a << 2 | b >> 4);
		to[1] = (uint8_t)(b << 4 | c >> 2);
		to[2] = (uint8_t)(c << 6 | d);
	}
	*at = (size_t)(in - (const uint8_t *)text);
	return (size_t)(to - out);
}

static int decode(const char *text, size_t len, uint8_t *out, size_t size, size_t *ret_len)
{
	uint8_t group[3];
	size_t at = 0, n = 0;
	int r;

	for (;;) {
		n += decode_plain(text, len, &at, out + n, size - n);
		r = decode_group(text, len, &at, group);
		if (r <= 0)
			break;
		if ((size_t)r > size - n) {
			r = -ENOBUFS;
			break;
		}
		memcpy(out + n, group, (size_t)r);
		n += (size_t)r;
	}
	explicit_bzero(group, sizeof(group));
	*ret_len = n;
	return r;
}

int b64_decode(const char *text, size_t len, uint8_t *out, size_t size, size_t *ret_len)
{
	size_t n;
	int r;

	r = decode(text, len, out, size, &n);
	if (r < 0) {
		if (n > 0)
			explicit_bzero(out, n);
		return r;
	}
	*ret_len = n;
	return 0;
}

int b64_encode(const void *data, size_t len, char **ret_text)
{
	size_t size;
	char *text;

	if (len > SIZE_MAX / 2)
		return -ENOMEM;
	size = sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_ORIGINAL);
	text = malloc(size);
	if (!text)
		return -ENOMEM;
	*ret_text = sodium_bin2base64(text, size, data, len, sodium_base64_VARIANT_ORIGINAL);
	return 0;
}
