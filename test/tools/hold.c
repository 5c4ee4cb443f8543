/* A container that holds a folder of its volume: getdents64(2) copies names into a page that does not come, and meanwhile has the
 * folder locked in the kernel. Here the page is userfaultfd's; without any privilege it is that of a mapped file whose server (FUSE,
 * NFS) has been stopped by its owner.
 *
 *   hold DIR   says "held" when it is; gives it free when its standard input ends, and says how many bytes of names it got
 *
 * Linked without libraries, as attack.c. */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/base.h"

static int fail(const char *what)
{
	fprintf(stderr, "hold: %s: %s\n", what, strerror(errno));
	return 1;
}

static int give(int uffd, void *page, size_t size)
{
	struct uffdio_zeropage zero = { .range = { .start = (uintptr_t)page, .len = size } };

	return ioctl(uffd, UFFDIO_ZEROPAGE, &zero);
}

int main(int argc, char **argv)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffd_msg msg;
	char byte;
	void *page;
	int dir, uffd, status;
	pid_t pid;
	long n;

	dir = argc == 2 ? open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (dir < 0)
		return fail("open the folder");
	page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (page == MAP_FAILED || uffd < 0 || ioctl(uffd, UFFDIO_API, &api) < 0)
		return fail("userfaultfd");
	reg.range.start = (uintptr_t)page;
	reg.range.len = size;
	if (ioctl(uffd, UFFDIO_REGISTER, &reg) < 0)
		return fail("UFFDIO_REGISTER");

	/* the parent waits for the page in the kernel, its child (whose own memory is nobody's business) gives it */
	pid = fork();
	if (pid < 0)
		return fail("fork");
	if (pid == 0) {
		if (read(uffd, &msg, sizeof msg) != (ssize_t)sizeof msg || msg.event != UFFD_EVENT_PAGEFAULT)
			_exit(fail("wait for it"));
		printf("held\n");
		fflush(stdout);
		while (read(STDIN_FILENO, &byte, 1) > 0)
			;
		_exit(give(uffd, page, size) < 0 ? fail("UFFDIO_ZEROPAGE") : 0);
	}
	n = syscall(SYS_getdents64, dir, page, size);
	printf("%ld\n", n);
	if (n <= 0) /* nobody has asked for the page */
		kill(pid, SIGKILL);
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 1;
}
