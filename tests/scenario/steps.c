/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of a scenario that do something. Each takes the words behind its name; README.md says which.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scenario/fleet.h"
#include "tests/scenario/letter.h"
#include "tests/scenario/redis.h"
#include "tests/scenario/scenario.h"
#include "tests/scenario/steps.h"
#include "worker/base/text.h"

#define DAY_S 86400

/* --- helpers ----------------------------------------------------------------------------------- */

bool word_is(const char *word, const char *name)
{
	return word != NULL && strcmp(word, name) == 0;
}

void need_end(const char *word)
{
	if (word != NULL)
		scenario_fail("\"%s\" is not expected here", word);
}

/* The answer to a command of a producer or a person, its texts with a space between. */
static const char *ask(const struct span *argv, size_t n)
{
	static char words[2048];
	struct buf reply;
	struct resp *r = resp_new(1 << 20);
	const struct resp_reply *a = NULL;
	buf_init(&reply, 1 << 20);
	redis_run(argv, n, &reply);
	BUG_ON(resp_feed(r, span_buf(&reply)) != ERR_OK || resp_next(r, &a) != ERR_OK || a == NULL);
	size_t at = 0;
	words[0] = '\0';
	if (a->type == RESP_ARRAY) {
		for (size_t i = 0; i < a->n; i++) {
			struct span t = resp_text(a->at[i]);
			at += (size_t)snprintf(words + at, sizeof(words) - at, "%s%.*s", i > 0 ? " " : "", (int)t.n,
					       (const char *)t.p);
		}
	} else {
		snprintf(words, sizeof(words), "%.*s", (int)a->text.n, (const char *)a->text.p);
	}
	bool failed = a->type == RESP_ERROR;
	resp_release(r, a);
	resp_free(r);
	buf_clear(&reply);
	if (failed)
		scenario_fail("Redis answers %s", words);
	return words;
}

/* admin VERB who...; `says`: the first word of the answer, NULL: OK. */
static void admin(const char *const *argument, size_t n, const char *says)
{
	struct span argv[12] = { span_lit("SCRIPT"), span_lit("LOAD"), span_str(redis_script_text("admin")) };
	char sha[41];
	snprintf(sha, sizeof(sha), "%s", ask(argv, 3));
	argv[0] = span_lit("EVALSHA");
	argv[1] = span_str(sha);
	argv[2] = span_lit("1");
	argv[3] = span_lit("{q}:meta");
	for (size_t i = 0; i < n; i++)
		argv[4 + i] = span_str(argument[i]);
	const char *answer = ask(argv, 4 + n);
	size_t first = strcspn(answer, " ");
	says = says == NULL ? "OK" : says;
	if (strlen(says) != first || memcmp(answer, says, first) != 0)
		scenario_fail("the answer is %s", answer);
}

/* An optional `says WORD` at the end. */
static const char *answer_of(const char *const *w)
{
	if (*w == NULL)
		return NULL;
	if (!word_is(*w, "says") || w[1] == NULL)
		scenario_fail("\"%s\" is not expected here", *w);
	need_end(w[2]);
	return w[1];
}

/* --- the app server ---------------------------------------------------------------------------- */

struct hints {
	const char *pri, *exp, *nbf; /* NULL: what was signed */
	int64_t count;               /* of letters: SID-1 to SID-COUNT; 0: one, SID */
};

static size_t letter_option(const char *const *w, struct letter_options *o, struct hints *h)
{
	if (word_is(*w, "generation"))
		o->generation = (uint64_t)parse_number(w[1]);
	else if (word_is(*w, "expires"))
		o->expires_s = parse_time(w[1]) / SIM_SECOND_US;
	else if (word_is(*w, "not-before"))
		o->not_before_s = parse_time(w[1]) / SIM_SECOND_US;
	else if (word_is(*w, "pri"))
		o->priority = (unsigned)parse_number(w[1]);
	else if (word_is(*w, "count"))
		h->count = parse_number(w[1]);
	else if (word_is(*w, "hint-pri"))
		h->pri = w[1];
	else if (word_is(*w, "hint-expires"))
		h->exp = w[1];
	else if (word_is(*w, "hint-not-before"))
		h->nbf = w[1];
	else
		return 0;
	return 2;
}

static bool letter_flag(const char *w, struct letter_options *o)
{
	if (word_is(w, "witness"))
		o->profile = JOB_WITNESS;
	else if (word_is(w, "other-key"))
		o->other_key = true;
	else if (word_is(w, "other-signer"))
		o->other_signer = true;
	else if (word_is(w, "other-queue"))
		o->other_queue = true;
	else if (word_is(w, "broken"))
		o->broken = true;
	else if (word_is(w, "invalid"))
		o->invalid = true;
	else
		return false;
	return true;
}

