/* Container signal. What is not here is never sent, whoever asks: SIGKILL and SIGSTOP leave a program no choice, the signals of
 * faults and of terminals mean something else to every program. SIGTERM is here because a program that reads its files only
 * once is started again by its runtime. */
#include "agent/container_signal.h"

#include <signal.h>

#include "common/str.h"

static const struct {
	int signo;
	const char *name;
} SIGNALS[] = {
	{ SIGHUP, "SIGHUP" },	  { SIGUSR1, "SIGUSR1" }, { SIGUSR2, "SIGUSR2" },
	{ SIGWINCH, "SIGWINCH" }, { SIGTERM, "SIGTERM" },
};

static_assert(ARRAY_SIZE(SIGNALS) == CONTAINER_SIGNALS, "a name for each");

int container_signal_parse(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(SIGNALS); i++)
		if (str_eq(SIGNALS[i].name, name))
			return SIGNALS[i].signo;
	return 0;
}

const char *container_signal_name(int signo)
{
	for (size_t i = 0; i < ARRAY_SIZE(SIGNALS); i++)
		if (SIGNALS[i].signo == signo)
			return SIGNALS[i].name;
	return NULL;
}

size_t container_signal_index(int signo)
{
	size_t i = 0;

	while (i < ARRAY_SIZE(SIGNALS) - 1 && SIGNALS[i].signo != signo)
		i++;
	return i;
}

bool container_signal_is_notice(int signo)
{
	return container_signal_name(signo) && signo != SIGTERM;
}
