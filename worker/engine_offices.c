/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "worker/base/clock.h"
#include "worker/base/log.h"
#include "worker/engine_internal.h"

#define RETRY_MIN_US (5 * ENGINE_SECOND_US)
#define RETRY_MAX_US (60 * ENGINE_SECOND_US)

bool engine_offices_allow(const struct engine *e, enum cwc_chamber c)
{
	const struct lane *l = &e->lane[c];
	if (e->config->chamber[c].offices_url[0] == '\0')
		return true;
	if (!l->list_tried)
		return false;
	return l->list != NULL || e->config->chamber[c].offices_policy == CONFIG_OFFICES_SEND;
}

/* For people only (cwcctl offices): no worker ever reads a list from Redis. */
static void publish(struct lane *l)
{
	struct buf key, value;
	if (l->list == NULL || l->list_published || !queue_is_up(l->engine->queue))
		return;
	l->list_published = true;
	buf_init(&key, 128);
	buf_init(&value, 16384);
	queue_key(l->engine->queue, "lists", &key);
	buf_add_int(&value, clock_wall_us() / 1000);
	for (size_t i = 0; i < l->list->n; i++) {
		buf_add_byte(&value, i == 0 ? ' ' : ',');
		buf_add_str(&value, l->list->code[i]);
	}
	struct span argv[] = { span_lit("HSET"), span_buf(&key), span_str(cwc_chamber_name(l->chamber)),
			       span_buf(&value) };
	queue_command(l->engine->queue, argv, sizeof argv / sizeof argv[0], engine_ignore_reply, l->engine);
	buf_clear(&key);
	buf_clear(&value);
}

static const struct config_chamber *config_of(const struct lane *l)
{
	return &l->engine->config->chamber[l->chamber];
}

static void accept_list(struct lane *l, const struct cwc_offices *list)
{
	int64_t now = clock_boot_us();
	if (l->list == NULL)
		l->list = xmalloc(sizeof *l->list);
	*l->list = *list;
	l->list_boot_us = now;
	l->list_failures = 0;
	/* At half its age, so that a failure leaves time to try again before it is too old. */
	l->list_next_us = now + (int64_t)config_of(l)->offices_max_age_ms * 1000 / 2;
	log_event(LOG_OFFICES_LOADED, LOG_STR(F_CHAMBER, cwc_chamber_name(l->chamber)), LOG_INT(F_COUNT, list->n),
		  LOG_INT(F_IGNORED, list->ignored));
	l->list_published = false;
	publish(l);
}

static void fail(struct lane *l, const char *why, int status)
{
	int64_t wait = RETRY_MIN_US << (l->list_failures < 4 ? l->list_failures : 4);
	l->list_failures++;
	l->list_next_us = clock_boot_us() + (wait > RETRY_MAX_US ? RETRY_MAX_US : wait);
	log_event(LOG_OFFICES_FAILED, LOG_STR(F_CHAMBER, cwc_chamber_name(l->chamber)), LOG_STR(F_REASON, why),
		  LOG_INT(F_HTTP_STATUS, status));
}

static void fetched(void *arg, const struct http_answer *a)
{
	struct lane *l = arg;
	l->list_sent = false;
	l->list_tried = true;
	if (a->fate != HTTP_ANSWERED) {
		fail(l, a->why, 0);
	} else if (a->status != 200) {
		fail(l, "status", a->status);
	} else {
		struct cwc_offices *list = xmalloc(sizeof *list);
		enum err err = cwc_offices_parse(l->chamber, a->body, list);
		if (err == ERR_OK)
			accept_list(l, list);
		else
			fail(l, err == ERR_RANGE ? "empty" : "malformed", a->status);
		free(list);
	}
	engine_take(l->engine, l->chamber);
}

void engine_offices_tick(struct lane *l, int64_t boot_us)
{
	const struct config_chamber *ch = config_of(l);
	if (!l->enabled || ch->offices_url[0] == '\0')
		return;
	/* A list that is too old says nothing any more: the policy decides. */
	if (l->list != NULL && boot_us - l->list_boot_us > (int64_t)ch->offices_max_age_ms * 1000) {
		free(l->list);
		l->list = NULL;
		log_event(LOG_OFFICES_FAILED, LOG_STR(F_CHAMBER, cwc_chamber_name(l->chamber)),
			  LOG_STR(F_REASON, "too_old"), LOG_INT(F_HTTP_STATUS, 0));
	}
	publish(l); /* a list that came before the queue was up */
	if (!l->list_sent && boot_us >= l->list_next_us && !l->engine->draining) {
		l->list_sent = true;
		http_get(l->target, ch->offices_url, fetched, l);
	}
}
