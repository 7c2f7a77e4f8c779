// The locks of POSIX threads, shared between processes, and POSIX semaphores.
#include "peer.h"
#include <errno.h>

static void init_mutex(int robust)
{
	pthread_mutexattr_t attr;
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	if (robust)
		pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	if (pthread_mutex_init(&page->mutex, &attr) != 0)
		fail("pthread_mutex_init");
}

static void init_plain(void) { init_mutex(0); }
static void init_robust(void) { init_mutex(1); }

static void init_rwlock(void)
{
	pthread_rwlockattr_t attr;
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	if (pthread_rwlock_init(&page->rwlock, &attr) != 0)
		fail("pthread_rwlock_init");
}

static void init_sem(void)
{
	if (sem_init(&page->sem, 1, 1) != 0)
		fail("sem_init");
}

static inline int lock_robust(void)
{
	int e = pthread_mutex_lock(&page->mutex);
	if (e == 0)
		return 0;
	if (e != EOWNERDEAD)
		fail("pthread_mutex_lock");
	pthread_mutex_consistent(&page->mutex);
	return 1;
}

static inline int lock_sem(void)
{
	while (sem_wait(&page->sem) != 0)
		if (errno != EINTR)
			fail("sem_wait");
	return 0;
}

DEFINE_LOCK(robust, "robust", init_robust, lock_robust(), pthread_mutex_unlock(&page->mutex))
DEFINE_LOCK(plain, "process-shared", init_plain, pthread_mutex_lock(&page->mutex), pthread_mutex_unlock(&page->mutex))
DEFINE_LOCK(readers, "rwlock-read", init_rwlock, pthread_rwlock_rdlock(&page->rwlock), pthread_rwlock_unlock(&page->rwlock))
DEFINE_LOCK(writers, "rwlock-write", init_rwlock, pthread_rwlock_wrlock(&page->rwlock), pthread_rwlock_unlock(&page->rwlock))
DEFINE_LOCK(posix_sem, "posix-sem", init_sem, lock_sem(), sem_post(&page->sem))
