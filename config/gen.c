/* SPDX-License-Identifier: Apache-2.0 */
/* Writes what is made from the table of keys to standard output: gen measured|host|man|json. */
#include <stdio.h>
#include <string.h>

#include "config/config.h"

int main(int argc, char **argv)
{
	const char *what = argc == 2 ? argv[1] : "";
	struct buf out;
	int rc = 0;

	buf_init(&out, 262144);
	if (strcmp(what, "measured") == 0)
		config_example(CONFIG_MEASURED, &out);
	else if (strcmp(what, "host") == 0)
		config_example(CONFIG_HOST, &out);
	else if (strcmp(what, "man") == 0)
		config_man(&out);
	else if (strcmp(what, "json") == 0)
		config_json(&out);
	else
		rc = 2;
	if (rc != 0)
		fputs("usage: gen measured|host|man|json\n", stderr);
	else if (buf_ok(&out) != ERR_OK || fwrite(out.p, 1, out.n, stdout) != out.n || fflush(stdout) != 0)
		rc = 1;
	buf_clear(&out);
	return rc;
}
