/* SPDX-License-Identifier: Apache-2.0 */
/* Private to config/: what the readers of single values share (parse.c, number.c). */
#ifndef CONFIG_PARSE_H
#define CONFIG_PARSE_H

#include "config/table.h"

/* Writes the rule; always ERR_SYNTAX. */
__attribute__((format(printf, 2, 3))) enum err config_broken(char *rule, const char *format, ...);
/* "must be" and the form of the key's type. */
enum err config_not_of_form(const struct config_key *k, char *rule);

bool config_is_digit(uint8_t c);
/* Cuts the part before `by` off *s; the whole of it when there is no `by`. */
struct span config_cut(struct span *s, uint8_t by, bool *ret_found);

/* Durations, sizes and whole numbers; rates. */
ERR_MUST_CHECK enum err config_parse_whole(const struct config_key *k, struct span in, void *field, char *rule);
ERR_MUST_CHECK enum err config_parse_rate(const struct config_key *k, struct span in, void *field, char *rule);

#endif
