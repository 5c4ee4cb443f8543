/* Pods, for unit tests: a node with a store that is told what there is, and the publisher of publishing.h. */
#pragma once

#include "agent/codec.h"
#include "agent/pods.h"
#include "test/unit/publishing.h"

static struct {
	struct store *store;
	struct pods *pods;
	struct source source;
} node;

static int on_want(struct source *s, enum object_kind kind, const char *ns, const char *name)
{
	return 0;
}

static void on_unwant(struct source *s, enum object_kind kind, const char *ns, const char *name)
{
}

static const struct source_vtable source_vtable = { .want = on_want, .unwant = on_unwant };

static void store_changed(void *userdata, const struct store_entry *entry)
{
	pods_object_changed(node.pods, entry);
}

static void pods_changed(void *userdata)
{
}

static int node_setup(void **state)
{
	setup(state);
	node.source.vtable = &source_vtable;
	assert_int_equal(store_new(store_changed, NULL, &node.store), 0);
	store_set_source(node.store, &node.source);
	assert_int_equal(pods_new(f.loop, node.store, f.publish, pods_changed, NULL, &node.pods), 0);
	return 0;
}

static int node_teardown(void **state)
{
	pods_free(node.pods);
	store_free(node.store);
	return teardown(state);
}

static json_t *json_from(const char *text)
{
	struct err e = ERR_INIT;
	json_t *j = NULL;

	if (json_parse(text, strlen(text), &j, &e) < 0)
		fail_msg("%s: %s", text, err_text(&e));
	return j;
}

static bool is_ready(const char *pod)
{
	const struct pod_state *s = pods_find(node.pods, pod);

	return s && pod_state_is_ready(s);
}
