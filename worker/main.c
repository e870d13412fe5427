/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cwc-worker: arguments, configuration, secrets, keys, the loop, signals. The only place that exits.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cwc/windows.h"
#include "worker/alone.h"
#include "worker/base/log.h"
#include "worker/base/secret.h"
#include "worker/engine.h"
#include "worker/notify.h"
#include "worker/report.h"
#include "worker/sandbox.h"
#include "worker/version.h"

/* sysexits.h: EX_USAGE, EX_CONFIG; 1 is "stopped before everything was given back". */
#define EXIT_USAGE  64
#define EXIT_CONFIG 78
#define EXIT_LEFT   1

#define API_KEY_MAX  512
#define PASSWORD_MAX 512
#define TLS_KEY_MAX  16384

struct worker {
	struct config config;
	struct keyring *ring;
	struct receipt_key *receipt_key;
	char *api_key[2];
	char *queue_password;
	uv_loop_t loop;
	struct engine *engine;
	struct report *report; /* NULL: no status server */
	uv_signal_t term, intr;
	int exit_code;
};

struct options {
	const char *measured, *host;
	bool check, print, text;
};

static const char usage_text[] =
	"usage: cwc-worker --config FILE [--host-config FILE] [--log-format json|text]\n"
	"       cwc-worker --config FILE [--host-config FILE] --check-config | --print-config\n"
	"       cwc-worker --version | --help\n"
	"\n"
	"Carries sealed letters from the queue to the US Congress. See cwc-worker(8).\n";

/* --- start-up -------------------------------------------------------------------------------- */

static int complain(const char *key, const char *rule)
{
	fprintf(stderr, "cwc-worker: %s: %s\n", key, rule);
	log_event(LOG_START_FAILED, LOG_STR(F_CONFIG_KEY, key));
	return EXIT_CONFIG;
}

static void print_buf(FILE *f, struct buf *b)
{
	fwrite(b->p, 1, b->n, f);
	buf_clear(b);
}

static int load_config(const struct options *o, struct config *c)
{
	struct config_problems problems;
	if (config_load(o->measured, o->host, cwc_windows_good, c, &problems) == ERR_OK)
		return 0;
	for (size_t i = 0; i < problems.n; i++) {
		struct buf line;
		buf_init(&line, 1024);
		config_problem_text(&problems.at[i], &line);
		buf_add_byte(&line, '\n');
		print_buf(stderr, &line);
	}
	return EXIT_CONFIG;
}

static const char *secret_rule(enum err e)
{
	if (e == ERR_NOT_FOUND)
		return "the file does not exist";
	if (e == ERR_CONFIG)
		return "the file is empty, or readable by others (mode 0600 is required)";
	return e == ERR_LIMIT ? "the file is too large" : "the file cannot be read";
}

static int load_secrets(struct worker *w)
{
	static const char *const keys[] = { "house.api_key_file", "senate.api_key_file" };
	for (int c = 0; c < 2; c++) {
		const struct config_chamber *ch = &w->config.chamber[c];
		if (!ch->enabled)
			continue;
		enum err e = secret_file(ch->api_key_file, API_KEY_MAX, &w->api_key[c]);
		if (e != ERR_OK)
			return complain(keys[c], secret_rule(e));
	}
	if (w->config.queue_key_file[0] != '\0') {
		/* Read by OpenSSL; here only to hold it to the same rules. */
		char *key;
		enum err e = secret_file(w->config.queue_key_file, TLS_KEY_MAX, &key);
		if (e != ERR_OK)
			return complain("queue.key_file", secret_rule(e));
		secret_free(key);
	}
	if (w->config.queue_password_file[0] != '\0') {
		enum err e = secret_file(w->config.queue_password_file, PASSWORD_MAX, &w->queue_password);
		if (e != ERR_OK)
			return complain("queue.password_file", secret_rule(e));
	}
	return 0;
}

