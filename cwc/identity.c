/* SPDX-License-Identifier: Apache-2.0 */
#include "cwc/cwc.h"

#include <sodium.h>

#include "worker/base/text.h"

#define HASH_SIZE 32
#define ID_BYTES  16
#define HOUR_S    3600
#define DAY_S     86400

/* The length goes first, so that no two lists of parts read the same. */
static void hash_part(crypto_generichash_state *st, struct span part)
{
	BUG_ON(part.n > UINT8_MAX);
	uint8_t n = (uint8_t)part.n;

	crypto_generichash_update(st, &n, 1);
	crypto_generichash_update(st, part.p, part.n);
}

void cwc_delivery_id(struct span environment, struct span sid, struct span office, char ret_id[CWC_DELIVERY_ID_SIZE])
{
	static const char key[] = "cwc-delivery-id-v1";
	crypto_generichash_state st;
	uint8_t hash[HASH_SIZE];

	crypto_generichash_init(&st, (const uint8_t *)key, sizeof(key) - 1, sizeof(hash));
	hash_part(&st, environment);
	hash_part(&st, sid);
	hash_part(&st, office);
	crypto_generichash_final(&st, hash, sizeof(hash));
	text_hex(span_of(hash, ID_BYTES), ret_id);
}

static int64_t day_of(int64_t unix_s)
{
	return unix_s / DAY_S - (unix_s % DAY_S < 0);
}

/* The first Sunday on or after a date, in days since 1970-01-01 (a Thursday). */
static int64_t sunday_from(int year, unsigned month, unsigned day)
{
	int64_t days = text_days(year, month, day);
	int64_t weekday = ((days + 4) % 7 + 7) % 7;

	return days + (7 - weekday) % 7;
}

/* 15 U.S.C. 260a: from 2:00 standard time on the second Sunday of March to 2:00 daylight saving
 * time on the first Sunday of November. */
int cwc_eastern_offset(int64_t unix_s)
{
	int year;
	unsigned month, day;

	text_civil(day_of(unix_s), &year, &month, &day);
	int64_t begin = sunday_from(year, 3, 8) * DAY_S + (int64_t)(2 + 5) * HOUR_S;
	int64_t end = sunday_from(year, 11, 1) * DAY_S + (int64_t)(2 + 4) * HOUR_S;

	return unix_s >= begin && unix_s < end ? -4 * HOUR_S : -5 * HOUR_S;
}

void cwc_eastern_date(int64_t unix_s, char ret_date[CWC_DATE_SIZE])
{
	int year;
	unsigned month, day;

	text_civil(day_of(unix_s + cwc_eastern_offset(unix_s)), &year, &month, &day);
	BUG_ON(year < 0 || year > 9999);
	unsigned number = (unsigned)year * 10000 + month * 100 + day;

	for (size_t i = CWC_DATE_SIZE - 1; i-- > 0; number /= 10)
		ret_date[i] = (char)('0' + number % 10);
	ret_date[CWC_DATE_SIZE - 1] = '\0';
}
