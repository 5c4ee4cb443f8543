/* Expansion: one pass. In one thing it differs from Kubernetes': a byte behind a lone "$" is kept, where Go takes it for
 * a code point and makes two bytes of each that is not ASCII. */
#include "agent/expansion.h"

static int expand_reference(const char *name, size_t len, expansion_fn fn, void *userdata, struct buf *out)
{
	int r;

	r = fn(userdata, name, len, out);
	if (r != EXPANSION_UNDEFINED)
		return r;
	r = buf_add(out, "$(", 2);
	if (r == 0)
		r = buf_add(out, name, len);
	return r < 0 ? r : buf_add(out, ")", 1);
}

int expansion_expand(const char *text, expansion_fn fn, void *userdata, struct buf *out)
{
	const char *dollar, *close = text;
	int r = 0;

	while (r == 0 && (dollar = strchr(text, '$')) && dollar[1]) {
		r = buf_add(out, text, (size_t)(dollar - text));
		text = dollar + 2;
		/* where none is found there is none further on: it is looked for once */
		if (dollar[1] == '(' && close)
			close = strchr(text, ')');
		if (r < 0)
			break;
		if (dollar[1] == '(' && close) {
			r = expand_reference(text, (size_t)(close - text), fn, userdata, out);
			text = close + 1;
		} else {
			r = buf_add(out, dollar, dollar[1] == '$' ? 1 : 2);
		}
	}
	return r < 0 ? r : buf_add_str(out, text);
}
