/* Heap: glibc's malloc, told beforehand how much will be asked of it at once. */
#pragma once

#include "common/base.h"

/* So many bytes of the heap get their pages now, in one call, instead of by a page fault for each of them: on a virtual
 * machine a fault can cost twenty times what the page does (test/bench/resume has both figures). Best effort; for a program
 * that has one thread at that moment. Ends with heap_settle(). */
void heap_expect(size_t bytes);
/* What was expected has come: what is left over of it may go back to the kernel. */
void heap_settle(void);
/* A text of so many bytes was parsed, and what became of it is freed: a hundred thousand small pieces, maybe, with some between
 * them that stay. What is whole pages goes back to the kernel if that can be much. */
void heap_give_back(size_t parsed);
