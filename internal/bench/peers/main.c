// A peer: one process that uses one lock as the bench asks it to. It reads
// requests from its standard input, a line each, and answers each with one
// line of JSON. Arguments: lock, page, sysv id.
#include "peer.h"
#include "histogram.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

extern const struct lock robust, plain, readers, writers, posix_sem, sysv_plain, sysv_undo, file_lock, ofd;
const struct lock *const locks[] = {&robust, &plain, &readers, &writers, &posix_sem,
	&sysv_plain, &sysv_undo, &file_lock, &ofd, NULL};

void hold_ranges(int n);
void at_place(int n);
void among_ranges(int n);
void lock_track(int i);
void unlock_track(int i);
uint64_t ping_pong(uint32_t side);

struct page *page;
int file, sysv;
static const char *path;

uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// used is the processor time of this process so far, in ns.
static uint64_t used(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void report(uint64_t done, uint64_t began, uint64_t cpu)
{
	printf("{\"ops\":%" PRIu64 ",\"elapsed\":%" PRIu64 ",\"cpu\":%" PRIu64 "}\n", done, now() - began, used() - cpu);
}

void fail(const char *what)
{
	printf("{\"error\":\"%s: %s\"}\n", what, strerror(errno));
	exit(1);
}

static volatile uint64_t sink;

// work is the same chain of multiplications as in ../work.go.
void work(uint64_t n)
{
	uint64_t x = n;
	while (n-- > 0) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		__asm__ volatile("" : "+r"(x)); // no unrolling into a shorter chain
	}
	sink = x;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

enum { most_batches = 100000 };

// pairs measures batches of about 50 µs for so long and answers with the median.
static void pairs(const struct lock *l, uint64_t duration)
{
	static double took[most_batches];
	uint64_t batch = 1, t;
	for (;;) {
		t = now();
		l->pairs(batch);
		if (now() - t >= 50000)
			break;
		batch *= 2;
	}
	int n = 0;
	uint64_t end = now() + duration;
	do {
		t = now();
		l->pairs(batch);
		took[n++] = (double)(now() - t) / (double)batch;
	} while (n < most_batches && now() < end);
	qsort(took, n, sizeof took[0], by_value);
	printf("{\"ns\":%f,\"ops\":%" PRIu64 "}\n", took[n / 2], batch * n);
}

static void contend(const struct lock *l, uint64_t inside, uint64_t outside)
{
	uint64_t began = now(), cpu = used();
	report(l->contend(inside, outside), began, cpu);
}

static void waits(const struct lock *l, uint64_t inside, uint64_t outside)
{
	struct histogram h = {0};
	uint64_t began = now(), done = 0;
	do {
		uint64_t asked = now();
		l->lock();
		histogram_add(&h, now() - asked);
		page->counter++;
		work(inside);
		l->unlock();
		work(outside);
		done++;
	} while (!page->stop);
	printf("{\"ops\":%" PRIu64 ",\"elapsed\":%" PRIu64 ",", done, now() - began);
	histogram_print(&h);
	printf("}\n");
}

// rotate takes turns at the lock with others that sleep meanwhile, says when
// it has inherited it, and keeps it when it is to be the next victim.
static void rotate(const struct lock *l)
{
	struct timespec nap = {.tv_nsec = 100000};
	for (;;) {
		if (l->lock())
			printf("{\"say\":\"heir\",\"at\":%" PRIu64 "}\n", now());
		if (page->keep == (uint32_t)getpid()) {
			printf("{\"say\":\"kept\"}\n");
			for (;;)
				pause();
		}
		nanosleep(&nap, NULL);
		l->unlock();
		nanosleep(&nap, NULL);
	}
}

__attribute__((noreturn)) static void *idle(void *arg)
{
	(void)arg;
	for (;;)
		pause();
}

// race goes hand over hand around a ring of locks: takes the next before it
// gives back the last.
static void race(int tracks)
{
	uint64_t began = now(), cpu = used(), steps = 0;
	int i = 0;
	lock_track(0);
	do {
		int next = (i + 1) % tracks;
		lock_track(next);
		unlock_track(i);
		i = next;
		steps++;
	} while (!page->stop);
	unlock_track(i);
	report(steps, began, cpu);
}

// open_once is what a program does before its first lock when the lock is
// there already.
static void openings(uint64_t duration)
{
	static double took[most_batches];
	int n = 0;
	uint64_t end = now() + duration;
	do {
		uint64_t t = now();
		int fd = open(path, O_RDWR | O_CLOEXEC);
		struct page *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (fd < 0 || p == MAP_FAILED)
			fail("open");
		pthread_mutex_lock(&p->mutex);
		took[n++] = (double)(now() - t);
		pthread_mutex_unlock(&p->mutex);
		munmap(p, 4096);
		close(fd);
	} while (n < most_batches && now() < end);
	qsort(took, n, sizeof took[0], by_value);
	printf("{\"ns\":%f,\"ops\":%d}\n", took[n / 2], n);
}

// semaphores makes named semaphores, new ones each time.
static void semaphores(uint64_t duration)
{
	static double took[most_batches];
	int n = 0;
	uint64_t end = now() + duration;
	do {
		char name[64];
		snprintf(name, sizeof name, "/lockd-bench-%d-%d", getpid(), n);
		uint64_t t = now();
		sem_t *s = sem_open(name, O_CREAT | O_EXCL, 0600, 1);
		if (s == SEM_FAILED)
			fail("sem_open");
		sem_wait(s);
		sem_post(s);
		took[n++] = (double)(now() - t);
		sem_close(s);
		sem_unlink(name);
	} while (n < most_batches && now() < end);
	qsort(took, n, sizeof took[0], by_value);
	printf("{\"ns\":%f,\"ops\":%d}\n", took[n / 2], n);
}

static void pin(int cpu, int idle)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	struct sched_param none = {0};
	if (sched_setaffinity(0, sizeof set, &set) != 0 || (idle && sched_setscheduler(0, SCHED_IDLE, &none) != 0))
		fail("pin");
}

