/* Pod options. An option that nobody knows is a mistake, too: a misspelt one would be missed in silence. */
#include "agent/pod_options.h"

#include "agent/hook.h"
#include "agent/volume_options.h"
#include "common/buf.h"
#include "common/str.h"

#define LIVE_TEXT_MAX	  (256u << 10) /* of all annotations together */
#define MISTAKES_TEXT_MAX (16u << 10)

static const struct pod_mistake NOWHERE = { .line = 0 };

int pod_options_complain(struct pod *p, const char *annotation, const struct pod_mistake *like, const char *fmt, ...)
{
	struct pod_mistake m = *like, *grown;
	va_list ap;
	int n;

	if (p->n_mistakes == POD_MISTAKES_MAX)
		return 0;
	grown = reallocarray(p->mistakes, p->n_mistakes + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	p->mistakes = grown;
	va_start(ap, fmt);
	n = vasprintf(&m.text, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -ENOMEM;
	m.annotation = strdup(annotation);
	if (!m.annotation) {
		free(m.text);
		return -ENOMEM;
	}
	p->mistakes[p->n_mistakes++] = m;
	return 0;
}

static struct pod_volume *find_volume(struct pod *p, const char *name, size_t len)
{
	for (size_t i = 0; i < p->n_volumes; i++)
		if (p->volumes[i].kind != POD_VOLUME_OTHER && strncmp(p->volumes[i].name, name, len) == 0 &&
		    !p->volumes[i].name[len])
			return &p->volumes[i];
	return NULL;
}

/* Each is looked for among all volumes. */
static bool names_too_many(const char *text)
{
	size_t n = 1;

	for (; n <= POD_LIVE_NAMES_MAX && (text = strchr(text, ',')); text++)
		n++;
	return n > POD_LIVE_NAMES_MAX;
}

static int read_live(struct pod *p, const char *key, const char *text)
{
	if (str_eq(text, "*")) {
		for (size_t i = 0; i < p->n_volumes; i++)
			p->volumes[i].live = p->volumes[i].kind != POD_VOLUME_OTHER;
		return 0;
	}
	if (names_too_many(text))
		return pod_options_complain(p, key, &NOWHERE, "names more than %d volumes", POD_LIVE_NAMES_MAX);
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
		else if (pod_options_complain(p, key, &NOWHERE, "\"%.*s\" is no volume of this pod that is served here",
					      (int)MIN(len, (size_t)64), text) < 0)
			return -ENOMEM;
		text += part;
		if (!*text++)
			return 0;
	}
}

/* Under a CRI they are the pod's annotations, too. */
static bool is_for_the_hook(const char *key)
{
	return str_eq(key, HOOK_POD) || str_eq(key, HOOK_CONTAINER) || str_eq(key, HOOK_TIMEOUT);
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
		else if (str_eq(key, POD_OPTION_VOLUMES))
			r = volume_options_read(p, text, json_string_length(value));
		else if (!is_for_the_hook(key))
			r = pod_options_complain(p, key, &NOWHERE, "there is no such option");
		if (r < 0)
			return r;
	}
	return 0;
}

json_t *pod_options_write(const struct pod *p)
{
	cleanup_buf struct buf live = BUF_INIT(LIVE_TEXT_MAX);
	json_t *options = NULL;

	for (size_t i = 0; i < p->n_volumes; i++)
		if (p->volumes[i].live && !p->volumes[i].error &&
		    buf_printf(&live, "%s%s", live.len ? "," : "", p->volumes[i].name) < 0)
			return NULL;
	if (!live.len && !p->volume_options)
		return NULL;
	/* as it was said: what is wrong in it is to be found again */
	if (p->volume_options)
		options = json_stringn(p->volume_options, p->volume_options_len);
	return json_pack("{s:s*, s:o*}", POD_OPTION_LIVE, live.data, POD_OPTION_VOLUMES, options);
}

bool pod_options_same(const struct pod *a, const struct pod *b)
{
	if (a->volume_options_len != b->volume_options_len || a->n_volumes != b->n_volumes ||
	    a->n_mistakes != b->n_mistakes)
		return false;
	if (a->volume_options_len > 0 && memcmp(a->volume_options, b->volume_options, a->volume_options_len) != 0)
		return false;
	for (size_t i = 0; i < a->n_volumes; i++)
		if (a->volumes[i].live != b->volumes[i].live)
			return false;
	for (size_t i = 0; i < a->n_mistakes; i++)
		if (!str_eq(a->mistakes[i].annotation, b->mistakes[i].annotation) ||
		    !str_eq(a->mistakes[i].text, b->mistakes[i].text))
			return false;
	return true;
}

char *pod_options_mistakes(const struct pod *p)
{
	cleanup_buf struct buf text = BUF_INIT(MISTAKES_TEXT_MAX);

	for (size_t i = 0; i < p->n_mistakes; i++) {
		const struct pod_mistake *m = &p->mistakes[i];
		int r = buf_printf(&text, "%s%s: ", i ? "; " : "annotation ", m->annotation);

		if (r == 0 && m->line)
			r = buf_printf(&text, "%zu:%zu: ", m->line, m->column);
		r = r ?: buf_add_str(&text, m->text);
		if (r == -ENOBUFS)
			break;
		if (r < 0)
			return NULL;
	}
	return text.len ? buf_take(&text) : NULL;
}
