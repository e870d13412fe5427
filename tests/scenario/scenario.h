/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scenarios: text files that are played through the real engine and the real scripts. README.md describes the steps.
 *
 * scenario.c plays files; steps.c does, expect.c asks, world.c lets time pass, account.c says at the end whether all is
 * well.
 */
#ifndef SCENARIO_SCENARIO_H
#define SCENARIO_SCENARIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORDS_MAX 40

/* One line: its words, as views that stay for the whole scenario. */
struct step {
	const char *word[WORDS_MAX + 1]; /* NULL behind the last */
	size_t n;
	unsigned line;
};

/* Ends the scenario: prints file, line, virtual time and what is wrong. Does not return. */
_Noreturn void scenario_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* That, unless true. */
void scenario_need(bool good, const char *what);

/* "3h", "1h30m", "-250ms": false when it is none. */
bool parse_duration(const char *text, int64_t *ret_us);
/* "2026-03-08T01:30:00-05:00", or a duration with a sign, from now: us since 1970. Fails the scenario otherwise. */
int64_t parse_time(const char *text);
int64_t parse_us(const char *text);
/* A number without sign. Fails the scenario otherwise. */
int64_t parse_number(const char *text);
/* "4", "2..5" or "3.." holds n. */
bool parse_holds(const char *range, int64_t n);

/* steps.c: true when the step is known, and then it is done. */
bool step_do(const struct step *s);
/* expect.c: NULL when it is as the words say, else what it is instead. */
const char *expect(const char *const *word, size_t n);

/* world.c */
void world_reset(int64_t stride_us);
/* 0: time passes in small steps only, however long nothing happens. */
void world_stride(int64_t us);
void world_run_until(int64_t wall_us);
/* Until the expectation holds; false when it does not within us. */
bool world_run_while_not(const char *const *word, size_t n, int64_t us);

/* account.c: what must be true at any time; fails the scenario. */
void account_results(void);
/* What must be true at the end. */
void account_close(void);

#endif
