/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output. Commands collect JSON values; with --json they are printed as they are, otherwise as
 * aligned tables or lists of the same values, so that both say the same.
 *
 * Much of what is printed comes from Redis and was written by anybody: for people, control
 * characters and those that turn the direction of the text are replaced (a terminal would obey
 * them), and bytes that are not UTF-8 become U+FFFD. JSON is ASCII; its numbers have no exponent.
 */
#ifndef OPS_CWCCTL_OUT_H
#define OPS_CWCCTL_OUT_H

#include <jansson.h>
#include <stdio.h>

#include "ops/cwcctl/ctl.h"

/* Prints for people: control characters become '?'. */
void out_clean(FILE *f, struct span s);

/* A JSON string of any bytes. */
json_t *out_string(struct span s);
/* "2026-03-02T17:04:05.123Z" from microseconds; null from 0 and below. */
json_t *out_time_us(int64_t us);
/* Seconds, rounded up to the millisecond: JSON's numbers here never need an exponent. */
json_t *out_seconds(int64_t us);
json_t *out_hex(struct span s);
json_t *out_base64(struct span s);
/* "3d 4h", "12min 5s", "0.25s". */
#define OUT_AGE_SIZE 32
void out_age(int64_t us, char ret_out[OUT_AGE_SIZE]);

/* One document, indented; takes the reference. */
void out_document(json_t *v);
/* One line; takes the reference. */
void out_line(json_t *v);

struct out_column {
	const char *key, *title;
};
/* One cell for people, appended: null and missing are "-", true and false are yes and no, an array
 * is its members with commas between. */
void out_cell(const json_t *v, struct buf *b);
/* An array of objects as an aligned table with a head; the columns in this order. */
void out_table(const json_t *rows, const struct out_column *col, size_t n);
/* The same as a Markdown table. */
void out_markdown(const json_t *rows, const struct out_column *col, size_t n);
/* One object, a line for each column that it has and that is not empty: "title   value". */
void out_list(const json_t *object, const struct out_column *col, size_t n);
/* By the options: a document, Markdown, or a table; takes the reference. `none`: said instead of an
 * empty table. */
void out_rows(const struct ctl *c, json_t *rows, const struct out_column *col, size_t n, const char *none);

/* The same for rows that come in pages: a JSON array, or a table whose widths grow. */
#define OUT_COLUMNS_MAX 16
struct out_pages {
	bool json, begun;
	const struct out_column *col;
	size_t n, width[OUT_COLUMNS_MAX];
};
void out_pages_begin(const struct ctl *c, const struct out_column *col, size_t n, struct out_pages *ret_p);
/* Takes the reference. Ends the program when the reader is gone, as out_flush(). */
void out_page(struct out_pages *p, json_t *rows);
void out_pages_end(struct out_pages *p, const char *none);

/* Adds to an entry of `audit` its member `what`: the arguments of the act in one text, in which a hold has a time. */
void out_dress_act(json_t *row);

/* Bytes as they are, past the buffer of stdio, which is not wiped. 0, or CTL_INTERNAL after a report. */
int out_raw(struct span s);
/* Flushes what stdio holds. When the reader is gone the program ends as by SIGPIPE. */
void out_flush(void);
/* Flushes; false when the output cannot be written. Whoever changes something stops then, and says on standard error
 * how far it came: out_finish() is for the rest. */
bool out_good(void);
/* Flushes; `code`, or CTL_INTERNAL when the output could not be written. */
int out_finish(int code);

#endif
