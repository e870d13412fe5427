/* SPDX-License-Identifier: Apache-2.0 */
/* Which devices the attestor takes, and what it says of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <sched.h>
#include <unistd.h>

#include "tests/unit/attestor_fixture.h"

static void test_identity(void **state)
{
	uint8_t pcr[NSM_PCR_SIZE];
	struct nsm n;
	bool locked;
	int64_t bound;

	(void)state;
	start();
	n = attestor_nsm(attestor);
	assert_string_equal(attestor_module_id(attestor), nsm_sim_module_id(module.sim));
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(nsm_describe_pcr(&n, i, &locked, pcr), ERR_OK);
		assert_memory_equal(attestor_pcrs(attestor)[i], pcr, sizeof(pcr));
	}
	assert_ptr_equal(attestor_anchor(attestor), &attest_anchor_sim);
	assert_false(attestor_debug(attestor));
	assert_true(llabs(attestor_clock_ms(attestor, &bound)) <= bound);
	assert_true(bound > 0 && attestor_clock_age_ms(attestor) >= 0);
}

static void assert_refused(const struct attestor_device *d, const char *what)
{
	const char *rule;

	assert_int_equal(start_device(d, &rule), ERR_CONFIG);
	assert_non_null(strstr(rule, what));
	assert_null(attestor);
}

static void restart_module(const struct nsm_sim_options *o)
{
	nsm_sim_free(module.sim);
	module.sim = nsm_sim_new(o);
}

static void test_refused(void **state)
{
	struct attestor_device d = device();

	(void)state;
	d.anchor = &attest_anchor_aws;
	assert_refused(&d, "does not verify");
	d.anchor = &attest_anchor_sim;
	module.damage = true;
	assert_refused(&d, "does not verify");
	module.damage = false;
	module.moves = true;
	assert_refused(&d, "another enclave");
	module.moves = false;
	for (unsigned n = 0; n < 5; n++) {
		d.nsm = (struct nsm){ .exchange = exchange, .fd = -1 };
		nsm_sim_fail(module.sim, ERR_IO, 1);
		assert_refused(&d, "does not answer");
	}
}

/* A PCR that can still be extended says nothing of the image for long, whatever the documents of today have. */
static void test_unlocked(void **state)
{
	struct attestor_device d = device();
	const char *rule;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		d.nsm = (struct nsm){ .exchange = exchange, .fd = -1 };
		module.unlocked = 1U << i;
		assert_refused(&d, "does not answer");
	}
	module.unlocked = 1U << 3; /* of the role: it is not asked for */
	d.nsm = (struct nsm){ .exchange = exchange, .fd = -1 };
	assert_int_equal(start_device(&d, &rule), ERR_OK);
}

static void test_debug(void **state)
{
	struct attestor_device d = device();
	const char *rule;

	(void)state;
	restart_module(&(struct nsm_sim_options){ .debug = true });
	assert_refused(&d, "debug mode");
	d.debug_allowed = true;
	module.damage = true;
	assert_refused(&d, "does not verify");
	module.damage = false;
	assert_int_equal(start_device(&d, &rule), ERR_OK);
	assert_true(attestor_debug(attestor));
	ask(0, "x", "");
	wait_answers(1);
	assert_int_equal(asked[0].e, ERR_OK);
}

/* --- by configuration ------------------------------------------------------------------------- */

static void test_no_device(void **state)
{
	static struct config c = { .environment = "sandbox", .device = CONFIG_DEVICE_NONE };
	const char *rule;

	(void)state;
	attestor = (struct attestor *)&loop;
	assert_int_equal(attestor_open(&loop, &c, &attestor, &rule), ERR_OK);
	assert_null(attestor);
	if (access("/dev/nsm", F_OK) == 0)
		skip();
	c.device = CONFIG_DEVICE_NSM;
	assert_int_equal(attestor_open(&loop, &c, &attestor, &rule), ERR_CONFIG);
	assert_string_equal(rule, "there is no /dev/nsm");
}

