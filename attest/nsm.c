/* SPDX-License-Identifier: Apache-2.0 */
#include "attest/nsm.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "attest/document.h"
#include "attest/hypervisor_cbor.h"

/* --- the device ------------------------------------------------------------------------------- */

/* include/uapi/linux/nsm.h, which Debian's headers do not have yet. */
struct nsm_iovec {
	uint64_t addr, len;
};

struct nsm_raw {
	struct nsm_iovec request, response;
};

_Static_assert(sizeof(struct nsm_iovec) == 16, "the kernel's struct nsm_iovec");
_Static_assert(sizeof(struct nsm_raw) == 32, "the kernel's struct nsm_raw");

#define NSM_IOCTL_RAW _IOWR(0x0A, 0x0, struct nsm_raw)
_Static_assert(NSM_IOCTL_RAW == 0xC0200A00, "the kernel's number");

#define INTERRUPTED_MAX 8

static enum err errno_err(int e)
{
	switch (e) {
	case EMSGSIZE:
		return ERR_LIMIT;
	case ETIMEDOUT:
		return ERR_TIMEOUT;
	default: /* EIO, EINTR, ENODATA, ENODEV ... */
		return ERR_IO;
	}
}

enum err nsm_open(const char *path, struct nsm *ret_nsm)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return errno == ENOENT || errno == ENODEV || errno == ENXIO ? ERR_NOT_FOUND : ERR_IO;
	*ret_nsm = (struct nsm){ .fd = fd };
	return ERR_OK;
}

void nsm_close(struct nsm *n)
{
	if (n == NULL || n->exchange != NULL || n->fd < 0)
		return;
	(void)close(n->fd);
	n->fd = -1;
}

/* The driver cuts an answer off at the size that it was offered and does not say so: hence always NSM_ANSWER_MAX. The
 * length that it writes back is the answer's. `again`: the request may reach the device twice. (Today's driver does not
 * let signals in, once it has the request.) */
static enum err device_exchange(int fd, struct span request, bool again, void *answer, size_t *ret_n)
{
	struct nsm_raw raw;
	int r, tries = 0;

	if (fd < 0)
		return ERR_IO;
	do {
		raw = (struct nsm_raw){ .request = { (uintptr_t)request.p, request.n },
					.response = { (uintptr_t)answer, NSM_ANSWER_MAX } };
		r = ioctl(fd, NSM_IOCTL_RAW, &raw);
	} while (r < 0 && errno == EINTR && again && ++tries < INTERRUPTED_MAX);
	if (r < 0)
		return errno_err(errno);
	*ret_n = raw.response.len <= NSM_ANSWER_MAX ? (size_t)raw.response.len : SIZE_MAX;
	return ERR_OK;
}

/* --- one call --------------------------------------------------------------------------------- */

static const char *const error_text[] = {
#define ERROR_ROW(e, text) [NSM_##e] = (text),
	NSM_ERRORS(ERROR_ROW)
#undef ERROR_ROW
};

const char *nsm_error_text(enum nsm_error e)
{
	if (e == NSM_NONE)
		return "none";
	return (unsigned)e < sizeof(error_text) / sizeof(error_text[0]) ? error_text[e] : "unknown";
}

/* A request and its answer. Answers may be entropy: they are wiped. */
struct call {
	struct nsm *n;
	bool again; /* doing it twice does no more than doing it once */
	struct buf request, answer;
	struct cbor c; /* of the answer */
};

static struct call call_start(struct nsm *n)
{
	struct call k = { .n = n, .again = true };

	n->error = NSM_NONE;
	buf_init(&k.request, NSM_REQUEST_MAX);
	buf_init(&k.answer, NSM_ANSWER_MAX);
	return k;
}

/* The request of a command with one member. */
static struct call call_number(struct nsm *n, const char *command, const char *member, uint64_t v)
{
	struct call k = call_start(n);

	cbor_add_map(&k.request, 1);
	cbor_add_str(&k.request, command);
	cbor_add_map(&k.request, 1);
	cbor_add_str(&k.request, member);
	cbor_add_uint(&k.request, v);
	return k;
}

