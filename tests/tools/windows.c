/* SPDX-License-Identifier: Apache-2.0 */
/*
 * windows TEXT BEGIN END STEP: asks for each time from BEGIN to END whether it is inside the maintenance windows of
 * TEXT, and prints a line whenever the answer is another one: the time, and the end of the window or "-".
 */
#include <inttypes.h>
#include <stdio.h>

#include "cwc/windows.h"
#include "worker/base/text.h"

int main(int argc, char **argv)
{
	struct cwc_windows w;
	int64_t t[3], last = -2;

	for (int i = 0; argc == 5 && i < 3; i++)
		if (text_int(span_str(argv[i + 2]), &t[i]) != ERR_OK || t[i] < (i == 2))
			argc = 0;
	if (argc != 5) {
		fputs("usage: windows TEXT BEGIN END STEP\n", stderr);
		return 2;
	}
	if (cwc_windows_parse(span_str(argv[1]), &w) != ERR_OK) {
		fputs("windows: malformed\n", stderr);
		return 1;
	}
	for (int64_t now = t[0]; now < t[1]; now += t[2]) {
		int64_t end = -1;

		(void)cwc_windows_inside(&w, now, &end);
		if (end != last && end >= 0)
			printf("%" PRId64 " %" PRId64 "\n", now, end);
		else if (end != last)
			printf("%" PRId64 " -\n", now);
		last = end;
	}
	return 0;
}
