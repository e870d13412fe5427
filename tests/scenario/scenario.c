/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays scenario files, each in a process of its own:
 *
 *	scenario [-v] [-r] [-s SEED] FILE...
 *	scenario --store
 *
 * -v prints what the workers log; -s takes another seed than 1; -r lets all time pass in real steps, without jumps.
 * --store is for test_store.py: commands of Redis on standard input, as it would get them, replies on standard output.
 */
#include "tests/scenario/scenario.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "queue/resp.h"
#include "tests/scenario/chamber.h"
#include "tests/scenario/fleet.h"
#include "tests/scenario/letter.h"
#include "tests/scenario/net.h"
#include "tests/scenario/redis.h"
#include "tests/scenario/sim.h"
#include "worker/base/secret.h"
#include "worker/base/text.h"

#define FILE_MAX  ((size_t)1 << 20)
#define STEPS_MAX 2000
#define STRIDE_US (600 * SIM_SECOND_US)
#define START     "2026-03-02T17:00:00Z" /* a Monday noon in Washington, without a maintenance window */

static struct {
	const char *path;
	char *text;
	struct step step[STEPS_MAX];
	size_t n_steps;
	const struct step *now;
	int64_t begun_us;
	bool verbose, real;
	uint64_t seed;
} play;

static int64_t *played_us; /* by all, shared with the processes that play */

/* --- failing ----------------------------------------------------------------------------------- */

void scenario_fail(const char *format, ...)
{
	char time[TEXT_TIME_MS_SIZE];
	va_list ap;
	text_time_ms(sim_wall_us() / 1000, time);
	printf("%s:%u: ", play.path, play.now == NULL ? 0 : play.now->line);
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	printf("\n\tat %s", time);
	for (size_t i = 0; play.now != NULL && i < play.now->n; i++)
		printf("%s%s", i == 0 ? ", in: " : " ", play.now->word[i]);
	printf("\n");
	fflush(stdout);
	_exit(1); /* what is left open is of no interest */
}

void scenario_need(bool good, const char *what)
{
	if (!good)
		scenario_fail("wanted: %s", what);
}

/* --- reading ----------------------------------------------------------------------------------- */

static void read_file(void)
{
	FILE *f = fopen(play.path, "rb");
	if (f == NULL)
		scenario_fail("cannot be read");
	play.text = xmalloc(FILE_MAX);
	size_t n = fread(play.text, 1, FILE_MAX - 1, f);
	fclose(f);
	if (n == FILE_MAX - 1)
		scenario_fail("is too large");
	play.text[n] = '\0';
}

/* '#' at the beginning of a word begins a comment. */
static void read_line(char *line, unsigned number)
{
	struct step s = { .line = number };
	char *save = NULL;
	for (char *w = strtok_r(line, " \t\r", &save); w != NULL && *w != '#'; w = strtok_r(NULL, " \t\r", &save)) {
		if (s.n == WORDS_MAX)
			scenario_fail("line %u has too many words", number);
		s.word[s.n++] = w;
	}
	if (s.n == 0)
		return;
	if (play.n_steps == STEPS_MAX)
		scenario_fail("has too many lines");
	play.step[play.n_steps++] = s;
}

static void read_steps(void)
{
	unsigned number = 0;
	char *next = play.text;
	while (next != NULL) {
		char *line = next;
		next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		read_line(line, ++number);
	}
}

/* --- playing ----------------------------------------------------------------------------------- */

static void open_world(const char *start)
{
	int64_t start_s;
	if (text_parse_time(span_str(start), &start_s) != ERR_OK)
		scenario_fail("\"%s\" is no time", start);
	sim_reset(play.seed, start_s * SIM_SECOND_US);
	BUG_ON(secret_init() != ERR_OK);
	net_reset();
	redis_open("tests/scenario");
	chamber_reset();
	letter_reset();
	fleet_reset();
	fleet_log_show(play.verbose);
	world_reset(play.real ? 0 : STRIDE_US);
}

static void close_world(void)
{
	account_close();
	fleet_reset();
	sim_reset(play.seed, 0);
	redis_close();
}

