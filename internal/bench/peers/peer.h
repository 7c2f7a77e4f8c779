// What the peers in C share: the page that all processes of one contender map,
// and how a lock is described. The page's layout is also in ../page.go.
#pragma once
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct page {
	_Atomic uint32_t stop;           // set by the bench to end a round
	char a[60];
	volatile uint64_t counter;       // changed inside the section, without atomics
	char b[56];
	_Atomic uint32_t keep;           // the pid that is to hold the lock until it is killed
	char c[60];
	_Atomic uint32_t turn;           // whose turn the ping-pong is
	char d[60];
	pthread_mutex_t mutex;
	char e[128 - sizeof(pthread_mutex_t)];
	pthread_rwlock_t rwlock;
	char f[128 - sizeof(pthread_rwlock_t)];
	sem_t sem;
};

_Static_assert(offsetof(struct page, counter) == 64, "page.go says 64");
_Static_assert(offsetof(struct page, keep) == 128, "page.go says 128");
_Static_assert(offsetof(struct page, turn) == 192, "page.go says 192");
_Static_assert(offsetof(struct page, mutex) == 256, "page.go says 256");

extern struct page *page;
extern int file;                     // a description of its own of the file beside the page
extern int sysv;                     // a System V semaphore set

struct lock {
	const char *name;
	void (*init)(void);              // by one process, before the others open
	int (*lock)(void);               // nonzero: the last owner died
	void (*unlock)(void);
	void (*pairs)(uint64_t n);
	uint64_t (*contend)(uint64_t inside, uint64_t outside);
};

extern const struct lock *const locks[];

uint64_t now(void);
void work(uint64_t n);
void fail(const char *what);

// DEFINE_LOCK makes the loops for a lock, so that its calls are direct ones in
// all that is timed closely.
#define DEFINE_LOCK(id, text, INIT, LOCK, UNLOCK)                               \
	static int id##_lock(void) { return LOCK; }                                  \
	static void id##_unlock(void) { UNLOCK; }                                    \
	static void id##_pairs(uint64_t n)                                           \
	{                                                                            \
		while (n-- > 0) {                                                    \
			LOCK;                                                        \
			UNLOCK;                                                      \
		}                                                                    \
	}                                                                            \
	static uint64_t id##_contend(uint64_t inside, uint64_t outside)              \
	{                                                                            \
		uint64_t done = 0;                                                   \
		do {                                                                 \
			LOCK;                                                        \
			page->counter++;                                             \
			work(inside);                                                \
			UNLOCK;                                                      \
			work(outside);                                               \
			done++;                                                      \
		} while (!atomic_load_explicit(&page->stop, memory_order_relaxed));  \
		return done;                                                         \
	}                                                                            \
	const struct lock id = {text, INIT, id##_lock, id##_unlock, id##_pairs, id##_contend};
