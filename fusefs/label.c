/* Label: every folder of the version is of all objects, every file of its own. Nodes that the payload does not name (what
 * only an overtaken path walk finds) keep what they have. */
#include "fusefs/label.h"

struct label {
	struct tree *tree;
	struct origins_node *nodes; /* a folder is among them once for each file that is in it */
	size_t n;
	bool lacks_some; /* files that were not there */
};

static void label_add(struct label *l, const struct node *n, uint32_t index)
{
	l->nodes[l->n++] = (struct origins_node){ .id = node_id(n), .index = index };
}

static void label_file(struct label *l, struct node *dir, const struct payload_file *f)
{
	char name[PAYLOAD_NAME_MAX + 1];

	for (const char *path = f->path; dir;) {
		size_t len = strcspn(path, "/");

		label_add(l, dir, node_kind(dir) == NODE_DIR ? 0 : f->origin);
		if (len == 0 || len > PAYLOAD_NAME_MAX || node_kind(dir) != NODE_DIR)
			return;
		memcpy(name, path, len);
		name[len] = 0;
		path += len + (path[len] == '/');
		dir = tree_find(l->tree, dir, name);
	}
	l->lacks_some = true;
}

/* The version itself, the folder of its files and, of each file, that folder again and what there can be at most on its path. */
static size_t nodes_max(const struct payload *p)
{
	size_t n = 2;

	for (size_t i = 0; i < p->n_files; i++) {
		n += 2;
		for (const char *s = p->files[i].path; *s; s++)
			n += *s == '/';
	}
	return n;
}

static int compare_ids(const void *a, const void *b)
{
	const struct origins_node *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static void drop_repeated(struct label *l)
{
	size_t n = 0;

	qsort(l->nodes, l->n, sizeof *l->nodes, compare_ids);
	for (size_t i = 0; i < l->n; i++)
		if (n == 0 || l->nodes[n - 1].id != l->nodes[i].id)
			l->nodes[n++] = l->nodes[i];
	l->n = n;
}

/* With the last node that has been of another goes that one's note: a successor must find the new one by then. */
static void label_set(struct label *l, struct origins *o)
{
	struct arena *a = tree_arena(l->tree);
	int r;

	r = a ? origins_keep(o, a, l->nodes, l->n) : 0;
	for (size_t i = 0; i < l->n; i++)
		tree_set_origins(l->tree, tree_node(l->tree, l->nodes[i].id), o, l->nodes[i].index);
	/* there may be room now; if not, the next look does it */
	if (r < 0 && origins_keep(o, a, l->nodes, l->n) < 0)
		origins_forget_digest(o);
}

int label_version(struct tree *t, struct node *version, struct node *files, const struct payload *p,
		  uint64_t updated_usec)
{
	cleanup_origins struct origins *o = NULL;
	cleanup_free struct origins_node *nodes = calloc(nodes_max(p), sizeof *nodes);
	struct label l = { .tree = t, .nodes = nodes };
	int r;

	assert(p->sealed);
	r = nodes ? origins_new(p->origins, p->n_origins, &p->origins_digest, updated_usec, &o) : -ENOMEM;
	if (r < 0)
		return r;
	label_add(&l, version, 0);
	if (files)
		label_add(&l, files, 0);
	for (size_t i = 0; i < p->n_files; i++)
		label_file(&l, files, &p->files[i]);
	drop_repeated(&l);
	/* those have to be labelled yet */
	if (l.lacks_some)
		origins_forget_digest(o);
	label_set(&l, o);
	return 0;
}

int label_refresh(struct tree *t, struct node *version, struct node *files, const struct payload *p,
		  uint64_t updated_usec)
{
	uint32_t index;
	const struct origins *o = node_origins(version, &index);

	if (!o || !digest_eq(origins_digest(o), &p->origins_digest) || node_origins(files, &index) != o)
		return label_version(t, version, files, p, updated_usec);
	if (!origins_updated(o))
		tree_note_shown(t, version, updated_usec);
	return 0;
}