static void call_end(struct call *k)
{
	buf_clear(&k->request);
	buf_clear(&k->answer);
}

static enum err call_exchange(struct call *k)
{
	const struct nsm *n = k->n;
	uint8_t *room = buf_room(&k->answer, NSM_ANSWER_MAX);
	size_t size = 0;

	TRY(buf_ok(&k->request));
	BUG_ON(room == NULL);
	if (n->exchange != NULL)
		TRY(n->exchange(n->arg, span_buf(&k->request), room, NSM_ANSWER_MAX, &size));
	else
		TRY(device_exchange(n->fd, span_buf(&k->request), k->again, room, &size));
	if (size > NSM_ANSWER_MAX)
		return ERR_PROTOCOL;
	buf_grew(&k->answer, size);
	return ERR_OK;
}

/* --- answers ---------------------------------------------------------------------------------- */

/* A member of an answer's map. */
struct member {
	const char *name;
	enum cbor_type type; /* CBOR_ARRAY: of numbers below 32, each once, to `number` as a set */
	uint64_t min, max;   /* of a number, or of the size of a string */
	uint64_t number;
	struct span string; /* points into the answer */
};

static struct member member(const char *name, enum cbor_type type, uint64_t min, uint64_t max)
{
	return (struct member){ .name = name, .type = type, .min = min, .max = max };
}

static enum nsm_error error_of(struct span text)
{
	for (unsigned e = NSM_NONE + 1; e < NSM_OTHER; e++)
		if (span_eq_str(text, error_text[e]))
			return (enum nsm_error)e;
	return NSM_OTHER;
}

static void read_set(struct cbor *c, struct member *m)
{
	struct hypervisor_items k = hypervisor_read_array(c);

	m->number = 0;
	while (hypervisor_next(c, &k)) {
		uint64_t i = cbor_read_uint(c);

		if (i >= 32 || (m->number & UINT64_C(1) << i) != 0)
			cbor_fail(c);
		else
			m->number |= UINT64_C(1) << i;
	}
}

static void read_member(struct cbor *c, struct member *m)
{
	uint64_t measure;

	if (m->type == CBOR_ARRAY) {
		read_set(c, m);
		return;
	}
	if (m->type == CBOR_BOOL) {
		m->number = cbor_read_bool(c);
		return;
	}
	if (m->type == CBOR_UINT) {
		m->number = measure = cbor_read_uint(c);
	} else {
		m->string = m->type == CBOR_TEXT ? cbor_read_text(c, SIZE_MAX) : cbor_read_bytes(c, SIZE_MAX);
		measure = m->string.n;
	}
	if (measure < m->min || measure > m->max)
		cbor_fail(c);
}

/* Each of the members, once. Others are passed over when `open` says so: a newer device may describe more of itself. */
static void read_members(struct cbor *c, struct member *m, size_t n, bool open)
{
	struct hypervisor_items k = hypervisor_read_map(c);
	unsigned seen = 0;

	while (hypervisor_next(c, &k)) {
		struct span key = cbor_read_text(c, SIZE_MAX);
		size_t i = 0;

		while (i < n && !span_eq_str(key, m[i].name))
			i++;
		if (i < n && (seen & 1U << i) == 0) {
			seen |= 1U << i;
			read_member(c, &m[i]);
		} else if (i == n && open) {
			hypervisor_skip(c);
		} else {
			cbor_fail(c);
		}
	}
	if (seen != (1U << n) - 1)
		cbor_fail(c);
}

/* {"Error": text}, read up to the value. Only an answer that is whole says anything. */
static void read_error(struct call *k, struct hypervisor_items *outer)
{
	struct span text = cbor_read_text(&k->c, SIZE_MAX);

	if (!hypervisor_next(&k->c, outer) && cbor_done(&k->c) == ERR_OK)
		k->n->error = error_of(text);
}

/* {command: {members}}, or {"Error": text}. A command without members has no such answer. */
static enum err read_tagged(struct call *k, const char *command, struct member *m, size_t n, bool open)
{
	struct hypervisor_items outer = hypervisor_read_map(&k->c);
	struct span tag;

