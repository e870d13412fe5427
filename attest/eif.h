/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measures an enclave image file: PCR0, PCR1, PCR2 and, when it is signed, PCR8, as the hypervisor will.
 *
 *	PCR = SHA-384(48 zero bytes | SHA-384(content))
 *	content of PCR0: kernel, cmdline, all ramdisks, in file order; of PCR1: kernel, cmdline, first ramdisk;
 *	of PCR2: the other ramdisks; of PCR8: the DER of the signing certificate.
 *
 * Header, default memory and CPUs, metadata and the signature section are not measured. The file is read in pieces, so
 * that a large image needs no memory.
 *
 *	file    = header, sections one behind the other, nothing behind the last; numbers are big-endian
 *	header  = ".eif", u16 version, u16 flags (bit 0: aarch64), u64 default memory, u64 default CPUs, u16 reserved,
 *	          u16 n, u64 offset[32], u64 size[32], u32 reserved, u32 CRC-32 of all of the file but itself
 *	section = u16 type, u16 flags, u64 size, data
 *
 * Strict, because whoever loads an image may go by the header's table or from section to section: both must lead to the
 * same bytes, in the one order that is built (kernel, cmdline, then ramdisks and metadata, the signature last), no
 * section is empty, what is reserved is zero, and there is no section that the file's version does not have.
 *
 * Not asked: whether the metadata is well-formed, and whether the signature is right; the hypervisor does not start an
 * image whose signature is wrong.
 */
#ifndef ATTEST_EIF_H
#define ATTEST_EIF_H

#include "worker/base/buf.h"

#define EIF_PCR_SIZE      48
#define EIF_HEADER_SIZE   548
#define EIF_SECTIONS_MAX  32
#define EIF_SIGNATURE_MAX 32768 /* bytes of the signature section */

struct eif_measurement {
	uint8_t pcr0[EIF_PCR_SIZE], pcr1[EIF_PCR_SIZE], pcr2[EIF_PCR_SIZE];
	uint8_t pcr8[EIF_PCR_SIZE]; /* all zero, as the enclave's will be, when it is not signed */
	bool signed_;               /* pcr8 is there */
	bool aarch64;
	unsigned version, ramdisks;
	uint64_t size, default_memory, default_cpus;
};

/* Reads `fd` (a regular file) from its start, wherever its offset is. ERR_SYNTAX with *ret_rule (a static text that
 * names field and rule), ERR_IO. */
ERR_MUST_CHECK enum err eif_measure(int fd, struct eif_measurement *ret_m, const char **ret_rule);

#endif
