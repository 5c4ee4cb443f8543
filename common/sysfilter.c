/* Sysfilter: each rule is a block that ends in a return, or leads to the next one. That the blocks are looked at one after the
 * other costs nothing: the kernel remembers which calls are allowed whatever their arguments are (5.11 and newer). */
#include "common/sysfilter.h"

#include <endian.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <stddef.h>
#include <sys/prctl.h>

/* Not s390x: the tables look at arguments, and there clone(2) has its flags in the second one (CONFIG_CLONE_BACKWARDS2), and
 * mmap(2) all of its own in memory, where no filter sees them. */
#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && __BYTE_ORDER == __LITTLE_ENDIAN
#define ARCH AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCH AUDIT_ARCH_RISCV64
#elif defined(__powerpc64__) && __BYTE_ORDER == __LITTLE_ENDIAN
#define ARCH AUDIT_ARCH_PPC64LE
#endif

#define X32_BIT		 0x40000000u
#define INSTRUCTIONS_MAX 1024u
#define BLOCK_MAX	 (3 + 3 * SYSFILTER_ARGS_MAX)

struct program {
	unsigned short n;
	struct sock_filter code[INSTRUCTIONS_MAX];
};

static void add(struct program *p, uint16_t code, uint32_t k, uint8_t if_true, uint8_t if_false)
{
	p->code[p->n++] = (struct sock_filter){ .code = code, .k = k, .jt = if_true, .jf = if_false };
}

static void load(struct program *p, size_t offset)
{
	add(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void ret(struct program *p, uint32_t action)
{
	add(p, BPF_RET | BPF_K, action, 0, 0);
}

static size_t arg_offset(unsigned at)
{
	return offsetof(struct seccomp_data, args) + at * sizeof(uint64_t) +
	       (__BYTE_ORDER == __BIG_ENDIAN ? sizeof(uint32_t) : 0);
}

/* Begins and ends with the call's number in the accumulator. */
static void add_rule(struct program *p, const struct sysfilter_rule *r)
{
	/* behind the first test: three for each argument, the return, and the number again */
	unsigned rest = 3 * r->n_args + 1 + (r->n_args > 0);

	add(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)r->call, 0, (uint8_t)rest);
	for (unsigned i = 0; i < r->n_args; i++) {
		load(p, arg_offset(r->args[i].at));
		add(p, BPF_ALU | BPF_AND | BPF_K, r->args[i].mask, 0, 0);
		rest -= 3;
		add(p, BPF_JMP | BPF_JEQ | BPF_K, r->args[i].value, 0, (uint8_t)(rest - 1));
	}
	ret(p, r->action);
	if (r->n_args > 0)
		load(p, offsetof(struct seccomp_data, nr));
}

int sysfilter_install(const struct sysfilter_rule *rules, size_t n, uint32_t otherwise)
{
#ifdef ARCH
	static struct program p; /* 8 KiB; one thread installs filters */
	struct sock_fprog f = { .filter = p.code };

	p.n = 0;
	load(&p, offsetof(struct seccomp_data, arch));
	add(&p, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	ret(&p, SECCOMP_RET_KILL_PROCESS);
	load(&p, offsetof(struct seccomp_data, nr));
#ifdef __x86_64__
	add(&p, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
	ret(&p, SECCOMP_RET_KILL_PROCESS);
#endif
	for (size_t i = 0; i < n; i++) {
		if (rules[i].call == SYSFILTER_NO_CALL)
			continue;
		if (p.n + BLOCK_MAX + 1u > INSTRUCTIONS_MAX)
			return -E2BIG;
		add_rule(&p, &rules[i]);
	}
	ret(&p, otherwise);
	f.len = p.n;
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &f) == 0)
		return 0;
	return errno == ENOSYS || errno == EINVAL ? -EOPNOTSUPP : -errno;
#else
	return -EOPNOTSUPP;
#endif
}
