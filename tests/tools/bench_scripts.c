/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the scripts cost the server when nothing else is in the way: one caller, pipelined, over a unix socket.
 *
 *	bench_scripts SOCKET COUNT RESP_FILE
 *
 * Empties the database, puts RESP_FILE (that of bench_seal: COUNT commands) on the queue and then, in rounds, takes
 *jobs of both chambers, begins them and ends them as accepted. Prints a line for each step: "NAME calls jobs seconds
 *server_us", where server_us is the CPU time of the server, user and system, by its own account. TAKE has the intake in
 *it.
 */
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "queue/scripts.h"

#define DEPTH     32
#define TAKE_N    "32"
#define ROUND_MAX 2048 /* jobs in flight: so many that asking for the CPU time costs nothing beside them */
#define WORKER    "bench/0011223344556677"
#define RECEIPT                                                                                                   \
	"a receipt of some three hundred bytes ..........................................................."       \
	"......................................................................................................." \
	"......................................................................................................."
#define ID_MAX  96
#define BREAKER "30000000" /* how long one is open at first: breakers are looked at */

struct step {
	const char *name;
	unsigned long calls, jobs;
	double seconds, server_us;
	double from_seconds, from_server_us;
};

struct job {
	char sid[ID_MAX], office[ID_MAX], token[ID_MAX];
};

static redisContext *c;
static struct job jobs[ROUND_MAX + 64];
static size_t n_jobs;

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "bench_scripts: %s\n", what);
	exit(1);
}

static redisReply *next_reply(void)
{
	void *r = NULL;

	must(redisGetReply(c, &r) == REDIS_OK, "the server is gone");
	redisReply *reply = r;

	if (reply->type == REDIS_REPLY_ERROR)
		fprintf(stderr, "bench_scripts: %s\n", reply->str);
	must(reply->type != REDIS_REPLY_ERROR, "an error reply");
	return reply;
}

/* --- clocks ----------------------------------------------------------------------------------- */

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static const char *now_us(void)
{
	static char text[32];
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	snprintf(text, sizeof(text), "%lld%06ld", (long long)t.tv_sec, t.tv_nsec / 1000);
	return text;
}

static double info_value(const char *info, const char *name)
{
	const char *at = strstr(info, name);

	must(at != NULL, "INFO lacks a value");
	return strtod(at + strlen(name), NULL);
}

static double server_us(void)
{
	redisAppendCommand(c, "INFO cpu");
	redisReply *r = next_reply();
	double us = 1e6 * (info_value(r->str, "used_cpu_sys:") + info_value(r->str, "used_cpu_user:"));

	freeReplyObject(r);
	return us;
}

static void step_start(struct step *s)
{
	s->from_server_us = server_us();
	s->from_seconds = seconds();
}

static void step_stop(struct step *s, size_t calls, size_t done)
{
	s->seconds += seconds() - s->from_seconds;
	s->server_us += server_us() - s->from_server_us;
	s->calls += calls;
	s->jobs += done;
}

/* --- calls ------------------------------------------------------------------------------------ */

static char sha[16][41];

static const char *script(const char *name)
{
	for (size_t i = 0; i < queue_scripts_count; i++)
		if (strcmp(queue_scripts[i].name, name) == 0)
			return sha[i];
	must(false, "no such script");
	return NULL;
}

static void load_scripts(void)
{
	must(queue_scripts_count <= sizeof(sha) / sizeof(sha[0]), "too many scripts");
	for (size_t i = 0; i < queue_scripts_count; i++) {
		redisAppendCommand(c, "SCRIPT LOAD %b", queue_scripts[i].text, queue_scripts[i].length);
		redisReply *r = next_reply();

		must(r->len == 40, "SCRIPT LOAD");
		memcpy(sha[i], r->str, 41);
		freeReplyObject(r);
	}
}

static void call(const char *name, const char *const *arg, int n)
{
	const char *argv[24] = { "EVALSHA", script(name), "1", "{q}:meta" };

	for (int i = 0; i < n; i++)
		argv[4 + i] = arg[i];
	must(redisAppendCommandArgv(c, 4 + n, argv, NULL) == REDIS_OK, "out of memory");
}

static void expect(const char *word)
{
	redisReply *r = next_reply();

	must(r->type == REDIS_REPLY_ARRAY && r->elements > 0 && strcmp(r->element[0]->str, word) == 0, word);
	freeReplyObject(r);
}

static void join(void)
{
	const char *arg[] = { WORKER, "300000000", "join", now_us(), "1", "" };

	call("beat", arg, 6);
	expect("OK");
}

/* --- steps ------------------------------------------------------------------------------------ */

