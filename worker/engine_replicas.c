/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Letters to a chamber that does not know a DeliveryId again leave only when enough replicas have their BEGIN: else a
 * failover could forget it, and somebody else would send the letter again.
 *
 * One WAIT for all that wait. It speaks of what was sent on its connection before it, so those that come while it is
 * under way need the next one, and a connection that is lost takes all of them with it.
 */
#include "worker/base/clock.h"
#include "worker/base/log.h"
#include "worker/engine_internal.h"

bool engine_replicas_needed(const struct engine *e, enum cwc_chamber c)
{
	return e->lane[c].enabled && e->config->replicas > 0 &&
	       e->config->chamber[c].unknown_policy == CONFIG_UNKNOWN_HOLD;
}

static void note(struct engine *e, enum err err, int64_t n, bool enough)
{
	e->wait_boot_us = clock_boot_us() + ENGINE_SECOND_US;
	if (enough != e->replicas_short)
		return;
	e->replicas_short = !enough;
	log_event(LOG_QUEUE_REPLICAS, LOG_STR(F_REASON, enough ? "enough" : "short"), LOG_INT(F_COUNT, n),
		  LOG_STR(F_CODE, err_name(err)));
	for (int c = 0; c < CWC_CHAMBERS; c++)
		engine_take(e, (enum cwc_chamber)c);
}

static void waited(void *arg, enum err err, int64_t n)
{
	struct engine *e = arg;
	bool enough = err == ERR_OK && n >= e->config->replicas, more = false;
	e->wait_sent = false;
	engine_count_call(e, METRICS_CALL_WAIT, err);
	if (err != ERR_QUEUE_LOST)
		note(e, err, n, enough);
	for (size_t i = 0; i < e->n_slots; i++) {
		struct slot *s = &e->slots[i];
		if (s->state != PIPELINE_REPLICATING)
			continue;
		if (err == ERR_QUEUE_LOST)
			engine_letter_event(s, PIPELINE_ON_LOST);
		else if (!s->waits_replica)
			engine_letter_replicated(s, enough);
		else
			more = true;
	}
	if (more)
		engine_replicas_ask(e);
}

static void ask(void *arg, enum err err, const struct resp_reply *r)
{
	struct engine *e = arg;
	(void)err;
	(void)r;
	for (size_t i = 0; i < e->n_slots; i++)
		e->slots[i].waits_replica = false;
	queue_wait(e->queue, e->config->replicas, e->config->replica_timeout_ms, waited, e);
}

/* In the next turn of the loop, so that all answers to BEGIN that came together share one WAIT. */
void engine_replicas_ask(struct engine *e)
{
	if (e->wait_sent)
		return;
	e->wait_sent = true;
	conn_answer(queue_conn(e->queue), ERR_OK, ask, e);
}

void engine_replicas_tick(struct engine *e, int64_t boot_us)
{
	if (e->replicas_short && boot_us >= e->wait_boot_us)
		engine_replicas_ask(e);
}
