/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/input.h"
#include "ops/cwcctl/out.h"

/* What `enqueue` reads and what the app server's own code can XADD. */
static void print_sealed(const struct input *in)
{
	const struct letter *l = &in->letter;
	json_t *o = json_object(), *offices = json_array();
	for (size_t i = 0; i < l->n_offices; i++)
		json_array_append_new(offices, json_string(l->office[i]));
	json_object_set_new(o, "sid", json_string(l->sid));
	json_object_set_new(o, "offices", offices);
	json_object_set_new(o, "job", out_base64(span_buf(&in->job)));
	json_object_set_new(o, "expires", json_integer((json_int_t)l->expires_s));
	json_object_set_new(o, "priority", json_integer((json_int_t)l->priority));
	if (l->not_before_s > 0)
		json_object_set_new(o, "not_before", json_integer((json_int_t)l->not_before_s));
	out_line(o);
}

int cmd_seal(struct ctl *c)
{
	struct input in;
	int code = input_open(c, c->arg[0], true, &in);
	if (code == 0)
		code = input_check(&in);
	while (code == 0 && input_next(&in, &code))
		print_sealed(&in);
	if (code == 0 && in.bad > 0)
		code = CTL_NO;
	if (code == 0 && in.good == 0)
		code = ctl_fail(CTL_NO, "%s: no letter", in.lines.name);
	input_close(&in);
	return code;
}
