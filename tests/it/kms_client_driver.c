/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives the KMS client from a test, with a simulated security module: JSON commands on stdin, one in a line, and one
 * JSON line for each answer on stdout.
 *
 *	{"do":"open","arn":,"ca":,"dir":,["kms":,"imds":,"pcr0":HEX,"nsm":"forged"|"io"|"limit","gate":PATH]}
 *	{"do":"confine"}                   (the filter of system calls, as in an enclave)
 *	{"do":"call","id":,"op":"generate"|"decrypt","context":{},["blob":HEX,"then":"free"|"call"]}
 *	{"do":"free"}                      (also while a call is under way)
 *	{"do":"scan",["hex":]}             (for the last data key in our own memory, or for hex; all bytes XOR 0x5a)
 *
 * `gate` is a FIFO: the module answers when something was written to it. `then`: what the callback of the call does,
 * once.
 */
#include <fcntl.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tests/sim/nsm_sim.h"
#include "worker/base/clock.h"
#include "worker/base/secret.h"
#include "worker/base/text.h"
#include "worker/kms_client.h"
#include "worker/sandbox.h"

#define MASK       0x5a
#define NEEDLE_MAX 4096
#define PIECE      65536

static uv_loop_t *loop;
static struct nsm_sim *sim;
static struct kms_client *client;
static struct addr kms_address, imds_address;
static char arn[512];
static const char *trouble = "";
static char gate[256];
static uint8_t last_key[KMS_DATA_KEY]; /* masked */

/* Those whose client is gone have no callback: all are freed at the end. */
static struct asked {
	struct asked *next;
	char id[32], then[8];
	int64_t begun_us;
} * all_asked;

static const char *text(json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s != NULL ? s : "";
}

static size_t unhex(const char *hex, uint8_t *out, size_t max)
{
	const size_t n = strlen(hex) / 2;

	BUG_ON(n > max || text_unhex(span_str(hex), out, n) != ERR_OK);
	return n;
}

/* --- the security module --------------------------------------------------------------------- */