	if (!hypervisor_next(&k->c, &outer))
		return ERR_PROTOCOL;
	tag = cbor_read_text(&k->c, SIZE_MAX);
	if (span_eq(tag, span_lit("Error"))) {
		read_error(k, &outer);
		return ERR_PROTOCOL;
	}
	if (n == 0 || !span_eq_str(tag, command))
		return ERR_PROTOCOL;
	read_members(&k->c, m, n, open);
	if (hypervisor_next(&k->c, &outer))
		return ERR_PROTOCOL;
	return cbor_done(&k->c) == ERR_OK ? ERR_OK : ERR_PROTOCOL;
}

/* Sends the request and reads the answer into `m`. A command without members is answered by its name alone. */
static enum err call_do(struct call *k, const char *command, struct member *m, size_t n, bool open)
{
	TRY(call_exchange(k));
	cbor_start(&k->c, span_buf(&k->answer));
	if (n > 0 || cbor_peek(&k->c) != CBOR_TEXT)
		return read_tagged(k, command, m, n, open);
	if (!span_eq_str(cbor_read_text(&k->c, SIZE_MAX), command))
		return ERR_PROTOCOL;
	return cbor_done(&k->c) == ERR_OK ? ERR_OK : ERR_PROTOCOL;
}

/* --- commands --------------------------------------------------------------------------------- */

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Printable ASCII, so that it can be shown and has no NUL. */
static bool printable(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 0x21 || s.p[i] > 0x7e)
			return false;
	return true;
}

static enum err describe(struct call *k, struct nsm_description *ret_d)
{
	enum { DIGEST, MAX_PCRS, MODULE_ID, LOCKED, MAJOR, MINOR, PATCH };
	struct nsm_description d = { 0 };
	struct member m[] = {
		[DIGEST] = member("digest", CBOR_TEXT, 6, 6),
		[MAX_PCRS] = member("max_pcrs", CBOR_UINT, 1, 32),
		[MODULE_ID] = member("module_id", CBOR_TEXT, 1, sizeof(d.module_id) - 1),
		[LOCKED] = member("locked_pcrs", CBOR_ARRAY, 0, 0),
		[MAJOR] = member("version_major", CBOR_UINT, 0, UINT16_MAX),
		[MINOR] = member("version_minor", CBOR_UINT, 0, UINT16_MAX),
		[PATCH] = member("version_patch", CBOR_UINT, 0, UINT16_MAX),
	};

	TRY(call_do(k, "DescribeNSM", m, COUNT(m), true));
	if (!span_eq(m[DIGEST].string, span_lit("SHA384")) || !printable(m[MODULE_ID].string) ||
	    m[LOCKED].number >> m[MAX_PCRS].number != 0)
		return ERR_PROTOCOL;
	d.version_major = (unsigned)m[MAJOR].number;
	d.version_minor = (unsigned)m[MINOR].number;
	d.version_patch = (unsigned)m[PATCH].number;
	d.max_pcrs = (unsigned)m[MAX_PCRS].number;
	d.locked = (uint32_t)m[LOCKED].number;
	memcpy(d.module_id, m[MODULE_ID].string.p, m[MODULE_ID].string.n);
	*ret_d = d;
	return ERR_OK;
}

enum err nsm_describe(struct nsm *n, struct nsm_description *ret_description)
{
	struct call k = call_start(n);
	enum err e;

	cbor_add_str(&k.request, "DescribeNSM");
	e = describe(&k, ret_description);
	call_end(&k);
	return e;
}

enum err nsm_describe_pcr(struct nsm *n, unsigned index, bool *ret_locked, uint8_t ret_pcr[NSM_PCR_SIZE])
{
	struct member m[] = { member("lock", CBOR_BOOL, 0, 0), member("data", CBOR_BYTES, NSM_PCR_SIZE, NSM_PCR_SIZE) };
	struct call k = call_number(n, "DescribePCR", "index", index);
	enum err e = call_do(&k, "DescribePCR", m, COUNT(m), false);

