/* Manifest fetch: an answer is a look into the set, and comes later only because whoever asks is never called from inside the asking.
 * As long as there are any they are answered one by one: whoever is told may end others. */
#include "agent/manifest_fetch.h"

struct source_fetch {
	struct list link;
	enum source_thing thing;
	source_fetched_fn fn;
	void *userdata;
	char *ns, *name;
};

void manifest_fetch_free(struct source_fetch *f)
{
	if (!f)
		return;
	list_remove(&f->link);
	free(f->ns);
	free(f->name);
	free(f);
}

int manifest_fetch_new(struct list *fetches, enum source_thing thing, const char *ns, const char *name,
		       source_fetched_fn fn, void *userdata, struct source_fetch **ret_f)
{
	struct source_fetch *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	list_init(&f->link);
	f->thing = thing;
	f->fn = fn;
	f->userdata = userdata;
	f->ns = strdup(ns);
	f->name = strdup(name);
	if (!f->ns || !f->name) {
		manifest_fetch_free(f);
		return -ENOMEM;
	}
	list_append(fetches, &f->link);
	*ret_f = f;
	return 0;
}

void manifest_fetches_free(struct list *fetches)
{
	struct source_fetch *f;

	while ((f = list_first(fetches, struct source_fetch, link)))
		manifest_fetch_free(f);
}

static void look_up(const struct manifest_set *set, const struct source_fetch *f, struct source_fetched *ret)
{
	enum object_kind kind = f->thing == SOURCE_SECRET ? OBJECT_SECRET : OBJECT_CONFIG_MAP;
	const char *problem = NULL;
	int r;

	if (f->thing == SOURCE_ACCOUNT) {
		err_set(&ret->err, -EOPNOTSUPP, "manifests have no ServiceAccounts");
		return;
	}
	r = manifest_set_get(set, kind, f->ns, f->name, &ret->secret, &problem);
	if (r < 0) {
		err_set(&ret->err, r, "%s %s/%s: %s", object_kind_word(kind), f->ns, f->name,
			r == -EAGAIN ? "the manifests have not been read yet" : strerror(-r));
	} else if (problem) {
		err_set(&ret->err, -EINVAL, "%s", problem);
		ret->err.code = ret->secret ? 0 : -EINVAL;
	} else if (!ret->secret) {
		err_set(&ret->err, -ENOENT, "%s \"%s\" not found", object_kind_word(kind), f->name);
	}
}

void manifest_fetches_answer(struct list *fetches, const struct manifest_set *set)
{
	struct source_fetch *f;

	while ((f = list_first(fetches, struct source_fetch, link))) {
		struct source_fetched fetched = { .unanswered = false };
		source_fetched_fn fn = f->fn;
		void *userdata = f->userdata;

		look_up(set, f, &fetched);
		if (fetched.secret)
			secret_ref(fetched.secret);
		manifest_fetch_free(f);
		fn(userdata, &fetched);
		secret_unref(fetched.secret);
	}
}
