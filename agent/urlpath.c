/* Urlpath: the path of a request as its decoded parts. Parts may hold any byte but NUL after that: what a name may be is
 * for the caller to say. */

#include "agent/urlpath.h"

static int hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	const char *d = c ? strchr(digits, c) : NULL;

	return d ? (int)((d - digits) % 16) : -1;
}

/* In place. */
static int percent_decode(char *s)
{
	char *out = s;

	for (; *s; s++) {
		int high, low;

		if (*s != '%') {
			*out++ = *s;
			continue;
		}
		high = hex_digit(s[1]);
		low = high < 0 ? -1 : hex_digit(s[2]);
		if (low < 0 || high * 16 + low == 0)
			return -EINVAL;
		*out++ = (char)(high * 16 + low);
		s += 2;
	}
	*out = '\0';
	return 0;
}

int urlpath_parse(const char *path, struct urlpath *ret_path)
{
	struct urlpath *p = ret_path;
	size_t len = strlen(path);
	char *rest = p->text, *part;

	p->n_parts = 0;
	if (path[0] != '/' || len > URLPATH_MAX)
		return -ENOENT;
	memcpy(p->text, path + 1, len);
	while ((part = strsep(&rest, "/"))) {
		if (!*part || p->n_parts == URLPATH_PARTS_MAX)
			return -ENOENT;
		if (percent_decode(part) < 0)
			return -EINVAL;
		p->parts[p->n_parts++] = part;
	}
	return 0;
}

int urlpath_decode_value(const char *text, char **ret_value)
{
	cleanup_free char *value = strdup(text);

	if (!value)
		return -ENOMEM;
	for (char *c = value; (c = strchr(c, '+'));)
		*c = ' ';
	if (percent_decode(value) < 0)
		return -EINVAL;
	*ret_value = TAKE_PTR(value);
	return 0;
}

char *urlpath_encode(const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
	static const char hex[] = "0123456789ABCDEF";
	char *encoded = malloc(strlen(text) * 3 + 1), *out = encoded;

	if (!encoded)
		return NULL;
	for (const char *c = text; *c; c++) {
		unsigned char byte = (unsigned char)*c;

		if (strchr(plain, *c)) {
			*out++ = *c;
			continue;
		}
		*out++ = '%';
		*out++ = hex[byte >> 4];
		*out++ = hex[byte & 15];
	}
	*out = '\0';
	return encoded;
}
