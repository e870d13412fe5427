/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker whose documents are made up and come when the test wants: the engine alone, with a boot ring.
 *
 *	publication_driver --config FILE --host-config FILE
 *
 * SIGUSR1: a newer document. SIGUSR2: in trouble ("clock_signed"), or no more. SIGTERM: drain, then the end.
 * PUBLICATION=none in the environment: nothing is published at the start.
 */
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cwc/windows.h"
#include "worker/base/log.h"
#include "worker/base/secret.h"
#include "worker/base/text.h"
#include "worker/engine.h"

static struct config config;
static struct keyring *ring;
static struct receipt_key *receipt_key;
static struct engine *engine;
static uv_loop_t loop;
static uv_signal_t signals[3];
static unsigned published;
static bool troubled;

static void add_lines(struct buf *out)
{
	char hex[65];
	for (size_t i = 0; i < keyring_count(ring); i++) {
		const struct keyring_key *k = keyring_at(ring, i);
		text_hex(span_of(k->public_key, sizeof(k->public_key)), hex);
		buf_add_str(out, i > 0 ? "\n" : "");
		buf_add_str(out, keyring_profile_name(k->profile));
		buf_add_str(out, " ");
		buf_add_str(out, k->id);
		buf_add_str(out, " ");
		buf_add_str(out, hex);
		for (size_t c = 0; c < k->n_contexts; c++) {
			buf_add_str(out, " ");
			buf_add_str(out, k->context[c]);
		}
	}
}

/* As large as those of the hypervisor, of all bytes there are. */
static void publish(void)
{
	struct engine_publication p = { .bundle = ++published };
	struct buf keys, document, statement;
	buf_init(&keys, 8192);
	buf_init(&document, 8192);
	buf_init(&statement, 256);
	add_lines(&keys);
	for (unsigned i = 0; i < 5000; i++)
		buf_add_byte(&document, (uint8_t)(i * published));
	buf_add(&statement, "\xa0\r\n$5\r\n\0\xff", 9);
	buf_add_uint(&statement, published);
	p.keys = span_buf(&keys);
	p.statement = span_buf(&statement);
	p.document = span_buf(&document);
	crypto_hash_sha256(p.document_sha256, document.p, document.n);
	memset(p.pcr0, 'b', sizeof(p.pcr0) - 1);
	engine_publish(engine, &p);
	buf_clear(&keys);
	buf_clear(&document);
	buf_clear(&statement);
}

static void drained(void *arg, unsigned left)
{
	(void)arg;
	log_event(LOG_STOPPED, LOG_INT(F_IN_FLIGHT, left));
	engine_free(engine);
	for (size_t i = 0; i < 3; i++)
		uv_close((uv_handle_t *)&signals[i], NULL);
}

static void on_signal(uv_signal_t *s, int number)
{
	(void)s;
	if (number == SIGUSR1) {
		publish();
	} else if (number == SIGUSR2) {
		troubled = !troubled;
		engine_set_trouble(engine, troubled ? "clock_signed" : NULL);
	} else {
		engine_drain(engine, drained, NULL);
	}
}

static void make_ring(void)
{
	static const struct keyring_times since_ever = { 0 };
	const char *context[CONFIG_CONTEXTS_MAX];
	for (size_t i = 0; i < config.n_contexts; i++)
		context[i] = config.witness_context[i];
	ring = keyring_new();
	receipt_key = receipt_key_new();
	BUG_ON(keyring_default_contexts(ring, context, config.n_contexts) != ERR_OK);
	BUG_ON(keyring_make(ring, KEYRING_WITNESS, &since_ever) != ERR_OK);
	BUG_ON(keyring_make(ring, KEYRING_LETTER, &since_ever) != ERR_OK);
}

static int serve(void)
{
	static const int numbers[3] = { SIGUSR1, SIGUSR2, SIGTERM };
	const char *key = "", *rule = "", *when = getenv("PUBLICATION");
	char *api_key[2];
	for (size_t c = 0; c < 2; c++)
		BUG_ON(secret_file(config.chamber[c].api_key_file, 512, &api_key[c]) != ERR_OK);
	struct engine_options o = { .config = &config,
				    .ring = ring,
				    .receipt_key = receipt_key,
				    .api_key = { api_key[0], api_key[1] },
				    .version = "0",
				    .machine = "",
				    .attested = true };
	BUG_ON(uv_loop_init(&loop) != 0);
	if (engine_new(&loop, &o, &engine, &key, &rule) != ERR_OK) {
		fprintf(stderr, "%s: %s\n", key, rule);
		return 78;
	}
	for (size_t i = 0; i < 3; i++) {
		uv_signal_init(&loop, &signals[i]);
		uv_signal_start(&signals[i], on_signal, numbers[i]);
	}
	log_event(LOG_STARTING, LOG_STR(F_QUEUE, config.queue_name));
	if (when == NULL || strcmp(when, "none") != 0)
		publish();
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
	secret_free(api_key[0]);
	secret_free(api_key[1]);
	return 0;
}

int main(int argc, char **argv)
{
	struct config_problems problems;
	if (argc != 5 || secret_init() != ERR_OK)
		return 64;
	if (config_load(argv[2], argv[4], cwc_windows_good, &config, &problems) != ERR_OK) {
		fprintf(stderr, "%s: %s\n", problems.at[0].key, problems.at[0].rule);
		return 78;
	}
	setenv("TZ", "UTC0", 1);
	signal(SIGPIPE, SIG_IGN);
	log_open(STDERR_FILENO, LOG_DEBUG, true);
	make_ring();
	int r = serve();
	keyring_free(ring);
	receipt_key_free(receipt_key);
	return r;
}
