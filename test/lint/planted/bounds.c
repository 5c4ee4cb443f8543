/* for cppcheck: an index beyond the end */
int planted(void);
int planted(void)
{
	int a[4] = { 0 };

	return a[4];
}
