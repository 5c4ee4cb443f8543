/* Base64. The decoder is our own because libsodium's refuses what Go takes (bits set behind the last byte, line ends
 * between the padding); the value of a character is computed without branches or tables, as libsodium does it. */
#include "common/b64.h"

#include <sodium.h>

#define CHAR_INVALID 0xffu

size_t b64_decoded_max(size_t len)
{
	return len / 4 * 3;
}

/* All ones if low <= c <= high, else 0. */
static unsigned range_mask(unsigned c, unsigned low, unsigned high)
{
	return (((c - low) | (high - c)) >> 31) - 1u;
}

/* 0..63, or CHAR_INVALID. */
static unsigned char_value(unsigned char c)
{
	unsigned upper = range_mask(c, 'A', 'Z'), lower = range_mask(c, 'a', 'z'), digit = range_mask(c, '0', '9');
	unsigned plus = range_mask(c, '+', '+'), slash = range_mask(c, '/', '/');

	return (upper & (c - 'A')) | (lower & (c - 'a' + 26u)) | (digit & (c - '0' + 52u)) | (plus & 62u) |
	       (slash & 63u) | (~(upper | lower | digit | plus | slash) & CHAR_INVALID);
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
		value = char_value((unsigned char)c);
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

static int decode(const char *text, size_t len, uint8_t *out, size_t size, size_t *ret_len)
{
	uint8_t group[3];
	size_t at = 0, n = 0;
	int r;

	while ((r = decode_group(text, len, &at, group)) > 0) {
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
