/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bundle, sealed secret and grant have in common: maps whose members all must be there, in their one order, and
 * the few kinds of values in them. Built on worker/base/cbor.h, whose error is sticky: a schema reads as a straight
 * line, and cbor_done() tells at its end. Private to this folder.
 */
#ifndef ATTEST_FORM_H
#define ATTEST_FORM_H

#include "worker/base/cbor.h"

#define FORM_NAME_MAX 64

/* The next key of a map: this one, and no other. After cbor_read_map() for at most n pairs and n calls of this, the map
 * had just these. */
void form_key(struct cbor *c, struct cbor_map *m, const char *name);
/* A text that can only be this one. */
void form_literal(struct cbor *c, const char *text);
uint64_t form_uint(struct cbor *c, uint64_t min, uint64_t max);
struct span form_bytes(struct cbor *c, size_t min, size_t max);
/* A name: see form_name_valid(). */
struct span form_name(struct cbor *c);
struct span form_environment(struct cbor *c);
/* Visible ASCII, 1 to max bytes. */
struct span form_visible(struct cbor *c, size_t max);

/* 1 to FORM_NAME_MAX letters, digits and . _ - as queues and signers are named in a configuration. Nothing of it needs
 * quoting anywhere. */
bool form_name_valid(struct span s);
/* "sandbox" or "production" as a static text; NULL: neither. */
const char *form_environment_text(struct span s);
/* Printable ASCII (0x20 to 0x7e). Takes as long for every text of a length: it may be a secret. */
bool form_printable(struct span s);

#endif
