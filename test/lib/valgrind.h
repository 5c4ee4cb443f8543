/* For tests that ask the machine what valgrind, which is one of its own, answers otherwise. */
#pragma once

#include <stdbool.h>

/* Whether this process runs under valgrind. */
bool under_valgrind(void);
