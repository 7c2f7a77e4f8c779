// Two processes that wake each other by futex, in turns.
#include "peer.h"
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

uint64_t ping_pong(uint32_t side)
{
	uint64_t trips = 0;
	for (;;) {
		uint32_t turn;
		while ((turn = page->turn) != side)
			syscall(SYS_futex, &page->turn, FUTEX_WAIT, turn, NULL, NULL, 0);
		int stop = page->stop;
		page->turn = 1 - side;
		syscall(SYS_futex, &page->turn, FUTEX_WAKE, 1, NULL, NULL, 0);
		if (stop)
			return trips;
		trips++;
	}
}
