/* for clang-format */
int   planted(void) { return 0 ; }
