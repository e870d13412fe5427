/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/base/err.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
	const char *name;
	enum err_class class;
	const char *text;
} table[ERR_COUNT] = {
#define ERR_ROW(e, n, c, t) [ERR_##e] = { n, ERR_CLASS_##c, t },
	ERR_LIST(ERR_ROW)
#undef ERR_ROW
};

const char *err_name(enum err e)
{
	BUG_ON((unsigned)e >= ERR_COUNT);
	return table[e].name;
}

enum err_class err_class(enum err e)
{
	BUG_ON((unsigned)e >= ERR_COUNT);
	return table[e].class;
}

const char *err_text(enum err e)
{
	BUG_ON((unsigned)e >= ERR_COUNT);
	return table[e].text;
}

void err_bug(const char *file, int line, const char *what)
{
	fprintf(stderr, "bug: %s:%d: %s\n", file, line, what);
	abort();
}
