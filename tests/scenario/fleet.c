/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/scenario/fleet.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/scenario/letter.h"
#include "worker/base/text.h"
#include "worker/engine_internal.h"

#define WORKERS_MAX  8
#define SETTINGS_MAX 80
#define KEYS_MAX     64
#define CONFIG_BYTES 16384

struct fleet_worker {
	char name[FLEET_NAME_MAX];
	struct sim_process process;
	struct config config;
	struct keyring *ring;
	struct receipt_key *receipt_key;
	struct engine *engine; /* NULL: not running */
	unsigned published;
	bool drained;
};

struct setting {
	char worker[FLEET_NAME_MAX], section[16], name[40], value[200];
};

static struct fleet_worker workers[WORKERS_MAX];
static size_t n_workers;
static struct setting settings[SETTINGS_MAX];
static size_t n_settings;
static uint8_t receipt_keys[KEYS_MAX][32];
static size_t n_receipt_keys;
static bool documented;

/* --- configuration ----------------------------------------------------------------------------- */

static const char *const defaults[][2] = {
	{ "attest.device", "nsm" },
	{ "keys.source", "boot" },
	{ "house.agent", "Sample Civic Relay LLC" },
	{ "house.agent_ack_email", "acks@example.org" },
	{ "house.agent_contact_name", "Robin Sample" },
	{ "house.agent_contact_email", "desk@example.org" },
	{ "house.agent_contact_phone", "202-555-0142" },
	{ "house.api_key_file", "/etc/cwc-worker/house-api-key" },
	{ "house.offices_url", "" },
	{ "house.maintenance", "none" },
	{ "senate.agent", "Sample Civic Relay, LLC" },
	{ "senate.agent_ack_email", "acks@example.org" },
	{ "senate.agent_contact_name", "Robin Sample" },
	{ "senate.agent_contact_email", "desk@example.org" },
	{ "senate.agent_contact_phone", "202-555-0142" },
	{ "senate.api_key_file", "/etc/cwc-worker/senate-api-key" },
	{ "senate.offices_url", "" },
	{ "senate.maintenance", "none" },
};

void fleet_config(const char *name, const char *key, const char *value)
{
	const char *dot = strchr(key, '.');
	BUG_ON(dot == NULL || n_settings == SETTINGS_MAX);
	struct setting s = { 0 };
	snprintf(s.worker, sizeof(s.worker), "%s", name);
	snprintf(s.section, sizeof(s.section), "%.*s", (int)(dot - key), key);
	snprintf(s.name, sizeof(s.name), "%s", dot + 1);
	snprintf(s.value, sizeof(s.value), "%s", value);
	for (size_t i = 0; i < n_settings; i++) {
		struct setting *o = &settings[i];
		if (strcmp(o->worker, s.worker) == 0 && strcmp(o->section, s.section) == 0 &&
		    strcmp(o->name, s.name) == 0) {
			*o = s;
			return;
		}
	}
	settings[n_settings++] = s;
}

/* One of the worker's own stands before one of all. */
static bool overruled(const struct setting *s, const char *worker)
{
	for (size_t i = 0; i < n_settings && s->worker[0] == '\0'; i++) {
		if (strcmp(settings[i].worker, worker) == 0 && strcmp(settings[i].section, s->section) == 0 &&
		    strcmp(settings[i].name, s->name) == 0)
			return true;
	}
	return false;
}

static void write_config(const struct fleet_worker *w, struct buf *b)
{
	char hex[65], line[400];
	text_hex(span_of(letter_signer(), 32), hex);
	snprintf(line, sizeof(line), "[worker]\nname = %s\n[jobs]\nsigner = " LETTER_KID " %s\n", w->name, hex);
	buf_add_str(b, line);
	for (size_t i = 0; i < n_settings; i++) {
		const struct setting *s = &settings[i];
		if ((s->worker[0] != '\0' && strcmp(s->worker, w->name) != 0) || overruled(s, w->name))
			continue;
		snprintf(line, sizeof(line), "[%s]\n%s = %s\n", s->section, s->name, s->value);
		buf_add_str(b, line);
	}
}

