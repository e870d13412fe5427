/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/alone.h"

static char queue[64]; /* of this run alone */
static const char *server = "unix:/run/redis/redis.sock";

/* A process that claims the name, tells what it got, and then lives until it is killed; "sleep" as another program. */
struct other {
	pid_t pid;
	char machine[ALONE_MACHINE_SIZE];
};

static struct other start(const char *worker, bool execute)
{
	struct other o = { .pid = -1 };
	int p[2], alive[2];
	assert_int_equal(pipe2(p, O_CLOEXEC) | pipe2(alive, O_CLOEXEC), 0);
	o.pid = fork();
	if (o.pid == 0) {
		char machine[ALONE_MACHINE_SIZE] = { 0 };
		alone_claim(server, queue, worker, machine);
		if (execute) {
			/* Its standard input ends when the test does. */
			(void)dup2(alive[0], STDIN_FILENO);
			if (write(p[1], machine, sizeof machine) == (ssize_t)sizeof machine)
				execlp("cat", "cat", (char *)NULL);
			_exit(1);
		}
		if (write(p[1], machine, sizeof machine) != (ssize_t)sizeof machine)
			_exit(1);
		for (;;)
			pause();
	}
	close(p[1]);
	close(alive[0]);
	assert_int_equal(read(p[0], o.machine, sizeof o.machine), sizeof o.machine);
	if (execute)
		assert_int_equal(read(p[0], o.machine, 1), 0); /* closed by exit or exec */
	close(p[0]);
	return o;
}

static void end(struct other o)
{
	kill(o.pid, SIGKILL);
	assert_int_equal(waitpid(o.pid, NULL, 0), o.pid);
}

static void one_of_a_name(void **state)
{
	(void)state;
	struct other first = start("w1", false);
	assert_int_equal(strlen(first.machine), ALONE_MACHINE_SIZE - 1);
	struct other second = start("w1", false);
	assert_string_equal(second.machine, "");
	struct other third = start("w2", false);
	assert_string_equal(third.machine, first.machine);
	/* Stopped is not gone. */
	kill(first.pid, SIGSTOP);
	end(second);
	second = start("w1", false);
	assert_string_equal(second.machine, "");
	end(second);
	end(first);
	second = start("w1", false);
	assert_string_equal(second.machine, third.machine);
	end(second);
	end(third);
}

static void the_names_are_apart(void **state)
{
	(void)state;
	struct other first = start("a", false);
	size_t n = strlen(queue);
	queue[n] = 'a'; /* queue "qa", worker "" beside queue "q", worker "a" */
	struct other second = start("", false);
	queue[n] = '\0';
	assert_string_equal(second.machine, first.machine);
	end(first);
	end(second);
}

/* Two servers may have a queue of the same name each: neither worker stands in the other's way. And since one server
 * may have two addresses, neither is proof that the other is gone. */
static void each_server_by_itself(void **state)
{
	(void)state;
	struct other first = start("w1", false);
	const char *kept = server;
	server = "unix:/run/redis/other.sock";
	struct other second = start("w1", false);
	assert_int_equal(strlen(second.machine), ALONE_MACHINE_SIZE - 1);
	assert_string_not_equal(second.machine, first.machine);
	/* Each finds its own predecessor gone. */
	struct other third = start("w1", false);
	assert_string_equal(third.machine, "");
	end(third);
	end(second);
	third = start("w1", false);
	assert_string_equal(third.machine, second.machine);
	server = kept;
	end(third);
	end(first);
}

static void not_kept_by_another_program(void **state)
{
	char machine[ALONE_MACHINE_SIZE];
	(void)state;
	struct other o = start("w3", true);
	assert_int_equal(waitpid(o.pid, NULL, WNOHANG), 0);
	alone_claim(server, queue, "w3", machine);
	assert_int_equal(strlen(machine), ALONE_MACHINE_SIZE - 1);
	end(o);
	/* And held here for good. */
	struct other late = start("w3", false);
	assert_string_equal(late.machine, "");
	end(late);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_of_a_name),
		cmocka_unit_test(the_names_are_apart),
		cmocka_unit_test(each_server_by_itself),
		cmocka_unit_test(not_kept_by_another_program),
	};
	if (sodium_init() < 0)
		return 1;
	snprintf(queue, sizeof queue, "test-%ld-", (long)getpid());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
