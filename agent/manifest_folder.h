/* Manifest folder: the folder that manifests are in, opened and watched whatever becomes of it. When it goes away, its path
 * is tried again until a folder is there; that is opened and watched by `files`. Its deletion is told by the folder above:
 * its own inode lives as long as our fd. What is wrong with it is a finding of the set's, under its path. Loop thread only. */
#pragma once

#include <sys/inotify.h>

#include "agent/files.h"
#include "agent/manifest_set.h"

/* The first block is the owner's to set, all of it borrowed; the rest is zero, but for MANIFEST_FOLDER_INIT. */
struct manifest_folder {
	struct loop *loop;
	struct files *files;
	struct manifest_set *set;
	int inotify_fd;
	void (*suspect)(void *userdata); /* manifest_folder_is_there() is to be asked, soon */
	void (*gone)(void *userdata);
	/* It has been opened anew; another: it is not the one that it was */
	void (*opened)(void *userdata, bool another);
	void *userdata;

	char *path, *above; /* resolved; above: the folder that it is in */
	int dirfd, wd; /* wd -1: it is gone, and dirfd is what it was */
	int next_wd; /* of the one that is being opened anew; -1: not yet */
	bool reopening;
	bool end_seen; /* of some folder, since that has begun */
	int above_wd; /* -1: it is not watched */
	struct loop_source *retry_timer;
};
#define MANIFEST_FOLDER_INIT                                                                                           \
	((struct manifest_folder){ .inotify_fd = -1, .dirfd = -1, .wd = -1, .next_wd = -1, .above_wd = -1 })

/* With all privileges: resolves, opens and watches it, and puts it on the lists of `files`, with all that is in it. */
int manifest_folder_open(struct manifest_folder *f, const char *path, struct err *e);
/* Looks whether it has been deleted; `gone` is called from inside if it has. */
bool manifest_folder_is_there(struct manifest_folder *f);
/* It could not be listed. Nobody tells when it can be (retry): it is opened anew after a while. */
void manifest_folder_fail(struct manifest_folder *f, const struct err *e, bool retry);
/* Each event is to be given to it. True: it is about a name in the folder. */
bool manifest_folder_hear(struct manifest_folder *f, const struct inotify_event *ev);
/* Events were lost. */
void manifest_folder_miss(struct manifest_folder *f);
void manifest_folder_deinit(struct manifest_folder *f);
