/* Payload: what one volume is to contain, checked and brought into the form in which it is published. The path rules
 * and their words are those of the kubelet's AtomicWriter (pkg/volume/util/atomic_writer.go, validatePath). */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/secmem.h"
#include "fusefs/origins.h"

#define PAYLOAD_PATH_MAX 4096 /* AtomicWriter: maxPathLength */
#define PAYLOAD_NAME_MAX 255 /* AtomicWriter: maxFileNameLength */
/* Ours, for the cost of a volume depends on them: a path of 4096 bytes could name 2048 folders. */
#define PAYLOAD_LEVELS_MAX 64 /* names in one path */
#define PAYLOAD_NODES_MAX  65536 /* files and folders in one volume */

struct payload_file {
	char *path; /* cleaned: "foo//bar" is foo/bar, "./a" is a */
	struct secspan content; /* holds a reference on its block */
	struct digest digest; /* of the content */
	mode_t mode; /* 0..0777, fsGroup's bits applied by payload_seal() */
	uid_t uid;
	gid_t gid;
	bool exact_mode, exact_gid; /* fsGroup changes nothing of them */
	uint32_t origin; /* 1 + the place of the object that it is of; 0: nobody has said */
};

/* What is asked of a file whatever the rules say. */
struct payload_exact {
	bool has_uid, has_gid, has_mode;
	uid_t uid;
	gid_t gid;
	mode_t mode;
};

struct payload {
	struct payload_file *files; /* sorted by path once sealed */
	size_t n_files;
	char **mount_dirs; /* folders for other volumes' nested mount points, cleaned, sorted */
	size_t n_mount_dirs;
	size_t n_nodes; /* files and folders that these are, once sealed */
	bool has_fs_group;
	gid_t fs_group;
	bool live; /* each key is shown as a live file, too */
	bool prompt; /* its callback does not wait for other volumes */
	bool flat; /* files where their keys are, without links; for a volume that is new */
	struct digest digest; /* of everything above but the files' origins: equal digests publish nothing */
	bool sealed;
	size_t files_size, mount_dirs_size;
	struct origin *origins; /* the texts are the payload's */
	size_t n_origins, origins_size;
	struct digest origins_digest; /* of the origins and of which file is of which */
};

/* A path as the volume has it: "a//b/" is a/b; "." is the volume itself. -EINVAL with the kubelet's sentence:
 * `invalid path: ...`. */
int payload_clean_path(const char *path, char **ret_clean, struct err *e);

int payload_new(struct payload **ret_p);
void payload_free(struct payload *p);
DEFINE_CLEANUP(struct payload *, payload_free);
#define cleanup_payload cleanup(payload_freep)

/* The files that are added from now on are of this object. Copied; NULL: not known. -ENOMEM. */
int payload_add_origin(struct payload *p, const char *object, const char *uid, const char *resource_version);
/* Adds a file, or replaces the one with the same cleaned path (the last item of a list wins, as under the kubelet).
 * The span's block gets one more reference. -EINVAL with the kubelet's sentence: `invalid path: ...`; -E2BIG: more than
 * PAYLOAD_LEVELS_MAX or PAYLOAD_NODES_MAX. */
int payload_add(struct payload *p, const char *path, const struct secspan *content, const struct digest *digest,
		mode_t mode, struct err *e);
/* The same for a file that does not belong to root. */
int payload_add_owned(struct payload *p, const char *path, const struct secspan *content, const struct digest *digest,
		      mode_t mode, uid_t uid, struct err *e);
/* Of the file'th file that was added. Before payload_seal(). */
void payload_set_exact(struct payload *p, size_t file, const struct payload_exact *x);
/* A folder that exists beside the keys and survives updates. Same path rules; clashes with keys are found by seal. */
int payload_add_mount_dir(struct payload *p, const char *path, struct err *e);
/* fsGroup as the kubelet applies it to read-only volumes (kubelet-visible modes: files |= 0440, folders 02755,
 * volume root 03777; gid only). */
void payload_set_fs_group(struct payload *p, gid_t gid);
/* Before payload_seal(). */
void payload_set_live(struct payload *p);
void payload_set_flat(struct payload *p);
/* Somebody acts on the news that it is published: its rest is not put off for the sake of other volumes. */
void payload_set_prompt(struct payload *p);
/* Sorts, applies fsGroup, computes the digest, finds what cannot be: "." as a file, a path that is file and folder at
 * once, a key's link in the way of a mount folder. -EINVAL; e names the paths. -E2BIG: more than PAYLOAD_NODES_MAX. */
int payload_seal(struct payload *p, struct err *e);

enum payload_kind { PAYLOAD_NOTHING, PAYLOAD_FILE, PAYLOAD_FOLDER };
/* What a sealed payload has at a cleaned path: a key, or a folder with keys or nested mount points. */
enum payload_kind payload_find(const struct payload *p, const char *path);
/* A nested mount point is there, or in it. */
bool payload_has_mount_dir(const struct payload *p, const char *path);
struct payload_size {
	size_t n_nodes;
	uint64_t n_bytes;
};
/* Of a sealed one. */
struct payload_size payload_size(const struct payload *p);
/* So many files, folders or bytes that others are not to wait until all of them have been read. */
bool payload_size_is_large(struct payload_size s);
bool payload_is_large(const struct payload *p);
