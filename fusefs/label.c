/* Label: every folder of the version is of all objects, every file of its own. Nodes that the payload does not name (what
 * only an overtaken path walk finds) keep what they have. */
#include "fusefs/label.h"

struct label {
	struct tree *tree;
	struct origins *origins;
	struct origins_node *nodes;
	size_t n;
	bool lacks_some; /* files that were not there */
};

static void label_add(struct label *l, struct node *n, uint32_t index)
{
	uint32_t had;

	if (node_origins(n, &had) == l->origins)
		return;
	tree_set_origins(l->tree, n, l->origins, index);
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

/* The version itself, the folder of its files, and what there can be at most on their paths. */
static size_t nodes_max(const struct payload *p)
{
	size_t n = 2;

	for (size_t i = 0; i < p->n_files; i++) {
		n++;
		for (const char *s = p->files[i].path; *s; s++)
			n += *s == '/';
	}
	return n;
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
	l.origins = o;
	label_add(&l, version, 0);
	for (size_t i = 0; i < p->n_files; i++)
		label_file(&l, files, &p->files[i]);
	/* those have to be labelled yet */
	if (l.lacks_some)
		origins_forget_digest(o);
	if (tree_arena(t))
		(void)origins_keep(o, tree_arena(t), l.nodes, l.n);
	return 0;
}

int label_refresh(struct tree *t, struct node *version, struct node *files, const struct payload *p,
		  uint64_t updated_usec)
{
	uint32_t index;
	const struct origins *o = node_origins(version, &index);

	if (!o || !digest_eq(origins_digest(o), &p->origins_digest))
		return label_version(t, version, files, p, updated_usec);
	if (!origins_updated(o))
		tree_note_shown(t, version, updated_usec);
	return 0;
}
