/* for clang-tidy: an `if` that does nothing */
int planted(int a);
int planted(int a)
{
	if (a > 1);
		a = 0;
	return a;
}
