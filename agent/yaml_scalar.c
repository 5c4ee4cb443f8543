/* YAML scalars: what a plain one is. The measure is the Kubernetes API machinery's own reader (sigs.k8s.io/yaml, which is
 * Go's yaml.v2): YAML 1.1's words for booleans, 0644 is octal, dates and 1:30 are strings. Whether a number counts as an
 * integer is JSON's view, in which 420.0 is 420. */
#include "agent/yaml_scalar.h"

#include <math.h>

#define NUMBER_MAX 128 /* characters of a number; longer ones are strings */

/* Go's yaml.v2, resolve.go; each list ends with NULL. */
static const char *const null_words[] = { "", "~", "null", "Null", "NULL", NULL };
static const char *const true_words[] = {
	"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON", NULL
};
static const char *const false_words[] = { "n",	    "N",     "no",  "No",  "NO",  "false",
					   "False", "FALSE", "off", "Off", "OFF", NULL };
static const char *const float_words[] = { ".nan",  ".NaN",  ".NAN",  ".inf",  ".Inf",	".INF", "+.inf",
					   "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF", NULL };

static const struct {
	const char *const *list;
	enum yaml_kind kind;
} words[] = {
	{ null_words, YAML_NULL },
	{ true_words, YAML_BOOL },
	{ false_words, YAML_BOOL },
	{ float_words, YAML_FLOAT },
};

static bool is_in(const char *const *list, const char *s, size_t len)
{
	while (*list && (strlen(*list) != len || memcmp(*list, s, len) != 0))
		list++;
	return *list;
}

bool yaml_scalar_is_true(const char *s, size_t len)
{
	return is_in(true_words, s, len);
}

/* A copy without underscores ("1_000"). False: too long, or not all of it can belong to a number. */
static bool number_text(const char *s, size_t len, char text[static NUMBER_MAX])
{
	size_t n = 0;

	if (len == 0 || len >= NUMBER_MAX || !strchr("+-.0123456789", s[0]) || memchr(s, '\0', len))
		return false;
	for (size_t i = 0; i < len; i++)
		if (s[i] != '_')
			text[n++] = s[i];
	text[n] = '\0';
	return true;
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 16;
}

/* strconv.ParseInt(s, 0, 64). */
static bool parse_int(const char *text, int64_t *ret_value)
{
	bool negative = *text == '-';
	uint64_t value = 0, limit = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
	int base = 10;

	if (*text == '+' || *text == '-')
		text++;
	if (text[0] == '0' && text[1]) {
		char c = text[1] | 0x20;

		base = c == 'x' ? 16 : c == 'b' ? 2 : 8;
		text += c == 'x' || c == 'b' || c == 'o' ? 2 : 1;
	}
	if (!*text)
		return false;
	for (; *text; text++) {
		int digit = digit_value(*text);

		if (digit >= base || value > (limit - digit) / base)
			return false;
		value = value * base + digit;
	}
	*ret_value = negative ? (int64_t)(0 - value) : (int64_t)value;
	return true;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool parse_float(const char *text, double *ret_value)
{
	static const char digits[] = "0123456789";
	const char *s = text;
	size_t n;

	s += *s == '+' || *s == '-';
	n = strspn(s, digits);
	s += n;
	if (*s == '.') {
		size_t fraction = strspn(s + 1, digits);

		n += fraction;
		s += 1 + fraction;
	}
	if (n == 0)
		return false;
	if (*s == 'e' || *s == 'E') {
		s++;
		s += *s == '+' || *s == '-';
		n = strspn(s, digits);
		if (n == 0)
			return false;
		s += n;
	}
	if (*s)
		return false;
	*ret_value = strtod(text, NULL);
	return isfinite(*ret_value);
}

/* As Go's encoding/json writes a float64 that is a whole number. */
static bool whole_number(double real, int64_t *ret_integer)
{
	if (!(fabs(real) < 9007199254740992.0) || real != trunc(real))
		return false;
	*ret_integer = (int64_t)real;
	return true;
}

enum yaml_kind yaml_scalar_kind(const char *s, size_t len)
{
	char text[NUMBER_MAX];
	int64_t integer;
	double real;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (is_in(words[i].list, s, len))
			return words[i].kind;
	if (!number_text(s, len, text))
		return YAML_STRING;
	if (parse_int(text, &integer))
		return YAML_INT;
	return parse_float(text, &real) ? YAML_FLOAT : YAML_STRING;
}

enum yaml_number yaml_scalar_number(const char *s, size_t len, int64_t *ret_integer, double *ret_real)
{
	char text[NUMBER_MAX];

	if (!number_text(s, len, text))
		return YAML_NUMBER_NONE;
	if (parse_int(text, ret_integer))
		return YAML_NUMBER_INTEGER;
	if (!parse_float(text, ret_real))
		return YAML_NUMBER_NONE;
	return whole_number(*ret_real, ret_integer) ? YAML_NUMBER_INTEGER : YAML_NUMBER_REAL;
}