/* As fast as the server takes them: the file goes out in pieces, and as many replies are read as commands went out. */
static void xadd(struct step *s, const char *path, unsigned long count)
{
	FILE *f = fopen(path, "rb");
	char *text = NULL;
	size_t room = 0;
	ssize_t n;
	unsigned long sent = 0, read = 0;

	must(f != NULL, "the commands cannot be read");
	step_start(s);
	/* A command begins with "*11\r\n"; binary arguments may hold that too, so arguments are counted by length. */
	while (sent < count) {
		must(getline(&text, &room, f) == 5 && memcmp(text, "*11\r\n", 5) == 0, "not a command of bench_seal");
		redisAppendFormattedCommand(c, text, 5);
		for (int i = 0; i < 11; i++) {
			static char body[1 << 18];

			n = getline(&text, &room, f);
			must(n > 3 && text[0] == '$', "not a command of bench_seal");
			size_t length = strtoul(text + 1, NULL, 10) + 2;

			must(length <= sizeof(body) && fread(body, 1, length, f) == length,
			     "the commands are cut short");
			redisAppendFormattedCommand(c, text, (size_t)n);
			redisAppendFormattedCommand(c, body, length);
		}
		for (sent++; sent - read >= DEPTH; read++)
			freeReplyObject(next_reply());
	}
	for (; read < sent; read++)
		freeReplyObject(next_reply());
	step_stop(s, count, count);
	free(text);
	fclose(f);
}

static void copy(char to[ID_MAX], const redisReply *from)
{
	must(from->type == REDIS_REPLY_STRING && from->len < ID_MAX, "not an id");
	memcpy(to, from->str, from->len + 1);
}

static size_t keep_jobs(void)
{
	redisReply *r = next_reply();
	size_t n = r->elements - 2;

	must(r->type == REDIS_REPLY_ARRAY && r->elements >= 2, "TAKE");
	for (size_t i = 2; i < r->elements; i++) {
		copy(jobs[n_jobs].sid, r->element[i]->element[0]);
		copy(jobs[n_jobs].office, r->element[i]->element[1]);
		copy(jobs[n_jobs++].token, r->element[i]->element[2]);
	}
	freeReplyObject(r);
	return n;
}

static void take(struct step *s)
{
	static unsigned long counter;
	size_t calls = 0;

	n_jobs = 0;
	step_start(s);
	for (size_t empty = 0; empty < 2 && n_jobs + 32 <= ROUND_MAX; calls++) {
		char id[64];
		const char *arg[] = { calls % 2 == 0 ? "house" : "senate",
				      WORKER,
				      id,
				      TAKE_N,
				      now_us(),
				      "10",
				      "1000000",
				      "0",
				      "0",
				      "100000",
				      "1" };

		snprintf(id, sizeof(id), WORKER ".%lu", ++counter);
		call("take", arg, 11);
		empty = keep_jobs() > 0 ? 0 : empty + 1;
	}
	step_stop(s, calls, n_jobs);
}

static void begin_one(const struct job *j)
{
	const char *arg[] = { WORKER,     j->sid, j->office,           j->token, "9f1c0b7e5d2a4c68b3e7a1d4f6082c95",
			      "20260302", "0",    "99999999999999999", now_us() };

	call("begin", arg, 9);
}

static void settle_one(const struct job *j)
{
	const char *now = now_us();
	const char *arg[] = { WORKER,     j->sid, j->office, j->token, "end",  "accepted", "accepted",
			      "accepted", "0",    "",        "200",    "0",    now,        now,
			      RECEIPT,    "",     "0",       "1",      BREAKER };

	call("settle", arg, 19);
}

static void each(struct step *s, void (*one)(const struct job *), const char *word)
{
	size_t read = 0;

	step_start(s);
	for (size_t i = 0; i < n_jobs; i++) {
		one(&jobs[i]);
		for (; i - read >= DEPTH; read++)
			expect(word);
	}
	for (; read < n_jobs; read++)
		expect(word);
	step_stop(s, n_jobs, n_jobs);
}

int main(int argc, char **argv)
{
	struct step in = { .name = "XADD" }, taken = { .name = "TAKE" }, begun = { .name = "BEGIN" },
		    settled = { .name = "SETTLE" };
	const struct step *const all[] = { &in, &taken, &begun, &settled };

	if (argc != 4) {
		fprintf(stderr, "usage: bench_scripts SOCKET COUNT RESP_FILE\n");
		return 64;
	}
	c = redisConnectUnix(argv[1]);
	must(c != NULL && c->err == 0, "no server");
	redisAppendCommand(c, "FLUSHALL");
	freeReplyObject(next_reply());
	load_scripts();
	join();
	xadd(&in, argv[3], strtoul(argv[2], NULL, 10));
	do {
		take(&taken);
		each(&begun, begin_one, "GO");
		each(&settled, settle_one, "OK");
	} while (n_jobs > 0);
	must(settled.jobs == in.jobs, "not every job came out");
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		printf("%s %lu %lu %.6f %.0f\n", all[i]->name, all[i]->calls, all[i]->jobs, all[i]->seconds,
		       all[i]->server_us);
	redisFree(c);
	return 0;
}
