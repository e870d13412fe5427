/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An attestor over the simulated device, which can be made to hang, to fail and to lie; and the questions that it is
 * asked. The test's own headers (setjmp.h, stdarg.h, stddef.h, stdint.h, cmocka.h) come first.
 */
#ifndef TESTS_UNIT_ATTESTOR_FIXTURE_H
#define TESTS_UNIT_ATTESTOR_FIXTURE_H

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/nsm_sim.h"
#include "worker/attestor_internal.h"
#include "worker/base/clock.h"

#define PATIENCE_MS 150
#define ASKED_MAX   80

/* The device, with a gate in front of it. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool shut;
	unsigned inside, calls; /* calls that wait at the gate; all so far */
	struct nsm_sim *sim;
	bool damage, replay, moves; /* a wrong byte; the same answer for ever; another PCR0 in documents */
	unsigned unlocked;          /* bits: of these PCRs it says that they are not locked */
	uint8_t answer[NSM_ANSWER_MAX];
	size_t n_answer;
} module = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

/* Says so of a PCR, and of nothing else: its documents stay as they are. */
static inline void unlock(struct span request, uint8_t *answer, size_t n)
{
	const uint8_t *name = span_find(request, span_lit("DescribePCR")), *lock;

	/* {"DescribePCR": {"index": N}}, and N is the last byte; "lock" is true. */
	if (name == NULL || (module.unlocked >> request.p[request.n - 1] & 1) == 0)
		return;
	lock = span_find(span_of(answer, n), span_lit("lock\xf5"));
	assert_non_null(lock);
	answer[lock - answer + 4] = 0xf4;
}

static inline enum err exchange(void *arg, struct span request, uint8_t *answer, size_t size, size_t *ret_n)
{
	bool document = span_find(request, span_lit("Attestation")) != NULL;
	static const uint8_t other[NSM_PCR_SIZE] = { 1 };

	(void)arg;
	pthread_mutex_lock(&module.lock);
	module.calls++;
	module.inside++;
	pthread_cond_broadcast(&module.changed);
	while (module.shut)
		pthread_cond_wait(&module.changed, &module.lock);
	module.inside--;
	pthread_cond_broadcast(&module.changed);
	if (document && module.moves)
		nsm_sim_set_pcr(module.sim, 0, other);
	if (document && module.replay && module.n_answer > 0) {
		memcpy(answer, module.answer, module.n_answer);
		*ret_n = module.n_answer;
	} else {
		enum err e = module.sim == NULL ? ERR_IO /* a thread that came late */
						: nsm_sim_exchange(module.sim, request, answer, size, ret_n);

		if (e != ERR_OK) {
			pthread_mutex_unlock(&module.lock);
			return e;
		}
		memcpy(module.answer, answer, *ret_n);
		module.n_answer = *ret_n;
		unlock(request, answer, *ret_n);
	}
	if (document && module.damage)
		answer[*ret_n - 1] ^= 1; /* of the signature */
	pthread_mutex_unlock(&module.lock);
	return ERR_OK;
}

static inline void gate(bool shut)
{
	pthread_mutex_lock(&module.lock);
	module.shut = shut;
	pthread_cond_broadcast(&module.changed);
	pthread_mutex_unlock(&module.lock);
}

static inline void wait_inside(unsigned n)
{
	pthread_mutex_lock(&module.lock);
	while (module.inside != n)
		pthread_cond_wait(&module.changed, &module.lock);
	pthread_mutex_unlock(&module.lock);
}

static inline unsigned calls(void)
{
	pthread_mutex_lock(&module.lock);
	unsigned n = module.calls;

	pthread_mutex_unlock(&module.lock);
	return n;
}

/* --- the fixture ------------------------------------------------------------------------------ */

/* A question, and how it was answered. */
struct asked {
	unsigned answers, at; /* at: the how manieth answer of all */
	enum err e;
	struct buf document;
};

static uv_loop_t loop;
static struct attestor *attestor;
static struct asked asked[ASKED_MAX];
static unsigned answers;
static bool within, free_then;

static inline struct attestor_device device(void)
{
	return (struct attestor_device){ .nsm = { .exchange = exchange, .fd = -1 },
					 .anchor = &attest_anchor_sim,
					 .patience_ms = PATIENCE_MS,
					 .clock_every_ms = 3600000 };
}

static inline enum err start_device(const struct attestor_device *d, const char **ret_rule)
{
	*ret_rule = NULL;
	attestor = NULL;
	return attestor_start(&loop, d, &attestor, ret_rule);
}

static inline void start(void)
{
	struct attestor_device d = device();
	const char *rule;

	d.patience_ms = ATTESTOR_PATIENCE_MS;
	assert_int_equal(start_device(&d, &rule), ERR_OK);
}

static inline void start_impatient(void)
{
	struct attestor_device d = device();
	const char *rule;

	assert_int_equal(start_device(&d, &rule), ERR_OK);
}

static inline int set_up(void **state)
{
	(void)state;
	module.sim = nsm_sim_new(&(struct nsm_sim_options){ 0 });
	module.shut = module.damage = module.replay = module.moves = false;
	module.calls = module.unlocked = 0;
	module.n_answer = 0;
	uv_loop_init(&loop);
	attestor = NULL;
	memset(asked, 0, sizeof(asked));
	answers = 0;
	within = free_then = false;
	return 0;
}

/* The loop must end by itself, whatever the module does. */
static inline int tear_down(void **state)
{
	(void)state;
	attestor_free(attestor);
	attestor = NULL;
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	gate(false);
	wait_inside(0);
	for (size_t i = 0; i < ASKED_MAX; i++)
		buf_clear(&asked[i].document);
	pthread_mutex_lock(&module.lock); /* the thread's call is over then */
	nsm_sim_free(module.sim);
	module.sim = NULL;
	pthread_mutex_unlock(&module.lock);
	return 0;
}

static inline void told(void *arg, enum err e, struct span document)
{
	struct asked *q = arg;

	assert_false(within);
	assert_int_equal(document.n > 0, e == ERR_OK);
	q->answers++;
	q->at = answers++;
	q->e = e;
	buf_clear(&q->document);
	buf_init(&q->document, ATTEST_DOCUMENT_MAX);
	buf_add_span(&q->document, document);
	if (free_then) {
		attestor_free(attestor);
		attestor = NULL;
	}
}

static inline void ask(size_t i, const char *user_data, const char *nonce)
{
	within = true;
	attestor_ask(attestor, span_str(user_data), span_str(nonce), told, &asked[i]);
	within = false;
}

static inline void wait_answers(unsigned n)
{
	while (answers < n)
		uv_run(&loop, UV_RUN_ONCE);
}

/* Whatever is due in this turn of the loop. */
static inline void turn(void)
{
	uv_run(&loop, UV_RUN_NOWAIT);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