static void xadd(const struct letter_options *o, const struct hints *h, struct span job)
{
	char exp[24], nbf[24], pri[4];
	int64_t exp_us = h->exp != NULL ? parse_time(h->exp) : o->expires_s * SIM_SECOND_US;
	int64_t nbf_us = h->nbf != NULL ? parse_time(h->nbf) : o->not_before_s * SIM_SECOND_US;
	snprintf(exp, sizeof(exp), "%lld", (long long)exp_us);
	snprintf(nbf, sizeof(nbf), "%lld", (long long)nbf_us);
	snprintf(pri, sizeof(pri), "%u", o->priority);
	struct span argv[] = { span_lit("XADD"),
			       span_lit("{q}:in"),
			       span_lit("*"),
			       span_lit("sid"),
			       span_str(o->sid),
			       span_lit("offices"),
			       span_str(o->offices),
			       span_lit("job"),
			       job,
			       span_lit("pri"),
			       span_str(h->pri != NULL ? h->pri : pri),
			       span_lit("exp"),
			       span_str(exp),
			       span_lit("nbf"),
			       span_str(nbf) };
	ask(argv, nbf_us > 0 ? 15 : 13);
}

static void enqueue(struct letter_options *o, const struct hints *h)
{
	char sid[80];
	const char *name = o->sid;
	struct buf job;
	buf_init(&job, JOB_MAX);
	for (int64_t i = h->count > 0 ? 1 : 0; i <= h->count; i++) {
		snprintf(sid, sizeof(sid), h->count > 0 ? "%s-%lld" : "%s", name, (long long)i);
		o->sid = sid;
		buf_reset(&job);
		letter_make(o, &job);
		xadd(o, h, span_buf(&job));
	}
	buf_clear(&job);
}

static void do_enqueue(const char *const *w)
{
	struct letter_options o = { .sid = w[0], .offices = w[0] == NULL ? NULL : w[1], .priority = 1 };
	struct hints h = { 0 };
	scenario_need(o.offices != NULL, "enqueue SID OFFICES ...");
	o.profile = JOB_LETTER;
	o.expires_s = sim_wall_us() / SIM_SECOND_US + 2 * DAY_S;
	for (w += 2; *w != NULL;) {
		size_t used = letter_option(w, &o, &h);
		if (used == 0 && !letter_flag(*w, &o))
			scenario_fail("\"%s\" is no option of a letter", *w);
		w += used == 0 ? 1 : used;
	}
	enqueue(&o, &h);
}

/* --- people ------------------------------------------------------------------------------------ */

static void do_cancel(const char *const *w)
{
	char id[100];
	bool one = w[0] != NULL && w[1] != NULL && !word_is(w[1], "says");
	scenario_need(w[0] != NULL, "cancel SID [OFFICE]");
	snprintf(id, sizeof(id), one ? "%s:%s" : "%s", w[0], one ? w[1] : "");
	const char *argv[] = { "cancel", "alice", id };
	admin(argv, 3, answer_of(w + (one ? 2 : 1)));
}

static void do_hold(const char *const *w)
{
	char until[24];
	scenario_need(w[0] != NULL && w[1] != NULL, "hold WHAT UNTIL");
	need_end(w[2]);
	snprintf(until, sizeof(until), "%lld", (long long)parse_time(w[1]));
	const char *argv[] = { "hold", "alice", w[0], until, "by hand" };
	admin(argv, 5, NULL);
}

static void do_resume(const char *const *w)
{
	scenario_need(w[0] != NULL, "resume WHAT");
	need_end(w[1]);
	const char *argv[] = { "resume", "alice", w[0] };
	admin(argv, 3, NULL);
}

static void do_drain(const char *const *w)
{
	scenario_need(w[0] != NULL, "drain NAME");
	const char *argv[] = { "drain", "alice", w[0], "new image" };
	admin(argv, 4, answer_of(w + 1));
}

static void about_job(const char *verb, const char *const *w)
{
	scenario_need(w[0] != NULL && w[1] != NULL, "SID OFFICE");
	const char *argv[] = { verb, "alice", w[0], w[1] };
	admin(argv, 4, answer_of(w + 2));
}

static void do_replay(const char *const *w)
{
	about_job("replay", w);
}

static void do_drop(const char *const *w)
{
	about_job("drop", w);
}

static void do_resolve(const char *const *w)
{
	scenario_need(w[0] != NULL && w[1] != NULL && w[2] != NULL, "resolve SID OFFICE resend|drop|accepted");
	const char *argv[] = { "resolve", "alice", w[0], w[1], w[2] };
	admin(argv, 5, answer_of(w + 3));
}

/* --- workers and their configuration ------------------------------------------------------------ */

static void config(const char *worker, const char *const *w)
{
	char value[256];
	size_t at = 0;
	scenario_need(w[0] != NULL && strchr(w[0], '.') != NULL && w[1] != NULL, "config SECTION.KEY VALUE");
	for (size_t i = 1; w[i] != NULL && at < sizeof(value); i++)
		at += (size_t)snprintf(value + at, sizeof(value) - at, "%s%s", i > 1 ? " " : "", w[i]);
	fleet_config(worker, w[0], value);
}

static void do_config(const char *const *w)
{
	config("", w);
}

