/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ceiling of the machine: POSTs documents over TLS and does nothing else.
 *
 *	bench_post COUNT WARM CONNECTIONS ADDRESS:PORT CA_FILE XML_FILE URL...
 *
 * libcurl's multi interface on epoll, kept-alive HTTP/1.1, the certificate checked, each connection with one request at
 *a time; the connections are divided among the URLs, whose hosts all lead to ADDRESS. XML_FILE is that of bench_seal.
 *The first WARM posts (handshakes among them) are not counted. Prints "posts seconds cpu_us": what was counted, how
 *long that took, and the CPU time (user and system) of this process meanwhile. Any answer but 200 or 201 is an error.
 */
#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define DOCUMENTS_MAX 1024
#define EVENTS_MAX    256
#define TIMEOUT_S     60

struct document {
	char *p;
	long n;
};

static struct document documents[DOCUMENTS_MAX];
static size_t n_documents;
static CURLM *multi;
static struct curl_slist *headers;
static int epoll_fd;
static long timer_ms = -1;
static unsigned long count, warm, begun, done;
static double start_s, start_cpu_us;

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "bench_post: %s\n", what);
	exit(1);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void load(const char *path)
{
	FILE *f = fopen(path, "rb");
	char line[32];

	must(f != NULL, "no documents");
	while (n_documents < DOCUMENTS_MAX && fgets(line, sizeof(line), f) != NULL) {
		struct document *d = &documents[n_documents++];

		d->n = strtol(line, NULL, 10);
		d->p = d->n > 0 ? malloc((size_t)d->n) : NULL;
		must(d->p != NULL && fread(d->p, 1, (size_t)d->n, f) == (size_t)d->n, "the documents are cut short");
	}
	fclose(f);
	must(n_documents > 0, "no documents");
}

/* --- libcurl on epoll ------------------------------------------------------------------------- */

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	struct epoll_event e = { .data.fd = fd };

	(void)easy;
	(void)arg;
	if (what == CURL_POLL_REMOVE) {
		epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}
	if (what & CURL_POLL_IN)
		e.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		e.events |= EPOLLOUT;
	epoll_ctl(epoll_fd, known == NULL ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &e);
	curl_multi_assign(multi, fd, &timer_ms); /* any address: "is watched" */
	return 0;
}

static int want_timer(CURLM *m, long ms, void *arg)
{
	(void)m;
	(void)arg;
	timer_ms = ms;
	return 0;
}

static size_t no_body(char *p, size_t size, size_t n, void *arg)
{
	(void)p;
	(void)arg;
	return size * n;
}

static void begin(CURL *easy)
{
	const struct document *d = &documents[begun++ % n_documents];

	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, d->p);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, d->n);
	must(curl_multi_add_handle(multi, easy) == CURLM_OK, "a post cannot begin");
}

static void ended(CURL *easy, CURLcode code)
{
	long status = 0;

	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	if (code != CURLE_OK)
		fprintf(stderr, "bench_post: %s\n", curl_easy_strerror(code));
	must(code == CURLE_OK && (status == 200 || status == 201), "a post failed");
	curl_multi_remove_handle(multi, easy);
	if (++done == warm) {
		start_s = seconds();
		start_cpu_us = cpu_us();
	}
	if (begun < count + warm)
		begin(easy);
}

static void collect(void)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(multi, &left)) != NULL)
		if (msg->msg == CURLMSG_DONE)
			ended(msg->easy_handle, msg->data.result);
}

static int curl_flags(uint32_t events)
{
	return (events & EPOLLIN ? CURL_CSELECT_IN : 0) | (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
	       (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
}

static void run(void)
{
	struct epoll_event event[EVENTS_MAX];
	int running;

	while (done < count + warm) {
		int n = epoll_wait(epoll_fd, event, EVENTS_MAX, timer_ms < 0 ? 1000 : (int)timer_ms);

		if (n == 0)
			curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
		for (int i = 0; i < n; i++)
			curl_multi_socket_action(multi, event[i].data.fd, curl_flags(event[i].events), &running);
		collect();
	}
}

/* --- handles ---------------------------------------------------------------------------------- */

static void connect_to(struct curl_slist **hosts, const char *address)
{
	char line[256];

	snprintf(line, sizeof(line), "::%s", address);
	*hosts = curl_slist_append(NULL, line);
	must(*hosts != NULL, "out of memory");
}

static CURL *make_handle(const char *url, const char *ca_file, struct curl_slist *hosts)
{
	CURL *e = curl_easy_init();

	must(e != NULL, "out of memory");
	curl_easy_setopt(e, CURLOPT_URL, url);
	curl_easy_setopt(e, CURLOPT_CONNECT_TO, hosts);
	curl_easy_setopt(e, CURLOPT_CAINFO, ca_file);
	curl_easy_setopt(e, CURLOPT_PROXY, "");
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, no_body);
	curl_easy_setopt(e, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	return e;
}

static void make_multi(long connections)
{
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	multi = curl_multi_init();
	must(epoll_fd >= 0 && multi != NULL, "out of memory");
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, want_socket);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, want_timer);
	curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, connections);
	headers = curl_slist_append(NULL, "Content-Type: application/xml");
	headers = curl_slist_append(headers, "Expect:");
}

int main(int argc, char **argv)
{
	struct curl_slist *hosts;

	if (argc < 8) {
		fprintf(stderr, "usage: bench_post COUNT WARM CONNECTIONS ADDRESS:PORT CA_FILE XML_FILE URL...\n");
		return 64;
	}
	curl_global_init(CURL_GLOBAL_DEFAULT);
	count = strtoul(argv[1], NULL, 10);
	warm = strtoul(argv[2], NULL, 10);
	long connections = strtol(argv[3], NULL, 10);

	must(count > 0 && warm > 0 && connections > 0, "numbers above 0 are expected");
	load(argv[6]);
	make_multi(connections);
	connect_to(&hosts, argv[4]);
	for (long i = 0; i < connections; i++)
		begin(make_handle(argv[7 + i % (argc - 7)], argv[5], hosts));
	run();
	printf("%lu %.6f %.0f\n", count, seconds() - start_s, cpu_us() - start_cpu_us);
	return 0;
}
