/* SPDX-License-Identifier: MIT */
/*
 * syscalls.c - the kernel reads and writes pages that are on the move, while signals rain.
 *
 * Pairs of threads send numbered blocks through pipes and sockets, out of and into random places of
 * moving memory; a third kind copies with process_vm_readv, which faults pages in like any
 * access. No call may fail with EFAULT, and every block arrives as it was sent. A timer sends
 * signals to the process all the time; their handler counts in memory that moves, too: the script
 * moves all.
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

enum { PAIRS = 2, AREA_PAGES = 1024, BLOCK_WORDS = 3000 };

struct pair {
	int ends[2];
	char *area; /* the sender's half, then the receiver's */
	uint64_t end_ns;
	uint64_t blocks;
	pthread_t sender, receiver;
	struct live_mover mover;
};

static uint64_t *signals_seen; /* in moving memory */

static void count_signal(int number)
{
	uint64_t local[64];

	(void)number;
	for (unsigned i = 0; i < 64; i++)
		local[i] = i;
	__atomic_fetch_add(signals_seen, local[1], __ATOMIC_RELAXED);
}

/* Places are no multiples of anything but words. */
static uint64_t *random_place(char *half, uint64_t *seed)
{
	size_t words = (size_t)AREA_PAGES / 2 * PAGE_WORDS;

	return (uint64_t *)(void *)half + live_below(seed, words - BLOCK_WORDS);
}

static void transfer(int end, uint64_t *words, bool out)
{
	size_t bytes = BLOCK_WORDS * sizeof(*words), done = 0;

	while (done < bytes) {
		char *at = (char *)words + done;
		ssize_t got = out ? write(end, at, bytes - done) : read(end, at, bytes - done);

		if (got < 0 && errno == EINTR)
			continue;
		REQUIRE(got > 0, "%s: %s", out ? "write" : "read", strerror(errno));
		done += (size_t)got;
	}
}

/* Time is up and each page has moved twice, however busy the host is. */
static bool is_done(const struct pair *pair)
{
	uint64_t wanted = getenv("FERRY_TEST_EVICTS") != NULL ? 250 : 2 * AREA_PAGES;
	uint64_t moved = __atomic_load_n(&pair->mover.reasons[live_reason("moved")],
					 __ATOMIC_RELAXED);

	return live_now_ns() >= pair->end_ns &&
	       (pair->mover.nodes < 2 || moved >= wanted / live_slow() + 1);
}

static void *send_blocks(void *argument)
{
	struct pair *pair = argument;
	uint64_t seed = 3, number = 0;

	do {
		uint64_t *words = random_place(pair->area, &seed);

		number = is_done(pair) ? 0 : number + 1; /* 0: the last one */
		for (unsigned i = 0; i < BLOCK_WORDS; i++)
			words[i] = number * BLOCK_WORDS + i;
		transfer(pair->ends[1], words, true);
	} while (number != 0);
	return NULL;
}

/* What was received is read back from where it lies by another way into this memory. */
static void check_block(const uint64_t *words, uint64_t number)
{
	uint64_t copy[BLOCK_WORDS];
	struct iovec local = { copy, sizeof(copy) },
		     remote = { (void *)(uintptr_t)words, sizeof(copy) };

	REQUIRE(process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == sizeof(copy),
		"process_vm_readv: %s", strerror(errno));
	for (unsigned i = 0; i < BLOCK_WORDS; i++)
		REQUIRE(words[i] == number * BLOCK_WORDS + i && copy[i] == words[i],
			"block %llu word %u is %llx, copied %llx", (unsigned long long)number, i,
			(unsigned long long)words[i], (unsigned long long)copy[i]);
}

static void *receive_blocks(void *argument)
{
	struct pair *pair = argument;
	uint64_t seed = 5, number = 0;

	for (;;) {
		uint64_t *words = random_place(pair->area + AREA_PAGES / 2 * PAGE, &seed);

		transfer(pair->ends[0], words, false);
		if (words[0] == 0)
			return NULL;
		check_block(words, ++number);
		pair->blocks++;
	}
}

static void start_signals(void)
{
	struct itimerval often = { .it_interval = { .tv_usec = 1000 },
				   .it_value = { .tv_usec = 1000 } };
	struct sigaction action = { .sa_handler = count_signal, .sa_flags = SA_RESTART };

	signals_seen = live_map(PAGE);
	*signals_seen = 0;
	sigaction(SIGPROF, &action, NULL);
	setitimer(ITIMER_PROF, &often, NULL);
}

int main(void)
{
	struct pair pairs[PAIRS];
	struct itimerval never = { 0 };
	int nodes = live_nodes();

	live_watchdog(110);
	start_signals();
	for (unsigned i = 0; i < PAIRS; i++) {
		struct pair *pair = &pairs[i];

		*pair = (struct pair){ .end_ns = live_deadline_ns(6) };
		REQUIRE((i == 0 ? pipe(pair->ends)
				: socketpair(AF_UNIX, SOCK_STREAM, 0, pair->ends)) == 0,
			"pipe");
		pair->area = live_map((size_t)AREA_PAGES * PAGE);
		live_mover_start(&pair->mover, pair->area, AREA_PAGES, nodes);
		REQUIRE(pthread_create(&pair->sender, NULL, send_blocks, pair) == 0, "thread");
		REQUIRE(pthread_create(&pair->receiver, NULL, receive_blocks, pair) == 0, "thread");
	}
	live_ready("ready\n");
	for (unsigned i = 0; i < PAIRS; i++) {
		pthread_join(pairs[i].sender, NULL);
		pthread_join(pairs[i].receiver, NULL);
		live_mover_stop(&pairs[i].mover);
		fprintf(stderr, "blocks %llu\n", (unsigned long long)pairs[i].blocks);
	}
	setitimer(ITIMER_PROF, &never, NULL);
	fprintf(stderr, "signals %llu\n", (unsigned long long)*signals_seen);
	REQUIRE(*signals_seen > 0, "no signal was seen");
	return 0;
}
