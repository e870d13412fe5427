/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target without libFuzzer, so that gcc can build it with its sanitizers:
 *
 *	driver SEED COUNT FILES...
 *
 * Every file is given to the target as it is, then COUNT times one of them, changed at random.
 * The same seed changes them in the same way. Each input stands in memory of exactly its size,
 * so that a read behind it is seen. When a sanitizer stops the program, the input at fault is in
 * the file that FUZZ_LAST names (if it is set).
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_MAX   131072
#define CHANGES_MAX 8
#define FILES_MAX   4096
#define POOL_MAX    (32U << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	uint8_t *p;
	size_t n;
};

static struct input inputs[FILES_MAX];
static size_t n_inputs;

/* splitmix64: the same sequence everywhere, which rand() does not promise. */
static uint64_t next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15U;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
	z = (z ^ z >> 27) * 0x94d049bb133111ebU;
	return z ^ z >> 31;
}

static size_t below(uint64_t *state, size_t n)
{
	return n == 0 ? 0 : (size_t)(next(state) % n);
}

static void *must_have(void *p)
{
	if (p == NULL) {
		fputs("out of memory\n", stderr);
		abort();
	}
	return p;
}

static void load(const char *path, struct input *ret_input)
{
	static uint8_t pool[POOL_MAX];
	static size_t used;
	FILE *f = fopen(path, "rb");

	if (f == NULL || POOL_MAX - used < INPUT_MAX) {
		fprintf(stderr, "%s: cannot be read, or too much in all\n", path);
		exit(2);
	}
	ret_input->p = pool + used;
	ret_input->n = fread(ret_input->p, 1, INPUT_MAX, f);
	used += ret_input->n;
	fclose(f);
}

static void keep(const struct input *in)
{
	const char *path = getenv("FUZZ_LAST");
	FILE *f = path == NULL ? NULL : fopen(path, "wb");

	if (f == NULL)
		return;
	fwrite(in->p, 1, in->n, f);
	fclose(f);
}

static void run(const struct input *in)
{
	uint8_t *exact = must_have(malloc(in->n > 0 ? in->n : 1));

	keep(in);
	if (in->n > 0)
		memcpy(exact, in->p, in->n);
	(void)LLVMFuzzerTestOneInput(exact, in->n);
	free(exact);
}

/* Values at which lengths and heads change their meaning. */
static uint8_t edge(uint64_t *state)
{
	static const uint8_t edges[] = { 0x00, 0x01, 0x17, 0x18, 0x1b, 0x3b, 0x5b, 0x5f, 0x7b, 0x7f,
					 0x80, 0x9b, 0x9f, 0xa0, 0xbb, 0xbf, 0xd2, 0xf6, 0xfb, 0xff };

	return edges[below(state, sizeof(edges))];
}

static void remove_bytes(uint64_t *state, struct input *in)
{
	size_t at = below(state, in->n), n = 1 + below(state, in->n - at < 16 ? in->n - at : 16);

	if (n > in->n - at)
		n = in->n - at;
	memmove(in->p + at, in->p + at + n, in->n - at - n);
	in->n -= n;
}

/* Copies a piece of `other` to a random place of `in`. */
static void insert_bytes(uint64_t *state, struct input *in, const struct input *other)
{
	size_t from = below(state, other->n), n = 1 + below(state, 16), at = below(state, in->n + 1);

	if (n > other->n - from)
		n = other->n - from;
	if (n > INPUT_MAX - in->n)
		return;
	memmove(in->p + at + n, in->p + at, in->n - at);
	memcpy(in->p + at, other->p + from, n);
	in->n += n;
}

static void change(uint64_t *state, struct input *in, const struct input *other)
{
	size_t at = below(state, in->n);

	if (in->n == 0) {
		insert_bytes(state, in, other);
		return;
	}
	switch (next(state) % 6) {
	case 0:
		in->p[at] ^= (uint8_t)(1U << next(state) % 8);
		break;
	case 1:
		in->p[at] = (uint8_t)next(state);
		break;
	case 2:
		in->p[at] = edge(state);
		break;
	case 3:
		in->n = at;
		break;
	case 4:
		remove_bytes(state, in);
		break;
	default:
		insert_bytes(state, in, other);
		break;
	}
}

static void run_changed(uint64_t *state, struct input *work)
{
	const struct input *in = &inputs[below(state, n_inputs)];
	size_t changes = 1 + below(state, CHANGES_MAX);

	memcpy(work->p, in->p, in->n);
	work->n = in->n;
	for (size_t i = 0; i < changes; i++)
		change(state, work, &inputs[below(state, n_inputs)]);
	run(work);
}

int main(int argc, char **argv)
{
	static uint8_t memory[INPUT_MAX];
	struct input work = { .p = memory };
	uint64_t state, count;

	if (argc < 4 || argc - 3 > FILES_MAX) {
		fprintf(stderr, "usage: %s SEED COUNT FILES...\n", argv[0]);
		return 2;
	}
	state = strtoull(argv[1], NULL, 10);
	count = strtoull(argv[2], NULL, 10);
	n_inputs = (size_t)argc - 3;
	for (size_t i = 0; i < n_inputs; i++) {
		load(argv[3 + i], &inputs[i]);
		run(&inputs[i]);
	}
	for (uint64_t i = 0; i < count; i++)
		run_changed(&state, &work);
	printf("%zu files, %llu changed inputs\n", n_inputs, (unsigned long long)count);
	return 0;
}