// await_end waits until the process of this pid has ended, by its pidfd.
static void await_end(int pid)
{
	struct pollfd p = {.fd = syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
	if (p.fd < 0)
		fail("pidfd_open");
	printf("{\"say\":\"watching\"}\n");
	poll(&p, 1, -1);
	uint64_t at = now();
	close(p.fd);
	printf("{\"at\":%" PRIu64 "}\n", at);
}

static void answer(const struct lock *l, const char *line)
{
	uint64_t a, b;
	int i, k;
	if (sscanf(line, "pairs %" SCNu64, &a) == 1)
		pairs(l, a);
	else if (sscanf(line, "contend %" SCNu64 " %" SCNu64, &a, &b) == 2)
		contend(l, a, b);
	else if (sscanf(line, "waits %" SCNu64 " %" SCNu64, &a, &b) == 2)
		waits(l, a, b);
	else if (sscanf(line, "pin %d %d", &i, &k) == 2) {
		pin(i, k);
		printf("{\"say\":\"pinned\"}\n");
	} else if (sscanf(line, "pingpong %d", &i) == 1) {
		uint64_t began = now(), trips = ping_pong(i);
		printf("{\"ops\":%" PRIu64 ",\"elapsed\":%" PRIu64 "}\n", trips, now() - began);
	} else if (sscanf(line, "hold-ranges %d", &i) == 1) {
		hold_ranges(i);
		printf("{\"say\":\"held\"}\n");
	} else if (sscanf(line, "at-place %d", &i) == 1) {
		at_place(i);
		printf("{\"say\":\"there\"}\n");
	} else if (sscanf(line, "among-ranges %d", &i) == 1) {
		among_ranges(i);
		printf("{\"say\":\"there\"}\n");
	} else if (sscanf(line, "race %d", &i) == 1)
		race(i);
	else if (sscanf(line, "openings %" SCNu64, &a) == 1)
		openings(a);
	else if (sscanf(line, "semaphores %" SCNu64, &a) == 1)
		semaphores(a);
	else if (sscanf(line, "await-end %d", &i) == 1)
		await_end(i);
	else if (sscanf(line, "slay %d", &i) == 1) {
		uint64_t at = now();
		l->unlock();
		kill(i, SIGKILL);
		printf("{\"at\":%" PRIu64 "}\n", at);
	} else if (strcmp(line, "hello\n") == 0) {
		printf("{\"say\":\"ready\"}\n");
	} else if (strcmp(line, "read\n") == 0) {
		uint64_t began = now(), cpu = used(), done = 0;
		do {
			l->pairs(16);
			done += 16;
		} while (!atomic_load_explicit(&page->stop, memory_order_relaxed));
		report(done, began, cpu);
	} else if (strcmp(line, "lock\n") == 0) {
		l->lock();
		printf("{\"say\":\"held\"}\n");
	} else if (strcmp(line, "wait\n") == 0) {
		int dead = l->lock();
		uint64_t at = now();
		l->unlock();
		printf("{\"at\":%" PRIu64 ",\"dead\":%d}\n", at, dead);
	} else if (strcmp(line, "rotate\n") == 0) {
		pthread_t t;
		for (i = 0; i < 3; i++)
			pthread_create(&t, NULL, idle, NULL);
		rotate(l);
	} else if (strcmp(line, "init\n") == 0) {
		l->init();
		// Where a victim written in Go finds what it needs of a robust mutex.
#ifdef __GLIBC__
		printf("{\"say\":\"ready\",\"layout\":[%zu,%zu,%zu,%zu]}\n", offsetof(pthread_mutex_t, __data.__lock),
			offsetof(pthread_mutex_t, __data.__owner), offsetof(pthread_mutex_t, __data.__nusers),
			offsetof(pthread_mutex_t, __data.__list.__next));
#else
		printf("{\"say\":\"ready\"}\n");
#endif
	} else {
		errno = EINVAL;
		fail(line);
	}
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 4)
		fail("arguments");
	path = argv[2];
	int fd = open(path, O_RDWR | O_CLOEXEC);
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || page == MAP_FAILED)
		fail("map the page");
	char beside[4096];
	snprintf(beside, sizeof beside, "%s.lock", path);
	file = open(beside, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (file < 0)
		fail("open the file");
	sysv = atoi(argv[3]);
	const struct lock *l = NULL;
	for (int i = 0; locks[i] != NULL; i++)
		if (strcmp(locks[i]->name, argv[1]) == 0)
			l = locks[i];
	if (l == NULL)
		fail("no such lock");
	char line[256];
	while (fgets(line, sizeof line, stdin) != NULL)
		answer(l, line);
	return 0;
}
