/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/report.h"

#include <stdio.h>
#include <stdlib.h>

#include "worker/base/clock.h"
#include "worker/base/text.h"

#define UNAVAILABLE 503

struct report {
	struct report_options o;
	const struct engine *engine; /* NULL: none yet */
	int64_t started_boot_us;
	struct status *status;
};

static void add_text(struct buf *out, const char *name, const char *value)
{
	buf_add_str(out, ",\"");
	buf_add_str(out, name);
	buf_add_str(out, "\":");
	text_json(span_str(value), out);
}

static void add_number(struct buf *out, const char *name, double value, int decimals)
{
	char text[64];
	int n = snprintf(text, sizeof text, ",\"%s\":%.*f", name, decimals, value);
	BUG_ON(n < 0 || (size_t)n >= sizeof text);
	buf_add_str(out, text);
}

static void view(const struct report *r, struct engine_view *ret_view)
{
	if (r->engine != NULL)
		engine_view(r->engine, ret_view);
	else
		*ret_view = (struct engine_view){
			.worker = r->o.config->name,
			.uptime_us = clock_boot_us() - r->started_boot_us,
		};
}

/* NULL: ready. */
static const char *not_ready(const struct report *r)
{
	const char *reason;
	if (r->engine != NULL)
		return engine_ready(r->engine, &reason) ? NULL : reason;
	reason = keeper_missing(r->o.keeper);
	return reason != NULL ? reason : "queue"; /* the engine begins with the next turn, and with joining it */
}

static void health(void *arg, struct status_answer *a)
{
	const struct report *r = arg;
	const char *id = r->o.enclave_id;
	char time[TEXT_TIME_MS_SIZE];
	struct engine_view v;
	view(r, &v);
	double uptime = (double)v.uptime_us / 1e6;
	text_time_ms(clock_wall_us() / 1000, time);
	if (v.draining)
		a->code = UNAVAILABLE;
	buf_add_str(&a->body, v.draining ? "{\"status\":\"draining\",\"healthy\":false"
					 : "{\"status\":\"healthy\",\"healthy\":true");
	add_text(&a->body, "enclaveId", id != NULL ? id : r->o.config->name);
	add_text(&a->body, "worker", v.worker);
	add_number(&a->body, "uptime", uptime, 3);
	add_number(&a->body, "memory_usage", (double)v.resident, 0);
	/* The share of one processor since the start. */
	add_number(&a->body, "cpu_usage", uptime > 0 ? (double)v.cpu_us / 1e6 / uptime : 0, 4);
	add_number(&a->body, "queue_depth", (double)v.depth, 0);
	add_number(&a->body, "in_flight", (double)v.in_flight, 0);
	add_text(&a->body, "timestamp", time);
	buf_add_byte(&a->body, '}');
}

static void ready(void *arg, struct status_answer *a)
{
	const char *reason = not_ready(arg);
	if (reason == NULL) {
		buf_add_str(&a->body, "{\"ready\":true}");
		return;
	}
	a->code = UNAVAILABLE;
	buf_add_str(&a->body, "{\"ready\":false");
	add_text(&a->body, "reason", reason);
	buf_add_byte(&a->body, '}');
}

/* So that an alarm on readiness does not depend on how far the start came. */
static void metrics_of_none(const struct report *r, struct buf *out)
{
	buf_add_str(out, "# TYPE cwc_ready gauge\ncwc_ready 0\n# TYPE cwc_not_ready gauge\ncwc_not_ready{reason=\"");
	buf_add_str(out, not_ready(r));
	buf_add_str(out, "\"} 1\n");
}

static void metrics(void *arg, struct status_answer *a)
{
	const struct report *r = arg;
	a->type = "text/plain; version=0.0.4; charset=utf-8";
	if (r->engine != NULL)
		engine_metrics(r->engine, &a->body);
	else
		metrics_of_none(r, &a->body);
}

static void attestation(void *arg, struct span nonce, bool json, struct status_ticket *t)
{
	const struct report *r = arg;
	if (r->o.attested)
		documents_attestation(r->o.documents, nonce, json, t);
	else
		status_reply_json(t, UNAVAILABLE, "{\"reason\":\"no_attestation\"}");
}

static void keys(void *arg, struct status_answer *a)
{
	const struct report *r = arg;
	buf_add_byte(&a->body, '{');
	keeper_keys(r->o.keeper, &a->body);
	buf_add_byte(&a->body, ',');
	documents_keys(r->o.documents, &a->body);
	buf_add_byte(&a->body, '}');
}

static void act(void *arg, enum status_act what, struct span body, struct status_ticket *t)
{
	const struct report *r = arg;
	keeper_act(r->o.keeper, what, body, t);
}

enum err report_open(uv_loop_t *loop, const struct report_options *o, struct report **ret_report, const char **ret_rule)
{
	if (o->config->status_address.text[0] == '\0') {
		*ret_report = NULL;
		return ERR_OK;
	}
	struct report *r = xcalloc(1, sizeof *r);
	r->o = *o;
	r->started_boot_us = clock_boot_us();
	struct status_source source = {
		.health = health,
		.ready = ready,
		.attestation = attestation,
		.keys = keys,
		.metrics = metrics,
		.act = act,
		.arg = r,
	};
	enum err err = status_new(loop, &o->config->status_address, &source, &r->status, ret_rule);
	if (err != ERR_OK) {
		free(r);
		return err;
	}
	*ret_report = r;
	return ERR_OK;
}

void report_set_engine(struct report *r, const struct engine *e)
{
	if (r != NULL)
		r->engine = e;
}

void report_close(struct report *r)
{
	if (r == NULL)
		return;
	status_free(r->status);
	free(r);
}
