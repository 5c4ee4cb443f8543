/* Manifest keys: the private keys that the sealed values of a folder of manifests are opened with, from a file that is followed. What is
 * wrong with it is a finding of the set's, under the file's path. Loop thread only. */
#pragma once

#include <sys/inotify.h>

#include "agent/files.h"
#include "agent/manifest_set.h"
#include "agent/sealing.h"

/* The first block is the owner's to set, all of it borrowed; the rest is zero, but for MANIFEST_KEYS_INIT. */
struct manifest_keys {
	struct files *files;
	struct manifest_set *set;
	int inotify_fd;
	bool resumes; /* an earlier process has served: a wrong file is no reason not to start */
	/* The file was read; others: its keys are not those of before */
	void (*changed)(void *userdata, bool others);
	void *userdata;

	char *path, *folder; /* NULL: there are no keys */
	int fd; /* until manifest_keys_start(); -1: there is none */
	int wd; /* of the file's folder, which may be watched for something else, too; -1: it is not watched */
	struct sealing_keys *keys; /* NULL: none could be read yet */
	bool opening, again; /* again: asked for meanwhile */
};
#define MANIFEST_KEYS_INIT ((struct manifest_keys){ .inotify_fd = -1, .fd = -1, .wd = -1 })

/* With all privileges: resolves, watches and opens the file, and puts it and its folder on the lists of `files`. What is in it is
 * for manifest_keys_start(). */
int manifest_keys_open(struct manifest_keys *k, const char *path, struct err *e);
/* Without privileges: reads what was opened. */
int manifest_keys_start(struct manifest_keys *k, struct err *e);
/* Reads the file, or reads it again, and watches its folder, which may be another one; `changed` comes later. Without keys it does
 * nothing. */
void manifest_keys_read(struct manifest_keys *k);
/* The event may be that of a file that was written or replaced. */
bool manifest_keys_concerns(const struct manifest_keys *k, const struct inotify_event *ev);
void manifest_keys_deinit(struct manifest_keys *k);