static void pass_gate(void)
{
	char byte;
	int fd = gate[0] != '\0' ? open(gate, O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	(void)!read(fd, &byte, 1);
	close(fd);
}

static enum err exchange(void *arg, struct span request, uint8_t *answer, size_t size, size_t *ret_n)
{
	enum err e;

	pass_gate();
	if (strcmp(trouble, "io") == 0)
		return ERR_IO;
	if (strcmp(trouble, "limit") == 0)
		return ERR_LIMIT;
	e = nsm_sim_exchange(arg, request, answer, size, ret_n);
	/* The end of the answer is that of the document, and of its signature. */
	if (e == ERR_OK && strcmp(trouble, "forged") == 0)
		answer[*ret_n - 1] ^= 1;
	return e;
}

static void open_module(json_t *o)
{
	static char kept[16];
	struct nsm_sim_options options = { .debug = false };
	uint8_t pcr[3][48] = { { 0 }, { 1 }, { 2 } };
	const char *pcr0 = text(o, "pcr0");

	if (unhex(pcr0, pcr[0], sizeof(pcr[0])) > 0)
		options.pcr012 = (const uint8_t(*)[48])pcr;
	sim = nsm_sim_new(&options);
	snprintf(kept, sizeof(kept), "%s", text(o, "nsm"));
	snprintf(gate, sizeof(gate), "%s", text(o, "gate"));
	trouble = kept;
}

/* --- commands -------------------------------------------------------------------------------- */

static const struct addr *address(json_t *o, const char *name, struct addr *a)
{
	const char *rule;

	a->text[0] = '\0';
	if (text(o, name)[0] == '\0')
		return NULL;
	BUG_ON(addr_parse(span_str(text(o, name)), a, &rule) != ERR_OK);
	return a;
}

static void do_open(json_t *o)
{
	struct kms_client_options options = { .bridge_dir = text(o, "dir")[0] != '\0' ? text(o, "dir") : NULL,
					      .key_arn = arn,
					      .ca_file = text(o, "ca"),
					      .kms_address = address(o, "kms", &kms_address),
					      .imds_address = address(o, "imds", &imds_address) };
	const char *rule = "";
	enum err e;

	snprintf(arn, sizeof(arn), "%s", text(o, "arn"));
	if (sim == NULL)
		open_module(o);
	options.nsm = (struct nsm){ .exchange = exchange, .arg = sim, .fd = -1 };
	e = kms_client_new(loop, &options, &client, &rule);
	printf("{\"event\":\"open\",\"err\":\"%s\",\"rule\":\"%s\"}\n", err_name(e), e == ERR_OK ? "" : rule);
}

static void do_confine(void)
{
	struct sandbox_options o = { .nsm = true };

	sandbox_need(&o, &kms_address);
	sandbox_need(&o, &imds_address);
	printf("{\"event\":\"confined\",\"err\":\"%s\"}\n", err_name(sandbox_enter(&o)));
}

static void print_hex(const char *name, struct span s)
{
	char *hex = xmalloc(2 * s.n + 1);

	text_hex(s, hex);
	printf(",\"%s\":\"%s\"", name, hex);
	free(hex);
}

static void keep_key(const uint8_t *key)
{
	for (size_t i = 0; key != NULL && i < KMS_DATA_KEY; i++)
		last_key[i] = key[i] ^ MASK;
}

static void call(const char *id, enum kms_operation op, const struct kms_pair *pairs, size_t n, struct span blob,
		 const char *then);

static void on_result(void *arg, const struct kms_client_result *r)
{
	const struct kms_pair pair = { "purpose", "ring key" };
	uint8_t hash[crypto_hash_sha256_BYTES] = { 0 };
	struct asked *a = arg;

	keep_key(r->data_key);
	if (r->data_key != NULL)
		crypto_hash_sha256(hash, r->data_key, KMS_DATA_KEY);
	printf("{\"id\":\"%s\",\"ok\":%s,\"retry\":%s,\"why\":\"%s\",\"status\":%d,\"elapsed_us\":%lld", a->id,
	       r->ok ? "true" : "false", r->retry ? "true" : "false", r->why, r->http_status,
	       (long long)(clock_boot_us() - a->begun_us));
	print_hex("key", r->data_key != NULL ? span_of(hash, sizeof(hash)) : span_of(NULL, 0));
	print_hex("blob", r->blob);
	printf("}\n");
	if (strcmp(a->then, "free") == 0) {
		kms_client_free(client);
		client = NULL;
	} else if (strcmp(a->then, "call") == 0) {
		call("then", KMS_DECRYPT, &pair, 1, r->blob, "");
	}
	/* Whatever the callback did, the key is there until it returns. */
	if (r->data_key != NULL)
		BUG_ON((r->data_key[0] ^ MASK) != last_key[0]);
	fflush(stdout);
}

static void call(const char *id, enum kms_operation op, const struct kms_pair *pairs, size_t n, struct span blob,
		 const char *then)
{
	struct asked *a = xcalloc(1, sizeof(*a));
	enum err e;

	a->next = all_asked;
	all_asked = a;
	snprintf(a->id, sizeof(a->id), "%s", id);
	snprintf(a->then, sizeof(a->then), "%s", then);
	a->begun_us = clock_boot_us();
	e = kms_client_call(client, op, pairs, n, blob, on_result, a);
	if (e != ERR_OK)
		printf("{\"id\":\"%s\",\"refused\":\"%s\"}\n", id, err_name(e));
}

static void do_call(json_t *o)
{
	struct kms_pair pairs[2 * KMS_CONTEXT_MAX];
	uint8_t blob[2 * KMS_BLOB_MAX];
	size_t n = 0, n_blob = unhex(text(o, "blob"), blob, sizeof(blob));
	const char *name;
	json_t *v;

	json_object_foreach(json_object_get(o, "context"), name, v) pairs[n++] =
		(struct kms_pair){ name, json_string_value(v) };
	call(text(o, "id"), strcmp(text(o, "op"), "decrypt") == 0 ? KMS_DECRYPT : KMS_GENERATE_DATA_KEY, pairs, n,
	     span_of(blob, n_blob), text(o, "then"));
}

static void do_free(void)
{
	kms_client_free(client);
	client = NULL;
	printf("{\"event\":\"freed\"}\n");
}

/* --- a look at our own memory ---------------------------------------------------------------- */

static bool needle_at(const uint8_t *p, const uint8_t *masked, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((p[i] ^ MASK) != masked[i])
			return false;
	return true;
}

static unsigned scan_range(int mem, unsigned long from, unsigned long to, const uint8_t *masked, size_t n)
{
	static uint8_t piece[PIECE + NEEDLE_MAX];
	unsigned found = 0;

	for (; from < to && to - from < 1UL << 32; from += PIECE) {
		ssize_t got = pread(mem, piece, PIECE + n - 1, (off_t)from);

		if (got <= 0)
			break;
		for (size_t i = 0; i + n <= (size_t)got; i++)
			found += needle_at(piece + i, masked, n);
		sodium_memzero(piece, sizeof(piece));
	}
	return found;
}

static void do_scan(json_t *o)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	uint8_t needle[NEEDLE_MAX];
	size_t n = unhex(text(o, "hex"), needle, sizeof(needle));
	unsigned long from, to;
	unsigned found = 0;
	char line[512], mode[5];

	if (n == 0)
		memcpy(needle, last_key, n = sizeof(last_key));
	while (maps != NULL && mem >= 0 && fgets(line, sizeof(line), maps) != NULL)
		if (sscanf(line, "%lx-%lx %4s", &from, &to, mode) == 3 && mode[0] == 'r' && mode[1] == 'w')
			found += scan_range(mem, from, to, needle, n);
	printf("{\"event\":\"scanned\",\"ok\":%s,\"found\":%u}\n", maps != NULL && mem >= 0 ? "true" : "false", found);
	if (maps != NULL)
		fclose(maps);
	if (mem >= 0)
		close(mem);
}

