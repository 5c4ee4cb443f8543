/* Xattr: a file speaks of the object that it is of; a folder of a version, and the volume's own, of all of them: the value
 * itself where the volume has one source, else "secret/db=4711,configMap/ca=12". A live file speaks of what it shows, and of
 * nothing while the kernel may have pages of something else: whoever finds the same before and after reading has read it. */
#include "fusefs/xattr.h"

#include <linux/limits.h>

#include "common/str.h"
#include "fusefs/plan.h"

#define PREFIX "user.secretlet."

static const char OUTDATED[] = "this is of an earlier version: the volume has been updated since, or has been removed";

/* Of what a node can speak. */
struct subject {
	const struct origins *origins; /* NULL: not known */
	uint32_t index; /* 0: all */
	uint64_t changed_usec; /* of the node */
	struct node *volume; /* NULL: it is out of the tree */
	bool is_current; /* the volume shows this version */
};

static char value[XATTR_SIZE_MAX]; /* names and numbers, no secrets; there is one thread */

struct text {
	size_t len;
	int r;
};

static void text_add(struct text *t, const char *s)
{
	size_t len = strlen(s);

	if (len > sizeof value - t->len)
		t->r = -ERANGE;
	if (t->r < 0)
		return;
	memcpy(value + t->len, s, len);
	t->len += len;
}

/* --- whose --- */

static bool is_named(const struct node *n, const char *name)
{
	return n && str_eq(node_name(n), name);
}

/* <pod>/volumes/<plugin>/<volume> */
static bool is_volume(const struct node *n)
{
	const struct node *up = n;

	for (int i = 0; up && i < 2; i++)
		up = node_parent(up);
	if (!is_named(up, "volumes"))
		return false;
	for (int i = 0; up && i < 2; i++)
		up = node_parent(up);
	return up && node_id(up) == TREE_ROOT_ID;
}

/* uid/volumes/plugin/name */
#define VOLUME_PATH_MAX (4 * (PAYLOAD_NAME_MAX + 1))
static void volume_path(const struct node *vol, char path[VOLUME_PATH_MAX])
{
	const struct node *plugin = node_parent(vol), *pod = node_parent(node_parent(plugin));

	snprintf(path, VOLUME_PATH_MAX, "%s/volumes/%s/%s", node_name(pod), node_name(plugin), node_name(vol));
}

/* What the volume shows. false: nothing. */
static bool volume_shown(struct tree *t, const struct node *vol, struct plan_shown *ret_s)
{
	struct plan plan = PLAN_INIT(t);
	char path[VOLUME_PATH_MAX];

	volume_path(vol, path);
	plan.path = path;
	return plan_shown(&plan, ret_s);
}

/* The volume whose live files are in or below this folder: <pod>/live/<volume>... NULL: it is none of them. */
static struct node *volume_of_live_folder(const struct tree *t, const struct node *n)
{
	struct node *pod = NULL, *volumes, *vol = NULL;

	for (; n && !is_named(node_parent(n), PLAN_LIVE); n = node_parent(n))
		continue;
	if (n)
		pod = node_parent(node_parent(n));
	if (!pod || !node_parent(pod) || node_id(node_parent(pod)) != TREE_ROOT_ID)
		return NULL;
	volumes = tree_find(t, pod, "volumes");
	for (struct node *plugin = volumes ? node_next_child(volumes, 0) : NULL; plugin && !vol;
	     plugin = node_next_child(volumes, node_cookie(plugin)))
		vol = tree_find(t, plugin, node_name(n));
	return vol;
}

/* Of a node in a volume, or that was in one. false: it is no part of what is shown. */
static bool subject_of_node(struct tree *t, struct node *n, struct subject *s)
{
	struct plan_shown shown;

	s->origins = node_origins(n, &s->index);
	s->changed_usec = node_changed(n);
	for (struct node *top = n, *up; (up = node_parent(top)); top = up) {
		if (!is_volume(up))
			continue;
		s->volume = up;
		s->is_current = volume_shown(t, up, &shown) && (shown.flat || top == shown.version);
		return s->origins || node_kind(n) == NODE_FILE || (s->is_current && !shown.flat);
	}
	return s->origins;
}

static bool subject_of_volume(struct tree *t, struct node *vol, struct subject *s)
{
	struct plan_shown shown;

	if (!volume_shown(t, vol, &shown))
		return false;
	s->origins = node_origins(shown.labelled, &s->index);
	s->changed_usec = shown.changed_usec;
	s->volume = vol;
	s->is_current = true;
	return true;
}

