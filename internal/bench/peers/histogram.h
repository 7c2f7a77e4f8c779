// A histogram of nanoseconds: 64 buckets for each power of two, as in
// ../histogram.go, and the exact largest.
#pragma once
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>

struct histogram {
	uint64_t count[3840], largest;
};

static inline void histogram_add(struct histogram *h, uint64_t ns)
{
	int bits = ns == 0 ? 0 : 64 - __builtin_clzll(ns);
	int shift = bits > 7 ? bits - 7 : 0;
	h->count[shift * 64 + (int)(ns >> shift)]++;
	if (ns > h->largest)
		h->largest = ns;
}

static inline void histogram_print(const struct histogram *h)
{
	const char *comma = "";
	printf("\"largest\":%" PRIu64 ",\"waits\":[", h->largest);
	for (int i = 0; i < 3840; i++)
		if (h->count[i] > 0) {
			printf("%s[%d,%" PRIu64 "]", comma, i, h->count[i]);
			comma = ",";
		}
	printf("]");
}
