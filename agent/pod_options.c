/* Pod options. An option that nobody knows is a mistake, too: a misspelt one would be missed in silence. */
#include "agent/pod_options.h"

#include "common/buf.h"
#include "common/str.h"

#define LIVE_TEXT_MAX (256u << 10) /* of all annotations together */

static int complain(struct pod *p, const char *key, const char *fmt, ...) attr_printf(3, 4);
static int complain(struct pod *p, const char *key, const char *fmt, ...)
{
	va_list ap;
	int r;

	if (p->option_error)
		return 0;
	va_start(ap, fmt);
	r = vasprintf(&p->option_error, fmt, ap);
	va_end(ap);
	if (r < 0)
		p->option_error = NULL;
	p->option = strdup(key);
	return r < 0 || !p->option ? -ENOMEM : 0;
}

static struct pod_volume *find_volume(struct pod *p, const char *name, size_t len)
{
	for (size_t i = 0; i < p->n_volumes; i++)
		if (p->volumes[i].kind != POD_VOLUME_OTHER && strlen(p->volumes[i].name) == len &&
		    strncmp(p->volumes[i].name, name, len) == 0)
			return &p->volumes[i];
	return NULL;
}

static int read_live(struct pod *p, const char *key, const char *text)
{
	if (str_eq(text, "*")) {
		for (size_t i = 0; i < p->n_volumes; i++)
			p->volumes[i].live = p->volumes[i].kind != POD_VOLUME_OTHER;
		return 0;
	}
	for (;;) {
		size_t len, part;
		struct pod_volume *v;

		text += strspn(text, " ");
		part = strcspn(text, ",");
		for (len = part; len > 0 && text[len - 1] == ' ';)
			len--;
		v = find_volume(p, text, len);
		if (v)
			v->live = true;
		else if (complain(p, key, "\"%.*s\" is no volume of this pod that is served here",
				  (int)MIN(len, (size_t)64), text) < 0)
			return -ENOMEM;
		text += part;
		if (!*text++)
			return 0;
	}
}

int pod_options_read(struct pod *p, const json_t *annotations)
{
	json_t *all = (json_t *)(uintptr_t)annotations, *value; /* jansson's iterators change nothing */
	const char *key;
	int r = 0;

	json_object_foreach (all, key, value) {
		const char *text = json_string_value(value);

		if (!str_starts(key, POD_OPTION_PREFIX) || !text)
			continue;
		if (str_eq(key, POD_OPTION_LIVE))
			r = read_live(p, key, text);
		else
			r = complain(p, key, "there is no such option");
		if (r < 0)
			return r;
	}
	return 0;
}

json_t *pod_options_write(const struct pod *p)
{
	cleanup_buf struct buf live = BUF_INIT(LIVE_TEXT_MAX);

	for (size_t i = 0; i < p->n_volumes; i++)
		if (p->volumes[i].live && buf_printf(&live, "%s%s", live.len ? "," : "", p->volumes[i].name) < 0)
			return NULL;
	return live.len ? json_pack("{s:s}", POD_OPTION_LIVE, live.data) : NULL;
}