static void start(const char *name, const char *const *w)
{
	const char *machine = "";
	bool full = false, documented = true;
	const struct fleet_worker *f = fleet_find(name);
	scenario_need(f == NULL || !fleet_runs(f), "it runs already");
	for (; *w != NULL; w++) {
		if (word_is(*w, "full-ring"))
			full = true;
		else if (word_is(*w, "undocumented"))
			documented = false;
		else if (word_is(*w, "machine") && w[1] != NULL)
			machine = *++w;
		else
			scenario_fail("\"%s\" is not expected here", *w);
	}
	fleet_documented(documented);
	const char *why = fleet_start(name, machine, full);
	if (why != NULL)
		scenario_fail("%s", why);
}

static void do_worker(const char *const *w)
{
	const char *verb = w[0] == NULL ? NULL : w[1];
	scenario_need(verb != NULL, "worker NAME VERB");
	if (word_is(verb, "start")) {
		start(w[0], w + 2);
		return;
	}
	if (word_is(verb, "config")) {
		config(w[0], w + 2);
		return;
	}
	struct fleet_worker *f = fleet_find(w[0]);
	if (f == NULL || !fleet_runs(f))
		scenario_fail("%s does not run", w[0]);
	if (word_is(verb, "clock")) {
		fleet_process(f)->clock_us = parse_us(w[2]);
		need_end(w[3]);
		return;
	}
	if (word_is(verb, "trouble")) {
		static char reason[40];
		scenario_need(w[2] != NULL, "worker NAME trouble REASON");
		snprintf(reason, sizeof(reason), "%s", w[2]);
		fleet_trouble(f, word_is(w[2], "over") ? NULL : reason);
		need_end(w[3]);
		return;
	}
	need_end(w[2]);
	if (word_is(verb, "kill"))
		fleet_kill(f);
	else if (word_is(verb, "publish"))
		fleet_publish(f);
	else if (word_is(verb, "grant") || word_is(verb, "ungrant"))
		fleet_grant(f, word_is(verb, "grant"));
	else if (word_is(verb, "stop") || word_is(verb, "cont"))
		fleet_stop(f, word_is(verb, "stop"));
	else if (word_is(verb, "drain"))
		fleet_drain(f);
	else
		scenario_fail("\"%s\" is nothing that a worker does", verb);
}

/* --- time -------------------------------------------------------------------------------------- */

static void do_pass(const char *const *w)
{
	int64_t us = parse_us(w[0]);
	need_end(w[1]);
	world_run_until(sim_wall_us() + us);
}

static void do_at(const char *const *w)
{
	int64_t until_us = parse_time(w[0]);
	need_end(w[1]);
	world_run_until(until_us);
}

static void do_stride(const char *const *w)
{
	world_stride(word_is(w[0], "off") ? 0 : parse_us(w[0]));
	need_end(w[1]);
}

/* --- expectations ------------------------------------------------------------------------------- */

static size_t count(const char *const *w)
{
	size_t n = 0;
	while (w[n] != NULL)
		n++;
	return n;
}

static void do_expect(const char *const *w)
{
	const char *wrong = expect(w, count(w));
	if (wrong != NULL)
		scenario_fail("%s", wrong);
}

/* until DURATION EXPECTATION */
static void do_until(const char *const *w)
{
	int64_t us = parse_us(w[0]);
	if (world_run_while_not(w + 1, count(w + 1), us))
		return;
	const char *wrong = expect(w + 1, count(w + 1));
	scenario_fail("not within %s: %s", w[0], wrong == NULL ? "it held too late" : wrong);
}

static struct letter_known *letter(const char *const *w)
{
	scenario_need(w[0] != NULL && w[1] != NULL, "SID OFFICE");
	struct letter_known *k = letter_find(w[0], w[1]);
	if (k == NULL)
		scenario_fail("there is no letter %s %s", w[0], w[1]);
	need_end(w[2]);
	return k;
}

static void do_may_be_open(const char *const *w)
{
	letter(w)->may_be_open = true;
}

static void do_may_be_twice(const char *const *w)
{
	letter(w)->may_be_twice = true;
}

/* --- the table --------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*fn)(const char *const *word);
} steps[] = {
	{ "enqueue", do_enqueue },
	{ "cancel", do_cancel },
	{ "hold", do_hold },
	{ "resume", do_resume },
	{ "drain", do_drain },
	{ "replay", do_replay },
	{ "drop", do_drop },
	{ "resolve", do_resolve },
	{ "config", do_config },
	{ "worker", do_worker },
	{ "chamber", step_chamber },
	{ "redis", step_redis },
	{ "pass", do_pass },
	{ "at", do_at },
	{ "stride", do_stride },
	{ "expect", do_expect },
	{ "until", do_until },
	{ "may-be-open", do_may_be_open },
	{ "may-be-twice", do_may_be_twice },
};

bool step_do(const struct step *s)
{
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		if (strcmp(steps[i].name, s->word[0]) == 0) {
			steps[i].fn(s->word + 1);
			return true;
		}
	}
	return false;
}