static void test_simulated_device(void **state)
{
	static struct config c = { .environment = "sandbox", .device = CONFIG_DEVICE_SIMULATED };
	const char *rule;

	(void)state;
#ifdef CWC_DEV
	assert_int_equal(attestor_open(&loop, &c, &attestor, &rule), ERR_OK);
	ask(0, "x", "y");
	wait_answers(1);
	assert_int_equal(asked[0].e, ERR_OK);
#else
	assert_int_equal(attestor_open(&loop, &c, &attestor, &rule), ERR_CONFIG);
	assert_non_null(strstr(rule, "development build"));
#endif
}

static void simulate(const char *image, const char *debug, const char *clock)
{
	struct attestor_device d = device();
	const char *const name[] = { "CWC_SIM_IMAGE", "CWC_SIM_DEBUG", "CWC_SIM_CLOCK_MS" };
	const char *const value[] = { image, debug, clock };
	const char *rule;

	for (size_t i = 0; i < 3; i++)
		assert_int_equal(value[i] != NULL ? setenv(name[i], value[i], 1) : unsetenv(name[i]), 0);
	attestor_free(attestor);
	attestor = NULL;
	turn();
	assert_int_equal(attestor_simulate(&d, &rule), ERR_OK);
	d.debug_allowed = true;
	assert_int_equal(start_device(&d, &rule), ERR_OK);
}

static void test_environment(void **state)
{
	uint8_t pcr[3][3][NSM_PCR_SIZE];
	struct attestor_device d;
	const char *rule;
	int64_t bound;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		static const char *const image[] = { NULL, "one", "two" };

		simulate(image[i], NULL, NULL);
		assert_false(attestor_debug(attestor));
		memcpy(pcr[i], attestor_pcrs(attestor), sizeof(pcr[i]));
		for (size_t k = 0; k < i; k++)
			for (size_t p = 0; p < 3; p++)
				assert_memory_not_equal(pcr[i][p], pcr[k][p], NSM_PCR_SIZE);
	}
	simulate("one", "1", NULL);
	assert_true(attestor_debug(attestor));
	simulate("one", NULL, "-90000");
	assert_memory_equal(attestor_pcrs(attestor), pcr[1], sizeof(pcr[1]));
	assert_true(llabs(attestor_clock_ms(attestor, &bound) - 90000) < 10000);
	assert_int_equal(setenv("CWC_SIM_CLOCK_MS", "soon", 1), 0);
	assert_int_equal(attestor_simulate(&d, &rule), ERR_CONFIG);
	assert_int_equal(unsetenv("CWC_SIM_CLOCK_MS"), 0);
}

/* So many documents, then none for a while; who it is has taken the first. */
static void test_failing_device(void **state)
{
	static const char *const bad[] = { "", "+", "1+", "+1", "x", "1+1+1", "-1" };
	struct attestor_device d;
	const char *rule;

	(void)state;
	assert_int_equal(setenv("CWC_SIM_FAIL", "2+2", 1), 0);
	simulate(NULL, NULL, NULL);
	for (unsigned i = 0; i < 4; i++) {
		ask(i, "x", "y");
		wait_answers(i + 1);
		assert_int_equal(asked[i].e, i == 1 || i == 2 ? ERR_IO : ERR_OK);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(setenv("CWC_SIM_FAIL", bad[i], 1), 0);
		assert_int_equal(attestor_simulate(&d, &rule), ERR_CONFIG);
	}
	assert_int_equal(unsetenv("CWC_SIM_FAIL"), 0);
}

static unsigned threads(void)
{
	unsigned n = 0;
	DIR *tasks = opendir("/proc/self/task");

	assert_non_null(tasks);
	for (struct dirent *t = readdir(tasks); t != NULL; t = readdir(tasks))
		n += t->d_name[0] != '.' ? 1 : 0;
	(void)closedir(tasks);
	return n;
}

/* The attestors' threads end after attestor_free(): what OpenSSL keeps for one of them goes with it. */
static int wait_for_threads(void **state)
{
	const int64_t until_us = clock_boot_us() + INT64_C(10000000);

	(void)state;
	while (threads() > 1 && clock_boot_us() < until_us)
		(void)sched_yield();
	return threads() > 1 ? -1 : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_identity),  TEST(test_refused),          TEST(test_unlocked),    TEST(test_debug),
		TEST(test_no_device), TEST(test_simulated_device), TEST(test_environment), TEST(test_failing_device),
	};
	return cmocka_run_group_tests(tests, NULL, wait_for_threads);
}
