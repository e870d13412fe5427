/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/worker.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "worker/alone.h"
#include "worker/base/log.h"
#include "worker/notify.h"
#include "worker/report.h"
#include "worker/start.h"
#include "worker/version.h"

#define CLOCK_LOOK_MS 1000
/* What is closed is closed with a turn of the loop. This is a thread that hangs in the device, with a call to KMS. */
#define END_MS 3000
/* Documents come every minute: this is a device that has not signed a time for long. */
#define CLOCK_AGE_MAX_MS (10 * 60 * 1000)

struct worker {
	const struct config *config;
	uv_loop_t loop;
	struct attestor *attestor; /* NULL: no device */
	struct start_secrets secrets;
	struct receipt_key *receipt_key;
	struct keyring *ring;
	struct keeper *keeper;
	struct documents *documents;
	struct report *report; /* NULL: no status server */
	struct engine *engine; /* NULL: not complete */
	char machine[ALONE_MACHINE_SIZE];
	struct sandbox_options sandbox;
	bool narrow; /* the second filter is to come */
	uv_signal_t term, intr;
	uv_timer_t clock, end;
	const char *trouble; /* of the clock; NULL: none */
	bool watching;       /* signals and the clock are open */
	bool stopping, signalled;
	int exit_code;
};

/* --- the end ---------------------------------------------------------------------------------- */

/* Nothing is left that could be lost. */
static void on_end(uv_timer_t *t)
{
	struct worker *w = t->data;
	_exit(w->exit_code);
}

/* Does not keep the loop alive. */
static void limit_end(struct worker *w)
{
	uv_update_time(&w->loop);
	uv_timer_init(&w->loop, &w->end);
	uv_unref((uv_handle_t *)&w->end);
	w->end.data = w;
	uv_timer_start(&w->end, on_end, END_MS, 0);
}

/* Then the loop ends. The engine goes before the keeper, whose secrets it has; the status server last, so that all that
 * was asked is answered. */
static void close_all(struct worker *w)
{
	limit_end(w);
	engine_free(w->engine);
	w->engine = NULL;
	report_set_engine(w->report, NULL);
	keeper_free(w->keeper);
	documents_free(w->documents);
	report_close(w->report);
	attestor_free(w->attestor);
	if (!w->watching)
		return;
	uv_close((uv_handle_t *)&w->term, NULL);
	uv_close((uv_handle_t *)&w->intr, NULL);
	uv_close((uv_handle_t *)&w->clock, NULL);
}

static void drained(void *arg, unsigned left)
{
	struct worker *w = arg;
	log_event(LOG_STOPPED, LOG_INT(F_IN_FLIGHT, left));
	w->exit_code = left == 0 ? EXIT_SUCCESS : EXIT_LEFT;
	close_all(w);
}

static void stop(struct worker *w)
{
	w->stopping = true;
	notify_send("STOPPING=1");
	if (w->engine != NULL)
		engine_drain(w->engine, drained, w);
	else
		drained(w, 0); /* nothing was taken yet */
}

static void on_signal(uv_signal_t *s, int number)
{
	struct worker *w = s->data;
	if (w->signalled) {
		/* The second signal: at once. The lease ends by itself and the queue recovers the jobs. The first one
		 * behind an order in the queue cuts nothing off: it asks for what is under way already. */
		log_event(LOG_STOPPED, LOG_INT(F_SIGNAL, number));
		_exit(EXIT_LEFT);
	}
	w->signalled = true;
	if (!w->stopping)
		stop(w);
}

/* By an order in the queue: as by a signal, since nobody outside can send one to an enclave. */
static void on_drain(void *arg)
{
	struct worker *w = arg;
	if (!w->stopping)
		stop(w);
}

/* --- the clock -------------------------------------------------------------------------------- */

static const char *clock_trouble(const struct worker *w, int64_t *ret_skew_ms)
{
	int64_t bound_ms, skew_ms = attestor_clock_ms(w->attestor, &bound_ms);
	int64_t off_ms = skew_ms < 0 ? -skew_ms : skew_ms;
	*ret_skew_ms = skew_ms;
	if (off_ms - bound_ms > (int64_t)w->config->skew_max_ms)
		return "clock_signed";
	return attestor_clock_age_ms(w->attestor) > CLOCK_AGE_MAX_MS ? "clock_unsigned" : NULL;
}

/* The wall clock against the time that the device signs. */
static void look_at_clock(uv_timer_t *t)
{
	struct worker *w = t->data;
	int64_t skew_ms;
	const char *trouble = clock_trouble(w, &skew_ms);
	keeper_set_clock_trouble(w->keeper, trouble != NULL);
	if (trouble == w->trouble)
		return;
	w->trouble = trouble;
	log_event(LOG_CLOCK_SIGNED, LOG_STR(F_REASON, trouble != NULL ? trouble : "over"), LOG_INT(F_SKEW_MS, skew_ms));
	if (w->engine != NULL)
		engine_set_trouble(w->engine, trouble);
}

/* --- keys and documents ------------------------------------------------------------------------ */

static void set_granted(const struct worker *w)
{
	size_t n;
	const struct job_signer *s = keeper_granted(w->keeper, &n);
	engine_set_granted(w->engine, s, n);
}