static void log_keys(const struct keyring *r)
{
	for (size_t i = 0; i < keyring_count(r); i++) {
		const struct keyring_key *k = keyring_at(r, i);
		log_event(LOG_KEY_LOADED, LOG_STR(F_KEY_ID, k->id),
			  LOG_STR(F_PROFILE, k->profile == KEYRING_WITNESS ? "witness" : "letter"));
	}
}

static int load_keys(struct worker *w)
{
	const char *context[CONFIG_CONTEXTS_MAX];
	const char *rule;
	unsigned line;
	for (size_t i = 0; i < w->config.n_contexts; i++)
		context[i] = w->config.witness_context[i];
	w->ring = keyring_new();
	w->receipt_key = receipt_key_new();
	if (keyring_default_contexts(w->ring, context, w->config.n_contexts) != ERR_OK)
		return complain("keys.witness_context", "must have 16 to 64 bytes");
	if (w->config.key_source == CONFIG_KEYS_BOOT) {
		if (keyring_make(w->ring, KEYRING_WITNESS) != ERR_OK || keyring_make(w->ring, KEYRING_LETTER) != ERR_OK)
			return complain("keys.source", "no key could be made");
	} else if (keyring_load(w->ring, w->config.key_file, &line, &rule) != ERR_OK) {
		fprintf(stderr, "cwc-worker: keys.file: line %u: %s\n", line, rule);
		log_event(LOG_START_FAILED, LOG_STR(F_CONFIG_KEY, "keys.file"));
		return EXIT_CONFIG;
	}
	log_keys(w->ring);
	return 0;
}

/* --- signals --------------------------------------------------------------------------------- */

/* Then the loop ends. */
static void close_all(struct worker *w)
{
	report_close(w->report);
	engine_free(w->engine);
	w->engine = NULL;
	uv_close((uv_handle_t *)&w->term, NULL);
	uv_close((uv_handle_t *)&w->intr, NULL);
}

static void drained(void *arg, unsigned left)
{
	struct worker *w = arg;
	log_event(LOG_STOPPED, LOG_INT(F_IN_FLIGHT, left));
	w->exit_code = left == 0 ? EXIT_SUCCESS : EXIT_LEFT;
	close_all(w);
}

static void stop(uv_signal_t *s, int number)
{
	struct worker *w = s->data;
	if (w->exit_code == EXIT_LEFT) {
		/* The second signal: at once. The lease ends by itself and the queue recovers the jobs. */
		log_event(LOG_STOPPED, LOG_INT(F_SIGNAL, number));
		_exit(EXIT_LEFT);
	}
	w->exit_code = EXIT_LEFT;
	notify_send("STOPPING=1");
	engine_drain(w->engine, drained, w);
}

static void on_ready(void *arg, bool ready)
{
	(void)arg;
	notify_send(ready ? "READY=1\nSTATUS=ready" : "STATUS=not ready");
}

/* --- the program ----------------------------------------------------------------------------- */

/* With the sanitizers' and gcov's own work at the end of a process, their builds could not exit. */
#if defined(__SANITIZE_ADDRESS__) || defined(CWC_COVERAGE)
#define CAN_BE_CONFINED false
#else
#define CAN_BE_CONFINED true
#endif

static int confine(const struct config *c)
{
	struct sandbox_options o = { 0 };
	if (c->sandbox == CONFIG_SANDBOX_OFF || !CAN_BE_CONFINED) {
		log_event(LOG_UNCONFINED, LOG_STR(F_REASON, CAN_BE_CONFINED ? "configured" : "instrumented"));
		return 0;
	}
	sandbox_need(&o, &c->queue_address);
	for (int i = 0; i < CONFIG_CHAMBERS; i++)
		if (c->chamber[i].enabled)
			sandbox_need(&o, &c->chamber[i].address);
	if (sandbox_enter(&o) != ERR_OK)
		return complain("worker.sandbox",
				"the kernel has no filters of system calls (seccomp), or refuses one");
	return 0;
}

