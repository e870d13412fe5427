/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of a running worker, as its document proves them. */
#include <stdio.h>

#include "ops/cwcctl/keys_view.h"
#include "ops/cwcctl/out.h"
#include "worker/base/clock.h"

#define TIMEOUT_MS 5000

static int show(struct ctl *c, const struct port *p, const struct fresh *f)
{
	struct granted g;
	json_t *keys, *view;
	int code = fresh_keys(p, &keys);

	if (code != 0)
		return code;
	code = granted_read(c, f, keys, &g);
	view = keys_view(f, &g, keys, clock_wall_us() / 1000000);
	granted_clear(&g);
	json_decref(keys);
	if (c->json) {
		out_document(view);
	} else {
		keys_view_print(view);
		json_decref(view);
	}
	keys_view_complain(f);
	return f->attested || ctl_has(c, OPT_UNATTESTED) ? code : CTL_NO;
}

int cmd_keys_status(struct ctl *c)
{
	struct port p;
	struct fresh f;
	int code = port_open(c, TIMEOUT_MS, &p);

	if (code == 0 && ctl_has(c, OPT_MANIFEST) && ctl_has(c, OPT_UNATTESTED))
		code = ctl_fail(CTL_USAGE, "either --manifest or --unattested");
	if (code == 0)
		code = granted_options(c);
	if (code != 0)
		return code;
	code = fresh_from_worker(c, &p, &f);
	if (code == 0)
		code = show(c, &p, &f);
	fresh_clear(&f);
	return code;
}
