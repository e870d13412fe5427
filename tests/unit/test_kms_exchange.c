/* SPDX-License-Identifier: Apache-2.0 */
/* One exchange that libcurl dials itself: to where the URL says, whatever the environment says, and until it is told to
 * stop. What goes through bridges is in tests/it/test_kms*.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/base/clock.h"
#include "worker/http_global.h"
#include "worker/kms_client_internal.h"

#define WAIT_MS   20000
#define PROMPT_US 4000000 /* far below the time-out of an exchange */

static const char *const proxies[] = { "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY" };

struct peer {
	int listener;
	unsigned port;
	char url[64];
	const char *answer; /* NULL: silence, and then `stop` is told */
	struct kms_wire *stop;
	pthread_t thread;
};

static void peer_open(struct peer *p)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t n = sizeof(a);

	p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(p->listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(p->listener, 4), 0);
	assert_int_equal(getsockname(p->listener, (struct sockaddr *)&a, &n), 0);
	p->port = ntohs(a.sin_port);
	snprintf(p->url, sizeof(p->url), "http://127.0.0.1:%u/", p->port);
}

static bool asked(const struct peer *p, int wait_ms)
{
	struct pollfd fd = { .fd = p->listener, .events = POLLIN };

	return poll(&fd, 1, wait_ms) == 1;
}

/* One connection: a request is read, and then the end of it. */
static void *peer_run(void *arg)
{
	struct peer *p = arg;
	char bytes[4096];
	int fd = asked(p, WAIT_MS) ? accept(p->listener, NULL, NULL) : -1;

	if (fd < 0 || read(fd, bytes, sizeof(bytes)) <= 0)
		abort();
	if (p->answer != NULL && write(fd, p->answer, strlen(p->answer)) < 0)
		abort();
	if (p->stop != NULL) {
		atomic_store(&p->stop->stopped, true);
		curl_multi_wakeup(p->stop->multi);
	}
	while (read(fd, bytes, sizeof(bytes)) > 0)
		continue;
	close(fd);
	return NULL;
}

static void peer_close(struct peer *p)
{
	pthread_join(p->thread, NULL);
	close(p->listener);
}

static int setup(void **state)
{
	struct kms_wire *w = xcalloc(1, sizeof(*w));

	if (http_global_init() != ERR_OK)
		return -1;
	w->multi = curl_multi_init();
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct kms_wire *w = *state;

	curl_multi_cleanup(w->multi);
	free(w);
	http_global_free();
	return 0;
}

static void test_no_proxy(void **state)
{
	struct peer server = { .answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" }, proxy = { .answer = NULL };
	struct kms_exchange x = { .headers = NULL };

	peer_open(&server);
	peer_open(&proxy);
	for (size_t i = 0; i < sizeof(proxies) / sizeof(proxies[0]); i++)
		setenv(proxies[i], proxy.url, 1);
	assert_int_equal(pthread_create(&server.thread, NULL, peer_run, &server), 0);
	x.url = server.url;
	buf_init(&x.answer, 2);
	assert_int_equal(kms_exchange_run(*state, &x), ERR_OK);
	assert_int_equal(x.status, 200);
	assert_true(span_eq_str(span_buf(&x.answer), "ok"));
	assert_false(asked(&proxy, 0));
	kms_exchange_clear(&x);
	assert_null(x.answer.p);
	/* Its end is that of the connection, too. */
	peer_close(&server);
	close(proxy.listener);
	for (size_t i = 0; i < sizeof(proxies) / sizeof(proxies[0]); i++)
		unsetenv(proxies[i]);
}

static void test_stopped(void **state)
{
	const int64_t begun_us = clock_boot_us();
	struct peer server = { .stop = *state };
	struct kms_exchange x = { .headers = NULL };

	peer_open(&server);
	assert_int_equal(pthread_create(&server.thread, NULL, peer_run, &server), 0);
	x.url = server.url;
	buf_init(&x.answer, 2);
	assert_int_equal(kms_exchange_run(*state, &x), ERR_CLOSED);
	peer_close(&server);
	/* And no other begins. */
	peer_open(&server);
	x.url = server.url;
	assert_int_equal(kms_exchange_run(*state, &x), ERR_CLOSED);
	assert_false(asked(&server, 0));
	close(server.listener);
	kms_exchange_clear(&x);
	assert_true(clock_boot_us() - begun_us < PROMPT_US);
}

static void test_refused(void **state)
{
	struct peer server = { .answer = NULL };
	struct kms_exchange x = { .headers = NULL };

	peer_open(&server);
	close(server.listener);
	x.url = server.url;
	buf_init(&x.answer, 2);
	assert_int_equal(kms_exchange_run(*state, &x), ERR_CONNECT);
	assert_int_equal(x.status, 0);
	kms_exchange_clear(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_no_proxy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stopped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
