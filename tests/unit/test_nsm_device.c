/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/unit/nsm_fixture.h"

/* --- limits of requests ----------------------------------------------------------------------- */

static void test_extend_limit(void **state)
{
	static const uint8_t zeros[NSM_REQUEST_MAX];
	const size_t frame = 27; /* of the data, behind a head of three bytes */
	struct nsm n = scripted_nsm();
	uint8_t pcr[NSM_PCR_SIZE];

	(void)state;
	device_says(commands[EXTEND].answer);
	assert_int_equal(nsm_extend_pcr(&n, 16, span_of(zeros, NSM_REQUEST_MAX - frame), pcr), ERR_OK);
	assert_int_equal(device.n_request, NSM_REQUEST_MAX);
	assert_int_equal(nsm_extend_pcr(&n, 16, span_of(zeros, NSM_REQUEST_MAX - frame + 1), pcr), ERR_LIMIT);
	assert_int_equal(device.calls, 1);
}

static void test_field_limits(void **state)
{
	static const uint8_t zeros[1025];
	static const size_t max[] = { 512, 512, 1024 };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		for (size_t over = 0; over < 2; over++) {
			struct span field[3] = { span_of(zeros, 512), span_of(zeros, 512), span_of(zeros, 1024) };
			struct nsm n = scripted_nsm();
			struct buf b;

			field[i].n = max[i] + over;
			device_says(commands[ATTEST].answer);
			buf_init(&b, 16);
			assert_int_equal(nsm_attest(&n, &field[0], &field[1], &field[2], &b),
					 over ? ERR_LIMIT : ERR_OK);
			assert_int_equal(device.calls, over ? 0 : 1);
			assert_int_equal(b.n, over ? 0 : 3);
			buf_clear(&b);
		}
	}
}

static void test_no_room(void **state)
{
	struct nsm n = scripted_nsm();
	struct buf b;

	(void)state;
	device_says(commands[ATTEST].answer);
	buf_init(&b, 2);
	assert_int_equal(nsm_attest(&n, NULL, NULL, NULL, &b), ERR_LIMIT);
	assert_int_equal(b.n, 0);
	buf_clear(&b);
}

/* --- the ioctl -------------------------------------------------------------------------------- */

struct raw {
	uint64_t request, n_request, response, n_response;
};

static void *pointer(uint64_t address)
{
	void *p;

	_Static_assert(sizeof(p) == sizeof(address), "addresses of 64 bits");
	memcpy(&p, &address, sizeof(p));
	return p;
}

/* Takes the place of the C library's. */
int ioctl(int fd, unsigned long command, ...)
{
	struct raw *raw;
	va_list ap;
	int e = device.errnos[device.calls % REQUESTS_MAX];

	va_start(ap, command);
	raw = va_arg(ap, struct raw *);
	va_end(ap);
	device.calls++;
	device.fd = fd;
	device.command = command;
	device.offered = raw->n_response;
	assert_true(raw->n_request <= sizeof(device.request));
	memcpy(device.request, pointer(raw->request), raw->n_request);
	device.n_request = raw->n_request;
	raw->n_response = device.written;
	if (e != 0) {
		errno = e;
		return -1;
	}
	memcpy(pointer(raw->response), device.answer.p, device.answer.n);
	raw->n_response = device.said > 0 ? device.said : device.answer.n;
	return 0;
}

static void test_ioctl(void **state)
{
	struct nsm n;

	(void)state;
	assert_int_equal(nsm_open("/dev/null", &n), ERR_OK);
	for (size_t i = 0; i < N_COMMANDS; i++) {
		struct outputs o;

		device_says(commands[i].answer);
		assert_int_equal(run(i, &n, &o), ERR_OK);
		assert_int_equal(device.calls, 1);
		assert_int_equal(device.fd, n.fd);
		assert_int_equal(device.command, 0xC0200A00);
		assert_int_equal(device.offered, 0x3000);
		assert_int_equal(device.n_request, commands[i].request.n);
		assert_memory_equal(device.request, commands[i].request.p, commands[i].request.n);
		/* What the driver wrote back counts, not what stands in the memory. */
		device.said = commands[i].answer.n - 1;
		assert_int_equal(run(i, &n, &o), ERR_PROTOCOL);
		device.said = commands[i].answer.n + 1;
		assert_int_equal(run(i, &n, &o), ERR_PROTOCOL);
		device.said = NSM_ANSWER_MAX + 1;
		assert_int_equal(run(i, &n, &o), ERR_PROTOCOL);
		device.said = SIZE_MAX;
		assert_int_equal(run(i, &n, &o), ERR_PROTOCOL);
	}
	nsm_close(&n);
	assert_int_equal(n.fd, -1);
	nsm_close(&n);
}

static void test_errno(void **state)
{
	static const struct {
		int e;
		enum err expected;
	} cases[] = { { EMSGSIZE, ERR_LIMIT }, { ETIMEDOUT, ERR_TIMEOUT }, { EIO, ERR_IO },
		      { ENODATA, ERR_IO },     { EFAULT, ERR_IO },         { ENOTTY, ERR_IO } };
	struct nsm n;
	struct outputs o;

	(void)state;
	assert_int_equal(nsm_open("/dev/null", &n), ERR_OK);
	for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		device_says(commands[RANDOM].answer);
		device.errnos[0] = cases[k].e;
		assert_int_equal(run(RANDOM, &n, &o), cases[k].expected);
		assert_int_equal(device.calls, 1);
	}
	nsm_close(&n);
	device_says(commands[RANDOM].answer);
	assert_int_equal(run(RANDOM, &n, &o), ERR_IO);
	assert_int_equal(device.calls, 0);
}

/* A call that a signal stopped is made again, up to a bound, unless the device may have done it already and would do it
 * twice. */
static void test_interrupted(void **state)
{
	struct nsm n;

	(void)state;
	assert_int_equal(nsm_open("/dev/null", &n), ERR_OK);
	for (size_t i = 0; i < N_COMMANDS; i++) {
		struct outputs o;

		device_says(commands[i].answer);
		device.errnos[0] = device.errnos[1] = EINTR;
		assert_int_equal(run(i, &n, &o), commands[i].again ? ERR_OK : ERR_IO);
		assert_int_equal(device.calls, commands[i].again ? 3 : 1);
		device_says(commands[i].answer);
		for (size_t k = 0; k < REQUESTS_MAX; k++)
			device.errnos[k] = EINTR;
		assert_int_equal(run(i, &n, &o), ERR_IO);
		assert_int_equal(device.calls, commands[i].again ? 8 : 1);
	}
	nsm_close(&n);
}

static void test_open(void **state)
{
	struct nsm n = { .fd = 77 };
	int fds[2];

	(void)state;
	assert_int_equal(nsm_open("/dev/no-such-nsm", &n), ERR_NOT_FOUND);
	assert_int_equal(nsm_open("/dev/null/nsm", &n), ERR_IO);
	assert_int_equal(nsm_open("/", &n), ERR_IO);
	assert_int_equal(n.fd, 77);
	nsm_close(NULL);
	/* With an exchange there is nothing to close, whatever fd says. */
	assert_int_equal(pipe(fds), 0);
	n = scripted_nsm();
	n.fd = fds[0];
	nsm_close(&n);
	assert_int_equal(close(fds[0]), 0);
	assert_int_equal(close(fds[1]), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_extend_limit), cmocka_unit_test(test_field_limits),
		cmocka_unit_test(test_no_room),      cmocka_unit_test(test_ioctl),
		cmocka_unit_test(test_errno),        cmocka_unit_test(test_interrupted),
		cmocka_unit_test(test_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
