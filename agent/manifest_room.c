/* Manifest room: the sums are of what was taken, never of what is on the disk: a file that was refused, or cannot be read, keeps
 * what it gave, and that is what takes memory. */
#include "agent/manifest_room.h"

static bool fits(size_t all, size_t mine, size_t wanted, size_t max)
{
	size_t others = all - mine;

	return wanted <= mine || (others <= max && wanted <= max - others);
}

static void note_refused(struct manifest_room *room, struct manifest_share *share, bool refused)
{
	room->n_refused += refused - share->refused;
	share->refused = refused;
}

int manifest_room_ask(struct manifest_room *room, struct manifest_share *share, const char *path, size_t n_bytes,
		      size_t n_objects, struct err *e)
{
	bool bytes = fits(room->n_bytes, share->n_bytes, n_bytes, MANIFEST_ROOM_BYTES);
	bool objects = fits(room->n_objects, share->n_objects, n_objects, MANIFEST_ROOM_OBJECTS);

	if (bytes && objects)
		return 0;
	note_refused(room, share, true);
	if (!bytes)
		return err_set(e, -E2BIG,
			       "%s: no room for its %zu bytes: all manifests together may have %zu MiB, and the others "
			       "have %zu KiB",
			       path, n_bytes, MANIFEST_ROOM_BYTES >> 20, (room->n_bytes - share->n_bytes) >> 10);
	return err_set(e, -E2BIG,
		       "%s: no room for its %zu objects: all manifests together may have %zu, and the others have %zu",
		       path, n_objects, MANIFEST_ROOM_OBJECTS, room->n_objects - share->n_objects);
}

bool manifest_room_take(struct manifest_room *room, struct manifest_share *share, size_t n_bytes, size_t n_objects)
{
	bool more = n_bytes < share->n_bytes || n_objects < share->n_objects;

	note_refused(room, share, false);
	room->n_bytes += n_bytes - share->n_bytes;
	room->n_objects += n_objects - share->n_objects;
	share->n_bytes = n_bytes;
	share->n_objects = n_objects;
	return more && room->n_refused > 0;
}
