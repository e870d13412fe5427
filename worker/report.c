/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/report.h"

#include <stdio.h>
#include <stdlib.h>

#include "worker/base/clock.h"
#include "worker/base/text.h"

#define UNAVAILABLE 503

struct report {
	const struct config *config;
	const struct engine *engine;
	const struct report_documents *documents;
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

static void health(void *arg, struct status_answer *a)
{
	const struct report *r = arg;
	const char *id = r->documents != NULL ? r->documents->enclave_id : NULL;
	char time[TEXT_TIME_MS_SIZE];
	struct engine_view v;
	engine_view(r->engine, &v);
	double uptime = (double)v.uptime_us / 1e6;
	text_time_ms(clock_wall_us() / 1000, time);
	if (v.draining)
		a->code = UNAVAILABLE;
	buf_add_str(&a->body, v.draining ? "{\"status\":\"draining\",\"healthy\":false"
					 : "{\"status\":\"healthy\",\"healthy\":true");
	add_text(&a->body, "enclaveId", id != NULL ? id : r->config->name);
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
	const struct report *r = arg;
	const char *reason;
	if (engine_ready(r->engine, &reason)) {
		buf_add_str(&a->body, "{\"ready\":true}");
		return;
	}
	a->code = UNAVAILABLE;
	buf_add_str(&a->body, "{\"ready\":false");
	add_text(&a->body, "reason", reason);
	buf_add_byte(&a->body, '}');
}

static void metrics(void *arg, struct status_answer *a)
{
	const struct report *r = arg;
	a->type = "text/plain; version=0.0.4; charset=utf-8";
	engine_metrics(r->engine, &a->body);
}

static void attestation(void *arg, struct span nonce, bool json, struct status_answer *a)
{
	const struct report *r = arg;
	r->documents->attestation(r->documents->arg, nonce, json, a);
}

static void keys(void *arg, struct status_answer *a)
{
	const struct report *r = arg;
	r->documents->keys(r->documents->arg, a);
}

enum err report_open(uv_loop_t *loop, const struct config *c, const struct engine *e,
		     const struct report_documents *documents, struct report **ret_report, const char **ret_rule)
{
	if (c->status_address.text[0] == '\0') {
		*ret_report = NULL;
		return ERR_OK;
	}
	struct report *r = xcalloc(1, sizeof *r);
	r->config = c;
	r->engine = e;
	r->documents = documents;
	struct status_source source = {
		.health = health,
		.ready = ready,
		.metrics = metrics,
		.attestation = documents != NULL && documents->attestation != NULL ? attestation : NULL,
		.keys = documents != NULL && documents->keys != NULL ? keys : NULL,
		.arg = r,
	};
	enum err err = status_new(loop, &c->status_address, &source, &r->status, ret_rule);
	if (err != ERR_OK) {
		free(r);
		return err;
	}
	*ret_report = r;
	return ERR_OK;
}

void report_close(struct report *r)
{
	if (r == NULL)
		return;
	status_free(r->status);
	free(r);
}