static void keys_changed(void *arg, uint64_t bundle)
{
	struct worker *w = arg;
	documents_changed(w->documents, bundle, keeper_grant(w->keeper));
	if (w->engine != NULL)
		set_granted(w);
}

static void published(void *arg, const struct engine_publication *p)
{
	struct worker *w = arg;
	if (w->engine != NULL)
		engine_publish(w->engine, p);
}

/* --- the engine ------------------------------------------------------------------------------- */

static void on_ready(void *arg, bool ready)
{
	(void)arg;
	notify_send(ready ? "READY=1\nSTATUS=ready" : "STATUS=not ready");
}

static struct engine_options engine_needs(struct worker *w)
{
	bool sealed = w->config->key_source == CONFIG_KEYS_SEALED;
	return (struct engine_options){
		.config = w->config,
		.ring = w->ring,
		.receipt_key = w->receipt_key,
		.api_key = { sealed ? keeper_secret(w->keeper, SEALED_HOUSE_API_KEY) : w->secrets.api_key[CONFIG_HOUSE],
			     sealed ? keeper_secret(w->keeper, SEALED_SENATE_API_KEY)
				    : w->secrets.api_key[CONFIG_SENATE] },
		.queue_password = sealed ? keeper_secret(w->keeper, SEALED_QUEUE_PASSWORD) : w->secrets.queue_password,
		.version = CWC_VERSION,
		.machine = w->machine,
		.attested = w->attestor != NULL,
		.on_ready = on_ready,
		.on_drain = on_drain,
		.on_drain_arg = w,
	};
}

/* What came before there was an engine. */
static void tell_engine(struct worker *w)
{
	const struct engine_publication *p = documents_current(w->documents);
	set_granted(w);
	engine_set_trouble(w->engine, w->trouble);
	if (p != NULL)
		engine_publish(w->engine, p);
	report_set_engine(w->report, w->engine);
}

static int start_engine(struct worker *w)
{
	const char *key, *rule;
	struct engine_options o = engine_needs(w);
	if (engine_new(&w->loop, &o, &w->engine, &key, &rule) != ERR_OK)
		return start_complain(key, rule);
	tell_engine(w);
	return w->narrow ? start_narrow(&w->sandbox) : 0;
}

static void complete(void *arg)
{
	struct worker *w = arg;
	w->exit_code = start_engine(w);
	if (w->exit_code != 0)
		close_all(w);
}

/* --- the start -------------------------------------------------------------------------------- */

static void watch(struct worker *w)
{
	uv_signal_init(&w->loop, &w->term);
	uv_signal_init(&w->loop, &w->intr);
	uv_timer_init(&w->loop, &w->clock);
	w->term.data = w->intr.data = w->clock.data = w;
	w->watching = true;
	uv_signal_start(&w->term, on_signal, SIGTERM);
	uv_signal_start(&w->intr, on_signal, SIGINT);
	if (w->attestor != NULL)
		uv_timer_start(&w->clock, look_at_clock, 0, CLOCK_LOOK_MS);
}

static int open_parts(struct worker *w)
{
	const char *key, *rule;
	const struct config *c = w->config;
	struct keeper_options k = {
		.config = c,
		.attestor = w->attestor,
		.ring = w->ring,
		.changed = keys_changed,
		.complete = complete,
		.arg = w,
	};
	struct documents_options d = {
		.config = c,
		.attestor = w->attestor,
		.ring = w->ring,
		.receipt_key = w->receipt_key,
		.version = CWC_VERSION,
		.published = published,
		.arg = w,
	};
	if (keeper_new(&w->loop, &k, &w->keeper, &key, &rule) != ERR_OK)
		return start_complain(key, rule);
	w->documents = documents_new(&w->loop, &d);
	struct report_options r = {
		.config = c,
		.keeper = w->keeper,
		.documents = w->documents,
		.attested = w->attestor != NULL,
		.enclave_id = w->attestor != NULL ? attestor_module_id(w->attestor) : NULL,
	};
	if (report_open(&w->loop, &r, &w->report, &rule) != ERR_OK)
		return start_complain("status.address", rule);
	watch(w);
	return 0;
}

static int start(struct worker *w)
{
	const struct config *c = w->config;
	int r = start_attestor(&w->loop, c, &w->attestor);
	if (r == 0)
		r = start_secrets(c, &w->secrets);
	w->receipt_key = receipt_key_new();
	if (r == 0)
		r = start_keys(c, &w->ring);
	if (r != 0)
		return r;
	alone_claim(c->queue_address.text, c->queue_name, c->name, w->machine);
	r = open_parts(w);
	return r != 0 ? r : start_confine(c, w->attestor != NULL, &w->sandbox, &w->narrow);
}

int worker_run(const struct config *c)
{
	static struct worker w;
	w.config = c;
	BUG_ON(uv_loop_init(&w.loop) != 0);
	w.exit_code = start(&w);
	if (w.exit_code != 0)
		close_all(&w);
	uv_run(&w.loop, UV_RUN_DEFAULT); /* also to close what was opened */
	uv_close((uv_handle_t *)&w.end, NULL);
	uv_run(&w.loop, UV_RUN_DEFAULT);
	uv_loop_close(&w.loop);
	start_secrets_free(&w.secrets);
	keyring_free(w.ring);
	receipt_key_free(w.receipt_key);
	return w.exit_code;
}
