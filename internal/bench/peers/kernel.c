// The locks that live in the kernel: System V semaphores, flock, ranges.
#include "peer.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/sem.h>
#include <unistd.h>

static void init_sysv(void)
{
	union semun { int val; } one = {.val = 1};
	if (semctl(sysv, 0, SETVAL, one) != 0)
		fail("semctl");
}

static void init_none(void) {}

static inline int semop1(int by, int flag)
{
	struct sembuf op = {.sem_num = 0, .sem_op = by, .sem_flg = flag};
	while (semop(sysv, &op, 1) != 0)
		if (errno != EINTR)
			fail("semop");
	return 0;
}

static inline int do_flock(int how)
{
	while (flock(file, how) != 0)
		if (errno != EINTR)
			fail("flock");
	return 0;
}

static inline int set_range(int command, int type, off_t start)
{
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = 1};
	while (fcntl(file, command, &l) != 0)
		if (errno != EINTR)
			fail("fcntl");
	return 0;
}

// The places that the pairs are about, in turn; hold_ranges takes even bytes, so
// that they neither merge nor overlap with these.
enum { places_drawn = 4096 };
static off_t places[places_drawn] = {1};
static unsigned drawn = 1, turn;

static inline off_t next_place(void)
{
	if (++turn >= drawn)
		turn = 0;
	return places[turn];
}

void hold_ranges(int n)
{
	for (int i = 0; i < n; i++)
		set_range(F_OFD_SETLK, F_WRLCK, 2 * (off_t)i);
}

void at_place(int n) { places[0] = 2 * (off_t)n + 1; }

// among_ranges draws random places between n ranges that others hold.
void among_ranges(int n)
{
	for (int i = 0; i < places_drawn; i++)
		places[i] = 2 * (off_t)(random() % (n + 1)) + 1;
	drawn = places_drawn;
}

void lock_track(int i) { set_range(F_SETLKW, F_WRLCK, i); }
void unlock_track(int i) { set_range(F_SETLK, F_UNLCK, i); }

DEFINE_LOCK(sysv_plain, "sysv", init_sysv, semop1(-1, 0), semop1(1, 0))
DEFINE_LOCK(sysv_undo, "sysv-undo", init_sysv, semop1(-1, SEM_UNDO), semop1(1, SEM_UNDO))
DEFINE_LOCK(file_lock, "flock", init_none, do_flock(LOCK_EX), do_flock(LOCK_UN))
DEFINE_LOCK(ofd, "ofd", init_none, set_range(F_OFD_SETLKW, F_WRLCK, next_place()), set_range(F_OFD_SETLK, F_UNLCK, places[turn]))