static void play_steps(void)
{
	for (; play.now < play.step + play.n_steps; play.now++) {
		if (play.real && strcmp(play.now->word[0], "stride") == 0)
			continue;
		if (play.verbose) {
			printf("%s:%u:", play.path, play.now->line);
			for (size_t i = 0; i < play.now->n; i++)
				printf(" %s", play.now->word[i]);
			printf("\n");
		}
		if (!step_do(play.now))
			scenario_fail("\"%s\" is no step", play.now->word[0]);
	}
	play.now--;
}

static int64_t real_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * SIM_SECOND_US + t.tv_nsec / 1000;
}

static void play_file(const char *path)
{
	const char *start = START;
	int64_t before_us = real_us();
	play.path = path;
	read_file();
	read_steps();
	play.now = play.step;
	if (play.n_steps > 0 && strcmp(play.step[0].word[0], "start") == 0 && play.step[0].n == 2) {
		start = play.step[0].word[1];
		play.now++;
	}
	open_world(start);
	play_steps();
	int64_t virtual_us = sim_now_us();
	close_world();
	int64_t us = real_us() - before_us;
	if (play.verbose)
		printf("%lu commands\n", redis_commands());
	printf("ok %-48s %9.1f h in %5lld ms\n", path, (double)virtual_us / SIM_HOUR_US, (long long)(us / 1000));
	*played_us += virtual_us;
	free(play.text);
}

static bool play_all(char **path, int n)
{
	bool good = true;
	int64_t before_us = real_us();
	played_us = mmap(NULL, sizeof(*played_us), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	BUG_ON(played_us == MAP_FAILED);
	for (int i = 0; i < n; i++) {
		int status;
		fflush(stdout);
		pid_t pid = fork();
		BUG_ON(pid < 0);
		if (pid == 0) {
			play_file(path[i]);
			exit(0);
		}
		BUG_ON(waitpid(pid, &status, 0) != pid);
		if (status != 0)
			printf("FAIL %s\n", path[i]);
		good = good && status == 0;
	}
	int64_t ms = (real_us() - before_us) / 1000;
	printf("%d scenarios, %.1f h in %lld ms: %.0f virtual s a ms\n", n, (double)*played_us / SIM_HOUR_US,
	       (long long)ms, (double)*played_us / SIM_SECOND_US / (double)(ms + 1));
	return good;
}

/* --- the store alone --------------------------------------------------------------------------- */

static void store(void)
{
	static uint8_t bytes[65536];
	struct resp *in = resp_new(64U << 20);
	struct buf reply;
	size_t n;
	sim_reset(1, (int64_t)time(NULL) * SIM_SECOND_US);
	redis_open("tests/scenario");
	buf_init(&reply, 64U << 20);
	setvbuf(stdin, NULL, _IONBF, 0);
	while ((n = (size_t)read(STDIN_FILENO, bytes, sizeof(bytes))) > 0 && n <= sizeof(bytes)) {
		const struct resp_reply *r = NULL;
		BUG_ON(resp_feed(in, span_of(bytes, n)) != ERR_OK);
		while (resp_next(in, &r) == ERR_OK && r != NULL) {
			struct span argv[256];
			BUG_ON(r->n > 256);
			for (size_t i = 0; i < r->n; i++)
				argv[i] = resp_text(r->at[i]);
			buf_reset(&reply);
			sim_jump(SIM_MS_US);
			redis_run(argv, r->n, &reply);
			fwrite(reply.p, 1, reply.n, stdout);
			resp_release(in, r);
		}
		fflush(stdout);
	}
	buf_clear(&reply);
	resp_free(in);
	redis_close();
}

int main(int argc, char **argv)
{
	int c;
	play.seed = 1;
	if (argc == 2 && strcmp(argv[1], "--store") == 0) {
		store();
		return 0;
	}
	while ((c = getopt(argc, argv, "vrs:")) != -1) {
		if (c == 'v')
			play.verbose = true;
		else if (c == 'r')
			play.real = true;
		else if (c == 's')
			play.seed = strtoull(optarg, NULL, 10);
		else
			return 64;
	}
	if (optind == argc) {
		fprintf(stderr, "usage: scenario [-v] [-r] [-s SEED] FILE...\n");
		return 64;
	}
	return play_all(argv + optind, argc - optind) ? 0 : 1;
}
