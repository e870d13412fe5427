/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives the HTTPS client from a test: commands on stdin, one JSON line for each answer on stdout.
 *
 *	open url= ca= dir= [address= key= in_flight= connect= first= total= age= answer_max=]
 *	post id= [count= concurrency= size= deadline=]     (ms from now)
 *	get id= url=
 *	cancel
 *	scan                                               (for letters in our own memory)
 *	free                                               (under load, if there is any)
 *
 * Every letter begins with "<id>ID-N</id>", so that a server can tell them apart.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/base/clock.h"
#include "worker/http.h"

#define ID_MAX 64

struct letter {
	struct letter *prev, *next;
	char id[ID_MAX + 16];
	uint8_t *body; /* NULL: a GET */
	size_t n;
};

static uv_loop_t *loop;
static struct http *http;
static struct http_target *target;
static struct letter *letters;
static unsigned to_send, sent;
static char batch_id[ID_MAX];
static size_t batch_size;
static long batch_deadline_ms;

/* --- letters --------------------------------------------------------------------------------- */

/* The filler is computed, so that it stands nowhere in memory but in letters. */
static uint8_t filler(size_t i)
{
	return (uint8_t)('A' + (i * 7 + i / 26 * 5 + i / 676 * 3) % 26);
}

static struct letter *letter_new(const char *id, size_t size)
{
	struct letter *l = xcalloc(1, sizeof(*l));
	int n;

	snprintf(l->id, sizeof(l->id), "%s", id);
	if (size > 0) {
		l->body = xmalloc(size + sizeof(l->id) + 16);
		n = snprintf((char *)l->body, sizeof(l->id) + 16, "<id>%s</id>", id);
		l->n = size > (size_t)n ? size : (size_t)n;
		for (size_t i = (size_t)n; i < l->n; i++)
			l->body[i] = filler(i);
	}
	l->next = letters;
	if (l->next != NULL)
		l->next->prev = l;
	letters = l;
	return l;
}

static void letter_free(struct letter *l)
{
	if (l->prev != NULL)
		l->prev->next = l->next;
	else
		letters = l->next;
	if (l->next != NULL)
		l->next->prev = l->prev;
	xfree_wipe(l->body, l->n);
	free(l);
}

static void send_next(void);

static void on_answer(void *arg, const struct http_answer *a)
{
	static const char *const fates[] = { "answered", "not_sent", "unknown" };
	struct letter *l = arg;
	bool post = l->body != NULL;

	printf("{\"id\":\"%s\",\"fate\":\"%s\",\"status\":%d,\"body_left\":%s,\"why\":\"%s\",\"reused\":%s,"
	       "\"body_len\":%zu,\"retry_after\":%lld,\"elapsed_us\":%lld}\n",
	       l->id, fates[a->fate], a->status, a->body_left ? "true" : "false", a->why, a->reused ? "true" : "false",
	       a->body.n, (long long)a->retry_after_s, (long long)a->elapsed_us);
	letter_free(l);
	if (post)
		send_next();
}

static void send_next(void)
{
	char id[ID_MAX + 16];
	struct letter *l;

	if (sent == to_send)
		return;
	snprintf(id, sizeof(id), "%s-%u", batch_id, sent++);
	l = letter_new(id, batch_size);
	http_post(target, span_of(l->body, l->n), clock_boot_us() + (int64_t)batch_deadline_ms * 1000, on_answer, l);
}

/* --- a look at our own memory ---------------------------------------------------------------- */

static bool letter_at(const uint8_t *p)
{
	for (size_t i = 0; i < 64; i++)
		if (p[i] != filler(128 + i))
			return false;
	return true;
}

static unsigned count_letters(const uint8_t *p, size_t n)
{
	unsigned found = 0;

	for (size_t i = 0; i + 64 <= n; i++)
		found += letter_at(p + i);
	return found;
}

/* Piece by piece, each with the first bytes of the next; without what sanitizers reserve. */
static unsigned scan_range(int mem, unsigned long from, unsigned long to)
{
	static uint8_t piece[65536 + 63];
	unsigned found = 0;

	for (; from < to && to - from < 1UL << 32; from += 65536) {
		ssize_t got = pread(mem, piece, sizeof(piece), (off_t)from);

		if (got <= 0)
			break;
		found += count_letters(piece, (size_t)got);
		sodium_memzero(piece, sizeof(piece));
	}
	return found;
}

static void scan(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	unsigned long from, to;
	unsigned found = 0;
	char line[512], mode[5];

	while (maps != NULL && mem >= 0 && fgets(line, sizeof(line), maps) != NULL)
		if (sscanf(line, "%lx-%lx %4s", &from, &to, mode) == 3 && mode[0] == 'r' && mode[1] == 'w')
			found += scan_range(mem, from, to);
	printf("{\"event\":\"scanned\",\"ok\":%s,\"found\":%u}\n", maps != NULL && mem >= 0 ? "true" : "false", found);
	if (maps != NULL)
		fclose(maps);
	if (mem >= 0)
		close(mem);
}