	if (e == ERR_OK) {
		*ret_locked = m[0].number != 0;
		memcpy(ret_pcr, m[1].string.p, NSM_PCR_SIZE);
	}
	call_end(&k);
	return e;
}

enum err nsm_extend_pcr(struct nsm *n, unsigned index, struct span data, uint8_t ret_pcr[NSM_PCR_SIZE])
{
	struct member m[] = { member("data", CBOR_BYTES, NSM_PCR_SIZE, NSM_PCR_SIZE) };
	struct call k = call_start(n);
	enum err e;

	k.again = false;
	cbor_add_map(&k.request, 1);
	cbor_add_str(&k.request, "ExtendPCR");
	cbor_add_map(&k.request, 2);
	cbor_add_str(&k.request, "index");
	cbor_add_uint(&k.request, index);
	cbor_add_str(&k.request, "data");
	cbor_add_bytes(&k.request, data);
	e = call_do(&k, "ExtendPCR", m, COUNT(m), false);
	if (e == ERR_OK)
		memcpy(ret_pcr, m[0].string.p, NSM_PCR_SIZE);
	call_end(&k);
	return e;
}

enum err nsm_lock_pcr(struct nsm *n, unsigned index)
{
	struct call k = call_number(n, "LockPCR", "index", index);
	enum err e;

	k.again = false; /* a second one finds it locked, which is an error */
	e = call_do(&k, "LockPCR", NULL, 0, false);
	call_end(&k);
	return e;
}

enum err nsm_lock_pcrs(struct nsm *n, unsigned range)
{
	struct call k = call_number(n, "LockPCRs", "range", range);
	enum err e = call_do(&k, "LockPCRs", NULL, 0, false);

	call_end(&k);
	return e;
}

enum err nsm_random(struct nsm *n, uint8_t ret_bytes[NSM_RANDOM_MAX], size_t *ret_n)
{
	struct member m[] = { member("random", CBOR_BYTES, 1, NSM_RANDOM_MAX) };
	struct call k = call_start(n);
	enum err e;

	cbor_add_str(&k.request, "GetRandom");
	e = call_do(&k, "GetRandom", m, COUNT(m), false);
	if (e == ERR_OK) {
		memcpy(ret_bytes, m[0].string.p, m[0].string.n);
		*ret_n = m[0].string.n;
	}
	call_end(&k);
	return e;
}

/* null where it is absent: what AWS's own library sends. */
static void add_field(struct buf *b, const char *name, const struct span *field)
{
	cbor_add_str(b, name);
	if (field == NULL)
		cbor_add_null(b);
	else
		cbor_add_bytes(b, *field);
}

/* The device takes more than AWS's text allows, and less: it was seen to take 1025 bytes, and nobody has seen it refuse
 * an empty public_key. A verifier refuses the document of either, and this is where that can still be mended. */
static bool field_fits(const struct span *field, size_t min, size_t max)
{
	return field == NULL || (field->n >= min && field->n <= max);
}

enum err nsm_attest(struct nsm *n, const struct span *user_data, const struct span *nonce,
		    const struct span *public_key, struct buf *out)
{
	struct member m[] = { member("document", CBOR_BYTES, 1, ATTEST_DOCUMENT_MAX) };
	struct call k = call_start(n);
	enum err e = ERR_LIMIT;

	if (field_fits(user_data, 0, ATTEST_FIELD_MAX) && field_fits(nonce, 0, ATTEST_FIELD_MAX) &&
	    field_fits(public_key, 1, ATTEST_KEY_MAX)) {
		cbor_add_map(&k.request, 1);
		cbor_add_str(&k.request, "Attestation");
		cbor_add_map(&k.request, 3);
		add_field(&k.request, "user_data", user_data);
		add_field(&k.request, "nonce", nonce);
		add_field(&k.request, "public_key", public_key);
		e = call_do(&k, "Attestation", m, COUNT(m), false);
	}
	if (e == ERR_OK) {
		buf_add_span(out, m[0].string);
		e = buf_ok(out);
	}
	call_end(&k);
	return e;
}