static const char *load_config(struct fleet_worker *w)
{
	static char why[600];
	struct config_problems problems;
	struct buf text, problem;
	char path[64];
	int fd = memfd_create("config", MFD_CLOEXEC);
	buf_init(&text, CONFIG_BYTES);
	write_config(w, &text);
	BUG_ON(fd < 0 || buf_ok(&text) != ERR_OK || write(fd, text.p, text.n) != (ssize_t)text.n);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	enum err e = config_load(path, NULL, cwc_windows_good, &w->config, &problems);
	close(fd);
	buf_clear(&text);
	if (e == ERR_OK)
		return NULL;
	buf_init(&problem, sizeof(why));
	config_problem_text(&problems.at[0], &problem);
	snprintf(why, sizeof(why), "%s", buf_cstr(&problem));
	buf_clear(&problem);
	return why;
}

/* --- life -------------------------------------------------------------------------------------- */

struct fleet_worker *fleet_find(const char *name)
{
	for (size_t i = 0; i < n_workers; i++)
		if (strcmp(workers[i].name, name) == 0)
			return &workers[i];
	return NULL;
}

static void release(struct fleet_worker *w)
{
	keyring_free(w->ring);
	receipt_key_free(w->receipt_key);
	w->ring = NULL;
	w->receipt_key = NULL;
}

static struct fleet_worker *make(const char *name)
{
	struct fleet_worker *w = fleet_find(name);
	if (w == NULL) {
		BUG_ON(n_workers == WORKERS_MAX);
		w = &workers[n_workers++];
		memset(w, 0, sizeof(*w));
		snprintf(w->name, sizeof(w->name), "%s", name);
	}
	w->process.loop.data = &w->process;
	w->process.stopped = false;
	w->drained = false;
	return w;
}

void fleet_documented(bool yes)
{
	documented = yes;
}

static void add_line(const struct keyring_key *k, struct buf *out)
{
	char hex[65];
	text_hex(span_of(k->public_key, sizeof(k->public_key)), hex);
	buf_add_str(out, out->n > 0 ? "\n" : "");
	buf_add_str(out, keyring_profile_name(k->profile));
	buf_add_str(out, " ");
	buf_add_str(out, k->id);
	buf_add_str(out, " ");
	buf_add_str(out, hex);
}

/* Bytes of all kinds, other ones each time. */
static void make_document(struct fleet_worker *w, struct buf *out)
{
	for (unsigned i = 0; i < 256; i++)
		buf_add_byte(out, (uint8_t)i);
	buf_add(out, receipt_key_public(w->receipt_key), 32);
	buf_add_uint(out, ++w->published);
}

void fleet_publish(struct fleet_worker *w)
{
	struct engine_publication p = { .statement = span_lit("\xa0\r\n$5\r\n\0"), .bundle = w->published + 1 };
	struct buf keys, document;
	buf_init(&keys, 8192);
	buf_init(&document, 1024);
	for (size_t i = 0; i < keyring_count(w->ring); i++)
		add_line(keyring_at(w->ring, i), &keys);
	make_document(w, &document);
	p.keys = span_buf(&keys);
	p.document = span_buf(&document);
	crypto_hash_sha256(p.document_sha256, document.p, document.n);
	memset(p.pcr0, 'a', sizeof(p.pcr0) - 1);
	struct sim_process *before = sim_enter(&w->process);
	engine_publish(w->engine, &p);
	sim_enter(before);
	buf_clear(&keys);
	buf_clear(&document);
}

void fleet_trouble(struct fleet_worker *w, const char *reason)
{
	struct sim_process *before = sim_enter(&w->process);
	engine_set_trouble(w->engine, reason);
	sim_enter(before);
}

void fleet_grant(struct fleet_worker *w, bool granted)
{
	struct job_signer s = { .kid = LETTER_OTHER_KID };
	memcpy(s.public_key, letter_other_signer(), sizeof(s.public_key));
	engine_set_granted(w->engine, &s, granted);
}

static void on_drain(void *arg)
{
	fleet_drain(arg);
}