/* --- the loop -------------------------------------------------------------------------------- */

static void command(const char *line, size_t n)
{
	json_t *o = json_loadb(line, n, 0, NULL);
	const char *what = text(o, "do");

	if (strcmp(what, "open") == 0)
		do_open(o);
	else if (strcmp(what, "confine") == 0)
		do_confine();
	else if (strcmp(what, "call") == 0)
		do_call(o);
	else if (strcmp(what, "free") == 0)
		do_free();
	else if (strcmp(what, "scan") == 0)
		do_scan(o);
	json_decref(o);
	fflush(stdout);
}

static char input[65536];
static size_t input_n;

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
	(void)handle;
	(void)suggested;
	*ret_buf = uv_buf_init(input + input_n, (unsigned)(sizeof(input) - input_n));
}

static void on_input(uv_stream_t *in, ssize_t n, const uv_buf_t *buf)
{
	char *end;

	(void)buf;
	if (n < 0) {
		uv_close((uv_handle_t *)in, NULL);
		kms_client_free(client);
		client = NULL;
		return;
	}
	input_n += (size_t)n;
	while ((end = memchr(input, '\n', input_n)) != NULL) {
		size_t used = (size_t)(end - input) + 1;

		command(input, used);
		memmove(input, input + used, input_n - used);
		input_n -= used;
	}
}

int main(void)
{
	uv_pipe_t in;
	int rc;

	/* Not to be traced is to be without /proc/self/mem. */
	if (secret_init() != ERR_OK || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0)
		return 1;
	loop = uv_default_loop();
	uv_pipe_init(loop, &in, 0);
	if (uv_pipe_open(&in, 0) != 0 || uv_read_start((uv_stream_t *)&in, on_room, on_input) != 0)
		return 1;
	uv_run(loop, UV_RUN_DEFAULT);
	nsm_sim_free(sim);
	for (struct asked *a = all_asked, *next; a != NULL; a = next) {
		next = a->next;
		free(a);
	}
	rc = uv_loop_close(loop);
	return rc == 0 ? 0 : 2;
}
