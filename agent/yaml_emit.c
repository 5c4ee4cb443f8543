/* YAML out of JSON: the walk over the tree. Libyaml knows nothing of types: it would write the string "true" as the
 * boolean. So a string is plain only if it begins as no number, date or other special thing does and is none of the words
 * that stand for something; whether its characters can be plain at all is libyaml's to know. The walk does not recurse. */

#include "agent/yaml_emit.h"

#include <yaml.h>

#include "common/str.h"

struct frame {
	const json_t *value; /* an array or an object */
	size_t index; /* of the next element of an array */
	void *iter; /* the next member of an object */
};

struct walk {
	yaml_emitter_t emitter;
	yaml_emit_write write;
	void *userdata;
	struct frame *frames;
	size_t depth, size;
	bool stopped;
};

static int on_text(void *userdata, unsigned char *data, size_t len)
{
	struct walk *w = userdata;

	w->stopped = w->write((const char *)data, len, w->userdata) < 0;
	return !w->stopped;
}

/* initialized: what yaml_*_event_initialize() returned. The event is the emitter's then. */
static int emit(struct walk *w, int initialized, yaml_event_t *event)
{
	if (initialized && yaml_emitter_emit(&w->emitter, event))
		return 0;
	return w->stopped ? -EIO : -ENOMEM;
}

static bool reads_as_string(const char *s)
{
	static const char *const words[] = { "y", "n", "yes", "no", "on", "off", "true", "false", "null" };

	if (!(*s >= 'a' && *s <= 'z') && !(*s >= 'A' && *s <= 'Z') && *s != '/')
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcasecmp(s, words[i]) == 0)
			return false;
	return true;
}

static int emit_scalar(struct walk *w, const char *text, size_t len, yaml_scalar_style_t style)
{
	yaml_event_t event;

	return emit(w,
		    yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text, (int)len, true, true,
						 style),
		    &event);
}

static int emit_string(struct walk *w, const char *text, size_t len)
{
	bool plain = len > 0 && !memchr(text, '\n', len) && !memchr(text, '\0', len) && reads_as_string(text);

	return emit_scalar(w, text, len, plain ? YAML_PLAIN_SCALAR_STYLE : YAML_DOUBLE_QUOTED_SCALAR_STYLE);
}

/* "1e20" has no point, and is no number in YAML 1.1. */
static int emit_real(struct walk *w, const json_t *value)
{
	char text[64], *exponent;

	snprintf(text, sizeof(text), "%.17g", json_real_value(value));
	exponent = strchr(text, 'e');
	if (!strchr(text, '.')) {
		size_t at = exponent ? (size_t)(exponent - text) : strlen(text);

		memmove(text + at + 2, text + at, strlen(text + at) + 1);
		memcpy(text + at, ".0", 2);
	}
	return emit_scalar(w, text, strlen(text), YAML_PLAIN_SCALAR_STYLE);
}

static int emit_plain(struct walk *w, const json_t *value)
{
	const char *word = json_is_true(value) ? "true" : json_is_false(value) ? "false" : "null";
	char number[32];

	if (json_is_string(value))
		return emit_string(w, json_string_value(value), json_string_length(value));
	if (json_is_real(value))
		return emit_real(w, value);
	if (json_is_integer(value)) {
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
		word = number;
	}
	return emit_scalar(w, word, strlen(word), YAML_PLAIN_SCALAR_STYLE);
}

static int enter(struct walk *w, const json_t *value)
{
	yaml_event_t event;
	int initialized;

	if (w->depth == w->size) {
		size_t size = w->size ? 2 * w->size : 16;
		struct frame *frames = reallocarray(w->frames, size, sizeof(*frames));

		if (!frames)
			return -ENOMEM;
		w->frames = frames;
		w->size = size;
	}
	w->frames[w->depth++] = (struct frame){
		.value = value,
		.iter = json_is_object(value) ? json_object_iter((json_t *)(uintptr_t)value) : NULL,
	};
	initialized =
		json_is_object(value)
			? yaml_mapping_start_event_initialize(&event, NULL, NULL, true, YAML_BLOCK_MAPPING_STYLE)
			: yaml_sequence_start_event_initialize(&event, NULL, NULL, true, YAML_BLOCK_SEQUENCE_STYLE);
	return emit(w, initialized, &event);
}

static int emit_value(struct walk *w, const json_t *value)
{
	return json_is_object(value) || json_is_array(value) ? enter(w, value) : emit_plain(w, value);
}

/* The next thing of the innermost collection, or its end. */
static int step(struct walk *w)
{
	struct frame *f = &w->frames[w->depth - 1];
	const json_t *value;
	yaml_event_t event;
	const char *key;
	int r;

	if (json_is_array(f->value)) {
		if (f->index < json_array_size(f->value))
			return emit_value(w, json_array_get(f->value, f->index++));
		w->depth--;
		return emit(w, yaml_sequence_end_event_initialize(&event), &event);
	}
	if (!f->iter) {
		w->depth--;
		return emit(w, yaml_mapping_end_event_initialize(&event), &event);
	}
	key = json_object_iter_key(f->iter);
	value = json_object_iter_value(f->iter);
	f->iter = json_object_iter_next((json_t *)(uintptr_t)f->value, f->iter);
	r = emit_string(w, key, strlen(key));
	return r < 0 ? r : emit_value(w, value);
}

static int emit_all(struct walk *w, const json_t *root, bool marked)
{
	yaml_event_t event;
	int r;

	r = emit(w, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING), &event);
	if (r == 0)
		r = emit(w, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, !marked), &event);
	if (r == 0)
		r = emit_value(w, root);
	while (r == 0 && w->depth > 0)
		r = step(w);
	if (r == 0)
		r = emit(w, yaml_document_end_event_initialize(&event, true), &event);
	if (r == 0)
		r = emit(w, yaml_stream_end_event_initialize(&event), &event);
	return r;
}

int yaml_emit(const json_t *root, bool marked, yaml_emit_write write, void *userdata)
{
	struct walk w = { .write = write, .userdata = userdata };
	int r;

	if (!yaml_emitter_initialize(&w.emitter))
		return -ENOMEM;
	yaml_emitter_set_output(&w.emitter, on_text, &w);
	yaml_emitter_set_unicode(&w.emitter, 0);
	yaml_emitter_set_width(&w.emitter, -1); /* no line is folded */
	r = emit_all(&w, root, marked);
	yaml_emitter_delete(&w.emitter);
	free(w.frames);
	return r;
}