/* --- commands -------------------------------------------------------------------------------- */

/* The value of key=value in a command line, or def. */
static const char *value(const char *line, const char *key, const char *def, char *out, size_t size)
{
	size_t n = strlen(key);
	const char *p = line;

	while ((p = strchr(p, ' ')) != NULL) {
		p++;
		if (strncmp(p, key, n) != 0 || p[n] != '=')
			continue;
		snprintf(out, size, "%.*s", (int)strcspn(p + n + 1, " "), p + n + 1);
		return out;
	}
	return def;
}

static unsigned number(const char *line, const char *key, unsigned def)
{
	char text[32];
	const char *v = value(line, key, NULL, text, sizeof(text));

	return v != NULL ? (unsigned)strtoul(v, NULL, 10) : def;
}

static void do_open(const char *line)
{
	char url[4096], ca[512], dir[512], address[512], key[512];
	const char *rule = "";
	struct addr a;
	const char *to = value(line, "address", NULL, address, sizeof(address));
	struct http_options o = { .bridge_dir = value(line, "dir", NULL, dir, sizeof(dir)),
				  .max_in_flight = number(line, "in_flight", 64) };
	struct http_target_options t = {
		.url = value(line, "url", "", url, sizeof(url)),
		.api_key = value(line, "key", NULL, key, sizeof(key)),
		.ca_file = value(line, "ca", NULL, ca, sizeof(ca)),
		.connect_timeout_ms = number(line, "connect", 3000),
		.first_byte_timeout_ms = number(line, "first", 3000),
		.total_timeout_ms = number(line, "total", 5000),
		.connection_max_age_ms = number(line, "age", 30000),
		.answer_max = number(line, "answer_max", 4096),
	};
	enum err e = to != NULL ? addr_parse(span_str(to), &a, &rule) : ERR_OK;

	if (e == ERR_OK) {
		t.address = to != NULL ? &a : NULL;
		e = http_new(loop, &o, &http);
	}
	if (e == ERR_OK)
		e = http_target_new(http, &t, &target, &rule);
	printf("{\"event\":\"open\",\"err\":\"%s\",\"rule\":\"%s\"}\n", err_name(e), e == ERR_OK ? "" : rule);
}

static void do_post(const char *line)
{
	unsigned n = number(line, "concurrency", 1);

	value(line, "id", "x", batch_id, sizeof(batch_id));
	sent = 0;
	to_send = number(line, "count", 1);
	batch_size = number(line, "size", 300);
	batch_deadline_ms = (long)number(line, "deadline", 60000);
	for (unsigned i = 0; i < n; i++)
		send_next();
}

static void do_get(const char *line)
{
	char id[ID_MAX], url[4096];

	http_get(target, value(line, "url", "", url, sizeof(url)), on_answer,
		 letter_new(value(line, "id", "x", id, sizeof(id)), 0));
}

static unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d != NULL && readdir(d) != NULL)
		n++;
	if (d != NULL)
		closedir(d);
	return n;
}

static uv_timer_t later;

/* Some turns of the loop later all handles are closed. */
static void on_freed(uv_timer_t *timer)
{
	(void)timer;
	printf("{\"event\":\"freed\",\"fds\":%u}\n", count_fds());
	fflush(stdout);
}

static void do_free(void)
{
	http_free(http);
	http = NULL;
	target = NULL;
	sent = to_send = 0;
	while (letters != NULL)
		letter_free(letters);
	uv_timer_start(&later, on_freed, 5, 0);
}

static void command(const char *line)
{
	if (strncmp(line, "open ", 5) == 0)
		do_open(line);
	else if (strncmp(line, "post ", 5) == 0)
		do_post(line);
	else if (strncmp(line, "get ", 4) == 0)
		do_get(line);
	else if (strcmp(line, "cancel") == 0)
		http_cancel_all(http);
	else if (strcmp(line, "scan") == 0)
		scan();
	else if (strcmp(line, "free") == 0)
		do_free();
}

/* --- the loop -------------------------------------------------------------------------------- */

static char input[8192];
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
		uv_close((uv_handle_t *)&later, NULL);
		http_free(http);
		while (letters != NULL)
			letter_free(letters);
		return;
	}
	input_n += (size_t)n;
	while ((end = memchr(input, '\n', input_n)) != NULL) {
		size_t used = (size_t)(end - input) + 1;

		*end = '\0';
		command(input);
		memmove(input, input + used, input_n - used);
		input_n -= used;
	}
	fflush(stdout);
}

int main(void)
{
	uv_pipe_t in;

	if (sodium_init() < 0)
		return 1;
	loop = uv_default_loop();
	setvbuf(stdout, NULL, _IOLBF, 0);
	uv_timer_init(loop, &later);
	uv_pipe_init(loop, &in, 0);
	if (uv_pipe_open(&in, 0) != 0 || uv_read_start((uv_stream_t *)&in, on_room, on_input) != 0)
		return 1;
	uv_run(loop, UV_RUN_DEFAULT);
	return uv_loop_close(loop) == 0 ? 0 : 2;
}
