/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/hkdf.h"

#include <sodium.h>
#include <string.h>

void hkdf_extract(struct span salt, struct span ikm, uint8_t ret_prk[HKDF_PRK])
{
	crypto_auth_hmacsha256_state st;

	crypto_auth_hmacsha256_init(&st, salt.n > 0 ? salt.p : (const uint8_t *)"", salt.n);
	crypto_auth_hmacsha256_update(&st, ikm.p, ikm.n);
	crypto_auth_hmacsha256_final(&st, ret_prk);
	sodium_memzero(&st, sizeof(st));
}

void hkdf_expand(const uint8_t prk[HKDF_PRK], struct span info, uint8_t *ret_out, size_t n)
{
	crypto_auth_hmacsha256_state st;
	uint8_t block[crypto_auth_hmacsha256_BYTES];
	uint8_t counter = 0;

	BUG_ON(n > HKDF_OUT_MAX);
	for (size_t at = 0; at < n; at += sizeof(block)) {
		size_t take = n - at < sizeof(block) ? n - at : sizeof(block);

		crypto_auth_hmacsha256_init(&st, prk, HKDF_PRK);
		if (counter > 0)
			crypto_auth_hmacsha256_update(&st, block, sizeof(block));
		crypto_auth_hmacsha256_update(&st, info.p, info.n);
		counter++;
		crypto_auth_hmacsha256_update(&st, &counter, 1);
		crypto_auth_hmacsha256_final(&st, block);
		memcpy(ret_out + at, block, take);
	}
	sodium_memzero(block, sizeof(block));
	sodium_memzero(&st, sizeof(st));
}
