/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/envelope_parts.h"

#include <sodium.h>
#include <string.h>

bool envelope_kid(struct span kid, char ret_kid[COSE_KID_MAX + 1])
{
	if (kid.n < 1 || kid.n > COSE_KID_MAX)
		return false;
	for (size_t i = 0; i < kid.n; i++)
		if (kid.p[i] < 0x20 || kid.p[i] > 0x7e)
			return false;
	memcpy(ret_kid, kid.p, kid.n);
	ret_kid[kid.n] = '\0';
	return true;
}

enum err envelope_parse(enum job_profile profile, struct span bytes, struct envelope *ret_env)
{
	struct envelope e = { .profile = profile };

	if (bytes.n > ENVELOPE_MAX)
		return ERR_ENVELOPE_TOO_LARGE;
	if (profile == JOB_WITNESS)
		TRY(envelope_parse_witness(bytes, &e));
	else
		TRY(envelope_parse_letter(bytes, &e));
	*ret_env = e;
	return ERR_OK;
}

enum err envelope_bound(const struct envelope *e, const struct job *j)
{
	if (e->profile != j->profile)
		return ERR_ENVELOPE_BINDING;
	if (e->profile == JOB_WITNESS)
		return ERR_OK;
	if (!span_eq(e->sid, j->sid) || e->expires_s != j->expires_s || e->n_offices != j->n_offices)
		return ERR_ENVELOPE_BINDING;
	for (size_t i = 0; i < e->n_offices; i++)
		if (!span_eq(e->office[i], j->office[i]))
			return ERR_ENVELOPE_BINDING;
	return ERR_OK;
}

enum err envelope_agree(const uint8_t *secret, const uint8_t public_key[32], uint8_t ret_point[32],
			uint8_t ret_shared[32])
{
	uint8_t mine[32];
	int rc;

	if (secret != NULL)
		memcpy(mine, secret, sizeof(mine));
	else
		randombytes_buf(mine, sizeof(mine));
	rc = crypto_scalarmult(ret_shared, mine, public_key);
	if (rc == 0)
		rc = crypto_scalarmult_base(ret_point, mine);
	sodium_memzero(mine, sizeof(mine));
	return rc == 0 ? ERR_OK : ERR_ENVELOPE_POINT;
}