static bool subject_find(struct tree *t, struct node *n, struct subject *s)
{
	struct node *vol = NULL;

	*s = (struct subject){ .index = 0 };
	if (node_kind(n) == NODE_LINK)
		return false;
	if (node_kind(n) == NODE_LIVE) {
		n = node_may_be_of_before(n) ? NULL : tree_follow(t, n);
		return n && subject_of_node(t, n, s);
	}
	if (node_kind(n) == NODE_DIR && node_id(n) != TREE_ROOT_ID)
		vol = is_volume(n) ? n : volume_of_live_folder(t, n);
	return vol ? subject_of_volume(t, vol, s) : subject_of_node(t, n, s);
}

/* --- what --- */

static const char *origin_uid(const struct origin *o)
{
	return o->uid;
}

static const char *origin_version(const struct origin *o)
{
	return o->resource_version;
}

static void text_add_origins(struct text *t, const struct subject *s, const char *(*of)(const struct origin *o))
{
	size_t n = s->origins ? origins_count(s->origins) : 0;

	if (s->index > 0 || n == 1) {
		const struct origin *o = n ? origins_at(s->origins, s->index ? s->index - 1 : 0) : NULL;

		if (o)
			text_add(t, of(o));
		return;
	}
	for (size_t i = 0; i < n; i++) {
		const struct origin *o = origins_at(s->origins, i);

		if (!*of(o))
			continue;
		text_add(t, t->len ? "," : "");
		text_add(t, o->object);
		text_add(t, "=");
		text_add(t, of(o));
	}
}

static void text_add_version(struct text *t, const struct publish *p, const struct subject *s)
{
	text_add_origins(t, s, origin_version);
}

static void text_add_uid(struct text *t, const struct publish *p, const struct subject *s)
{
	text_add_origins(t, s, origin_uid);
}

static void text_add_updated(struct text *t, const struct publish *p, const struct subject *s)
{
	uint64_t usec = s->origins ? origins_updated(s->origins) : 0;
	char time[STR_TIME_MAX];

	text_add(t, str_format_time_usec(usec ?: s->changed_usec, time));
}

static void text_add_error(struct text *t, const struct publish *p, const struct subject *s)
{
	char path[VOLUME_PATH_MAX];

	if (!s->volume || !s->is_current) {
		text_add(t, OUTDATED);
		return;
	}
	volume_path(s->volume, path);
	text_add(t, publish_error(p, path) ?: "");
}

static const struct {
	const char *name;
	void (*add)(struct text *t, const struct publish *p, const struct subject *s);
} ATTRIBUTES[] = {
	{ PREFIX "resourceVersion", text_add_version },
	{ PREFIX "uid", text_add_uid },
	{ PREFIX "updated", text_add_updated },
	{ PREFIX "error", text_add_error },
};

int xattr_get(struct tree *t, const struct publish *p, struct node *n, const char *name, const char **ret_value,
	      size_t *ret_len)
{
	struct text text = { .len = 0 };
	struct subject s;

	if (!str_starts(name, "user."))
		return -EOPNOTSUPP;
	for (size_t i = 0; i < ARRAY_SIZE(ATTRIBUTES); i++) {
		if (!str_eq(name, ATTRIBUTES[i].name) || !subject_find(t, n, &s))
			continue;
		ATTRIBUTES[i].add(&text, p, &s);
		if (text.r < 0)
			return text.r;
		if (text.len == 0)
			return -ENODATA;
		*ret_value = value;
		*ret_len = text.len;
		return 0;
	}
	return -ENODATA;
}

const char *xattr_list(struct tree *t, const struct publish *p, struct node *n, size_t *ret_len)
{
	static char list[256];
	struct subject s;
	size_t len = 0;

	for (size_t i = 0; subject_find(t, n, &s) && i < ARRAY_SIZE(ATTRIBUTES); i++) {
		struct text text = { .len = 0 };
		size_t size = strlen(ATTRIBUTES[i].name) + 1;

		ATTRIBUTES[i].add(&text, p, &s);
		if (text.len == 0 && text.r == 0)
			continue;
		memcpy(list + len, ATTRIBUTES[i].name, size);
		len += size;
	}
	*ret_len = len;
	return list;
}
