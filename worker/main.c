/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cwc-worker: arguments and configuration; then the worker's life (worker.h). The only place that exits.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cwc/windows.h"
#include "worker/base/log.h"
#include "worker/base/secret.h"
#include "worker/start.h"
#include "worker/version.h"
#include "worker/worker.h"

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

/* --- the program ----------------------------------------------------------------------------- */

static int run(const struct options *o)
{
	static struct config c;
	int r = load_config(o, &c);
	if (r != 0)
		return r;
	if (o->check) {
		puts("cwc-worker: the configuration is good");
		return EXIT_SUCCESS;
	}
	if (o->print) {
		struct buf b;
		buf_init(&b, 1U << 20);
		config_print(&c, &b);
		print_buf(stdout, &b);
		return EXIT_SUCCESS;
	}
	bool json = c.log_format == CONFIG_LOG_JSON && !o->text;
	log_open(STDERR_FILENO, (enum log_level)c.log_level, json);
	log_event(LOG_STARTING, LOG_STR(F_VERSION, CWC_VERSION), LOG_STR(F_ENVIRONMENT, c.environment),
		  LOG_STR(F_QUEUE, c.queue_name));
	return worker_run(&c);
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
