/* Source: what both of them share. */
#include "agent/source.h"

const char *source_strategy_name(enum source_strategy strategy)
{
	static const char *const names[SOURCE_STRATEGIES_N] = { "Watch", "Cache", "Get" };

	return names[strategy];
}
