/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hypervisor's CBOR, in documents and in the device's answers: as strict as worker/base/cbor.h reads it, but maps
 * and arrays may be of indefinite length (RFC 8949 section 3.2.2), and keys of maps come in any order. Who reads a map
 * looks for duplicates.
 *
 *	struct hypervisor_items k = hypervisor_read_map(c);
 *	while (hypervisor_next(c, &k))
 *		... read a key and its value ...
 *
 * Errors are the reader's: sticky, and the loop ends.
 */
#ifndef ATTEST_HYPERVISOR_CBOR_H
#define ATTEST_HYPERVISOR_CBOR_H

#include "worker/base/cbor.h"

/* A map or an array that is being read. */
struct hypervisor_items {
	bool indefinite;
	size_t left; /* if definite */
};

/* Whether the next item is a map, or an array, of either length. */
bool hypervisor_is_map(const struct cbor *c);
bool hypervisor_is_array(const struct cbor *c);

/* Starts a map or an array; anything else is an error. A count that the input is too short for is one, too. */
struct hypervisor_items hypervisor_read_map(struct cbor *c);
struct hypervisor_items hypervisor_read_array(struct cbor *c);

/* Whether there is one more entry (of a map: a pair); takes the break at the end. False on an error. */
bool hypervisor_next(struct cbor *c, struct hypervisor_items *k);

/* Passes over one item of the types that the base reader knows, with maps and arrays of either length in it, nested at
 * most HYPERVISOR_DEPTH_MAX deep. Nobody reads it, so nobody asks for duplicate keys in it. */
#define HYPERVISOR_DEPTH_MAX 8
void hypervisor_skip(struct cbor *c);

#endif
