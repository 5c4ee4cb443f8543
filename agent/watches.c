/* Watches: spent ones are closed one at a time, the oldest first, so that no pause is longer than that for one. */
#include "agent/watches.h"

#include <sys/inotify.h>

static void watches_close_oldest(struct watches *w)
{
	close_fd(w->spent[0]);
	w->n_spent--;
	memmove(w->spent, w->spent + 1, w->n_spent * sizeof(w->spent[0]));
}

static int instance_new(void)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

void watches_deinit(struct watches *w)
{
	while (w->n_spent > 0)
		watches_close_oldest(w);
	w->fd = close_fd(w->fd);
}

int watches_renew(struct watches *w)
{
	int fd = instance_new();

	/* those of dead agents are of the number that a user may have (fs.inotify.max_user_instances) */
	if (fd < 0) {
		watches_deinit(w);
		fd = instance_new();
	}
	if (fd < 0)
		return fd;
	if (w->n_spent == WATCHES_SPENT_MAX)
		watches_close_oldest(w);
	if (w->fd >= 0)
		w->spent[w->n_spent++] = w->fd;
	w->fd = fd;
	return 0;
}

void watches_tidy(struct watches *w)
{
	if (w->n_spent > 0)
		watches_close_oldest(w);
}
