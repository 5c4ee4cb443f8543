/* For cmocka's tests: a case that is skipped says why. test/run takes the comment before cmocka's result for the
 * reason. */
#pragma once

/* Ends the running case. Whoever includes this has included cmocka.h. */
#define skip_because(why)                                                                                              \
	do {                                                                                                           \
		print_message("# %s\n", why);                                                                          \
		skip();                                                                                                \
	} while (0)