const char *fleet_start(const char *name, const char *machine, bool full_ring)
{
	struct fleet_worker *w = make(name);
	const char *key = "", *rule = "";
	const char *why = load_config(w);
	if (why != NULL)
		return why;
	BUG_ON(w->engine != NULL || n_receipt_keys == KEYS_MAX);
	w->ring = letter_ring(full_ring);
	w->receipt_key = receipt_key_new();
	memcpy(receipt_keys[n_receipt_keys++], receipt_key_public(w->receipt_key), 32);
	struct engine_options o = {
		.config = &w->config,
		.ring = w->ring,
		.receipt_key = w->receipt_key,
		.api_key = { "house-key", "senate-key" },
		.version = "scenario",
		.machine = machine,
		.attested = true,
		.on_drain = on_drain,
		.on_drain_arg = w,
	};
	struct sim_process *before = sim_enter(&w->process);
	enum err e = engine_new(&w->process.loop, &o, &w->engine, &key, &rule);
	sim_enter(before);
	BUG_ON(e != ERR_OK);
	if (documented)
		fleet_publish(w);
	return NULL;
}

void fleet_kill(struct fleet_worker *w)
{
	if (w->engine == NULL)
		return;
	engine_free(w->engine);
	w->engine = NULL;
	sim_bury(&w->process);
	release(w);
}

static void drained(void *arg, unsigned left)
{
	struct fleet_worker *w = arg;
	(void)left;
	w->drained = true;
}

void fleet_drain(struct fleet_worker *w)
{
	struct sim_process *before = sim_enter(&w->process);
	engine_drain(w->engine, drained, w);
	sim_enter(before);
}

void fleet_reap(void)
{
	for (size_t i = 0; i < n_workers; i++)
		if (workers[i].drained)
			fleet_kill(&workers[i]);
}

void fleet_stop(struct fleet_worker *w, bool stop)
{
	sim_stop(&w->process, stop);
}

struct sim_process *fleet_process(struct fleet_worker *w)
{
	return &w->process;
}

bool fleet_runs(const struct fleet_worker *w)
{
	return w->engine != NULL;
}

const char *fleet_ready(const struct fleet_worker *w)
{
	const char *reason = "";
	engine_ready(w->engine, &reason);
	return reason;
}

unsigned fleet_in_flight(const struct fleet_worker *w)
{
	return w->engine->in_flight;
}

/* --- all of them ------------------------------------------------------------------------------- */

/* Slots whose letter is on the wire wait for the chamber, and nothing else does. */
static bool only_waits(const struct engine *e)
{
	for (size_t i = 0; i < e->n_slots; i++) {
		enum pipeline_state s = e->slots[i].state;
		if (s != PIPELINE_GONE && s != PIPELINE_POSTING)
			return false;
	}
	return !e->draining && e->membership == ENGINE_MEMBER && queue_is_up(e->queue);
}

bool fleet_idle(void)
{
	for (size_t i = 0; i < n_workers; i++) {
		const struct engine *e = workers[i].engine;
		/* Whose clock is wrong may lose its lease at any time. */
		if (e != NULL && !workers[i].process.stopped && (!only_waits(e) || workers[i].process.clock_us != 0))
			return false;
	}
	return true;
}

const char *fleet_live(void)
{
	static char names[WORKERS_MAX * (QUEUE_WORKER_MAX + 2)];
	size_t n = 0;
	names[0] = '\0';
	for (size_t i = 0; i < n_workers; i++) {
		if (workers[i].engine != NULL && !workers[i].process.stopped)
			n += (size_t)snprintf(names + n, sizeof(names) - n, "%s\n", workers[i].engine->worker);
	}
	return names;
}

const char *fleet_running(void)
{
	for (size_t i = 0; i < n_workers; i++)
		if (&workers[i].process == sim_running())
			return workers[i].name;
	return "";
}

const uint8_t *fleet_receipt_key(size_t i)
{
	return i < n_receipt_keys ? receipt_keys[i] : NULL;
}

void fleet_reset(void)
{
	for (size_t i = 0; i < n_workers; i++)
		fleet_kill(&workers[i]);
	n_workers = 0;
	n_settings = 0;
	n_receipt_keys = 0;
	documented = true;
	fleet_log_reset();
	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
		fleet_config("", defaults[i][0], defaults[i][1]);
}
