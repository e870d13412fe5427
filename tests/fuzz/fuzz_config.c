/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the measured file, and as the host file of a good measured one. Beyond memory errors
 * it checks that an error always has a problem to show, that what is accepted is printed in a
 * form that reads back as the same, and that no host file changes a measured key.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config/table.h"
#include "cwc/windows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char good[] = "[jobs]\n"
			   "signer = a a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90\n"
			   "[senate]\n"
			   "enabled = false\n"
			   "[house]\n"
			   "agent = Sample Civic Relay LLC\n"
			   "agent_ack_email = acks@example.org\n"
			   "agent_contact_name = Robin Sample\n"
			   "agent_contact_email = desk@example.org\n"
			   "agent_contact_phone = 202-555-0142\n"
			   "api_key_file = /etc/cwc-worker/house-api-key\n";

static void check(bool holds)
{
	if (!holds)
		abort();
}

static int memory_file(struct span s, char path[64])
{
	int fd = memfd_create("config", MFD_CLOEXEC);

	check(fd >= 0 && write(fd, s.p, s.n) == (ssize_t)s.n);
	(void)snprintf(path, 64, "/proc/self/fd/%d", fd);
	return fd;
}

static enum err load(struct span measured, const struct span *host, struct config *ret_config)
{
	struct config_problems problems;
	char measured_path[64], host_path[64];
	int measured_fd = memory_file(measured, measured_path);
	int host_fd = host ? memory_file(*host, host_path) : -1;
	enum err e = config_load(measured_path, host ? host_path : NULL, cwc_windows_good, ret_config, &problems);
	struct buf text;

	close(measured_fd);
	if (host_fd >= 0)
		close(host_fd);
	check(problems.n <= CONFIG_PROBLEMS_MAX && e == (problems.n ? ERR_CONFIG : ERR_OK));
	buf_init(&text, 65536);
	for (size_t i = 0; i < problems.n; i++) {
		check(problems.at[i].rule[0] != '\0');
		config_problem_text(&problems.at[i], &text);
	}
	check(buf_ok(&text) == ERR_OK);
	buf_clear(&text);
	return e;
}

static void check_round_trip(const struct config *c)
{
	struct buf first, second;
	struct config again;

	buf_init(&first, 65536);
	buf_init(&second, 65536);
	config_print(c, &first);
	check(buf_ok(&first) == ERR_OK && load(span_buf(&first), NULL, &again) == ERR_OK);
	config_print(&again, &second);
	check(span_eq(span_buf(&first), span_buf(&second)));
	buf_clear(&first);
	buf_clear(&second);
}

static void check_measured(const struct config *host)
{
	struct config c;

	check(load(span_str(good), NULL, &c) == ERR_OK);
	for (size_t i = 0; i < config_n_keys; i++) {
		const struct config_key *k = &config_keys[i];
		size_t n = k->size * (k->room ? k->room : 1);

		if (k->tier == CONFIG_MEASURED)
			check(memcmp((const char *)&c + k->offset, (const char *)host + k->offset, n) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span s = span_of(data, size);
	struct config c;

	if (load(s, NULL, &c) == ERR_OK)
		check_round_trip(&c);
	if (load(span_str(good), &s, &c) == ERR_OK) {
		check_round_trip(&c);
		check_measured(&c);
	}
	return 0;
}
