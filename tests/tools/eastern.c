/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eastern: prints the offset of US Eastern time and the date there for times in seconds since 1970,
 * given as arguments or, without any, one a line on standard input.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cwc/cwc.h"
#include "worker/base/text.h"

static int print(const char *arg)
{
	char date[CWC_DATE_SIZE];
	int64_t unix_s;

	if (text_int(span_str(arg), &unix_s) != ERR_OK || unix_s < 0 || unix_s > 250000000000) {
		fprintf(stderr, "eastern: not a time: %s\n", arg);
		return 2;
	}
	cwc_eastern_date(unix_s, date);
	printf("%" PRId64 " %d %s\n", unix_s, cwc_eastern_offset(unix_s), date);
	return 0;
}

int main(int argc, char **argv)
{
	char line[64];
	int status = 0;

	for (int i = 1; i < argc && status == 0; i++)
		status = print(argv[i]);
	while (argc == 1 && status == 0 && fgets(line, sizeof(line), stdin) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		status = print(line);
	}
	return status;
}