static int serve(struct worker *w)
{
	const char *key, *rule;
	char machine[ALONE_MACHINE_SIZE];
	alone_claim(w->config.queue_address.text, w->config.queue_name, w->config.name, machine);
	struct engine_options o = {
		.config = &w->config,
		.ring = w->ring,
		.receipt_key = w->receipt_key,
		.api_key = { w->api_key[0], w->api_key[1] },
		.queue_password = w->queue_password,
		.version = CWC_VERSION,
		.machine = machine,
		.on_ready = on_ready,
	};
	BUG_ON(uv_loop_init(&w->loop) != 0);
	if (engine_new(&w->loop, &o, &w->engine, &key, &rule) != ERR_OK) {
		uv_run(&w->loop, UV_RUN_DEFAULT); /* closes what was opened */
		return complain(key, rule);
	}
	if (report_open(&w->loop, &w->config, w->engine, NULL, &w->report, &rule) != ERR_OK) {
		engine_free(w->engine);
		uv_run(&w->loop, UV_RUN_DEFAULT);
		return complain("status.address", rule);
	}
	uv_signal_init(&w->loop, &w->term);
	uv_signal_init(&w->loop, &w->intr);
	w->term.data = w->intr.data = w;
	uv_signal_start(&w->term, stop, SIGTERM);
	uv_signal_start(&w->intr, stop, SIGINT);
	int r = confine(&w->config);
	if (r != 0)
		close_all(w);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	uv_loop_close(&w->loop);
	return r != 0 ? r : w->exit_code;
}

static int run(const struct options *o)
{
	static struct worker w;
	int r = load_config(o, &w.config);
	if (r != 0)
		return r;
	if (o->check) {
		puts("cwc-worker: the configuration is good");
		return EXIT_SUCCESS;
	}
	if (o->print) {
		struct buf b;
		buf_init(&b, 1U << 20);
		config_print(&w.config, &b);
		print_buf(stdout, &b);
		return EXIT_SUCCESS;
	}
	bool json = w.config.log_format == CONFIG_LOG_JSON && !o->text;
	log_open(STDERR_FILENO, (enum log_level)w.config.log_level, json);
	log_event(LOG_STARTING, LOG_STR(F_VERSION, CWC_VERSION), LOG_STR(F_ENVIRONMENT, w.config.environment),
		  LOG_STR(F_QUEUE, w.config.queue_name));
	r = load_secrets(&w);
	if (r == 0)
		r = load_keys(&w);
	if (r == 0)
		r = serve(&w);
	for (int c = 0; c < 2; c++)
		secret_free(w.api_key[c]);
	secret_free(w.queue_password);
	keyring_free(w.ring);
	receipt_key_free(w.receipt_key);
	return r;
}

static int usage(void)
{
	fputs(usage_text, stderr);
	return EXIT_USAGE;
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "host-config", required_argument, NULL, 'H' },
		{ "check-config", no_argument, NULL, 'k' },
		{ "print-config", no_argument, NULL, 'p' },
		{ "log-format", required_argument, NULL, 'f' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->measured = optarg;
			break;
		case 'H':
			o->host = optarg;
			break;
		case 'k':
			o->check = true;
			break;
		case 'p':
			o->print = true;
			break;
		case 'f':
			o->text = strcmp(optarg, "text") == 0;
			if (!o->text && strcmp(optarg, "json") != 0)
				return usage();
			break;
		case 'V':
			puts("cwc-worker " CWC_VERSION);
			exit(EXIT_SUCCESS);
		case 'h':
			fputs(usage_text, stdout);
			exit(EXIT_SUCCESS);
		default:
			return usage();
		}
	}
	return optind == argc && o->measured != NULL ? 0 : usage();
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	int r = parse(argc, argv, &o);
	if (r != 0)
		return r;
	/* A date library that opened /etc/localtime late would be the only file read while serving. */
	setenv("TZ", "UTC0", 1);
	tzset();
	signal(SIGPIPE, SIG_IGN);
	if (secret_init() != ERR_OK) {
		fputs("cwc-worker: the random generator cannot be initialised\n", stderr);
		return EXIT_CONFIG;
	}
	return run(&o);
}
