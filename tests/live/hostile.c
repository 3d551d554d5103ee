/* SPDX-License-Identifier: MIT */
/*
 * hostile.c - what a client may hand to an agent, and write into a mailbox that they share: the
 * agent refuses it or answers, and its process goes on, managed and whole.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <time.h>

#include "cases.h"
#include "host.h"
#include "runtime/arrays.h"
#include "runtime/library.c"
#include "runtime/mailbox.h"
#include "target.h"

enum { COUNT = 16, PATIENCE_MS = 5000, HUGE_BYTES = 2 << 20 };

static void assert_target_moves(void)
{
	for (int node = 1; node >= 0; node--) {
		void *page = target.memory;
		int status = -999;

		assert_int_equal(ferry_move_pages(target.pid, 1, &page, &node, &status, FERRY_MOVE),
				 0);
		assert_int_equal(status, node);
	}
}

/* --- files ----------------------------------------------------------------------------------- */

static int sealed_memfd(unsigned flags, size_t size, int seals)
{
	int fd = memfd_create("hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static size_t size_for(size_t count)
{
	return FERRY_MAILBOX_ARRAYS + ferry_arrays_size(count);
}

/* => what the agent says of such a mailbox. */
static int offer(struct ferry_client *client, int fd)
{
	const struct ferry_msg msg = { .version = FERRY_PROTO_VERSION, .kind = FERRY_MSG_MAILBOX };
	struct ferry_msg done = { .status = 1 };

	assert_int_equal(ferry_client_open(client, target.pid, FERRY_CLIENT_ASK), 0);
	assert_int_equal(ferry_client_ask(client, &msg, fd, NULL, &done), 0);
	return done.status;
}

static void assert_refused(int fd)
{
	struct ferry_client client;

	assert_true(offer(&client, fd) < 0);
	ferry_client_close(&client);
	if (fd >= 0)
		close(fd);
	assert_target_moves();
}

static void refuses_other_files(void **state)
{
	(void)state;
	assert_refused(-1);
	assert_refused(open("/dev/null", O_RDWR | O_CLOEXEC));
	assert_refused(memfd_create("hostile", MFD_CLOEXEC));
	assert_refused(sealed_memfd(0, size_for(COUNT), F_SEAL_GROW));
	assert_refused(sealed_memfd(0, 0, F_SEAL_SHRINK));
	assert_refused(sealed_memfd(0, FERRY_MAILBOX_ARRAYS - 1, F_SEAL_SHRINK));
}

/* The mapping fails when a page of the agent's heap has made room for it. Whatever is on the heap's
 * list afterwards is memory. */
static void refuses_files_that_cannot_be_written(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++)
		assert_refused(sealed_memfd(0, size_for(COUNT), F_SEAL_SHRINK | F_SEAL_WRITE));
}

/* A huge page would be mapped over what lies beside the heap's page. */
static void refuses_huge_pages(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++)
		assert_refused(sealed_memfd(MFD_HUGETLB, HUGE_BYTES, F_SEAL_SHRINK));
}

/* --- what is written into a mailbox ---------------------------------------------------------- */

struct hostile {
	struct ferry_client client;
	struct ferry_mailbox *mailbox;
	size_t size;
};

static struct hostile open_mailbox(void)
{
	struct hostile h = { .size = size_for(COUNT) };
	int fd = sealed_memfd(0, h.size, F_SEAL_SHRINK | F_SEAL_GROW);

	assert_int_equal(offer(&h.client, fd), 0);
	h.mailbox = mmap(NULL, h.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(h.mailbox != MAP_FAILED);
	close(fd);
	return h;
}

static void close_mailbox(struct hostile *h)
{
	munmap(h->mailbox, h->size);
	ferry_client_close(&h->client);
	assert_target_moves();
}

static bool waits_for(const struct ferry_mailbox *mailbox, enum ferry_mailbox_state state)
{
	const struct timespec millisecond = { .tv_nsec = 1000000 };

	for (int i = 0; i < PATIENCE_MS && ferry_mailbox_state(mailbox) != state; i++)
		nanosleep(&millisecond, NULL);
	return ferry_mailbox_state(mailbox) == state;
}

static int64_t post(const struct hostile *h, uint64_t count, uint32_t flags)
{
	h->mailbox->count = count;
	h->mailbox->flags = flags;
	assert_true(ferry_mailbox_change(h->mailbox, FERRY_MAILBOX_IDLE, FERRY_MAILBOX_POSTED));
	assert_true(waits_for(h->mailbox, FERRY_MAILBOX_IDLE));
	return h->mailbox->result;
}

static void answers_any_numbers(void **state)
{
	const uint64_t counts[] = { COUNT + 1, 1 << 20, UINT64_C(1) << 31, UINT64_C(1) << 59,
				    UINT64_C(1) << 61, UINT64_MAX };
	struct hostile h = open_mailbox();

	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		assert_true(post(&h, counts[i], 0) < 0);
	/* Addresses and nodes of any kind, flags that there are not. */
	memset((char *)h.mailbox + FERRY_MAILBOX_ARRAYS, 0xa5, ferry_arrays_size(COUNT));
	assert_int_equal(post(&h, COUNT, UINT32_MAX & ~(uint32_t)FERRY_MSG_FLAG_MOVE_ALL), -ENODEV);
	assert_true(post(&h, 0, 0) <= 0);
	close_mailbox(&h);
}

static void leaves_where_the_state_is_none(void **state)
{
	struct hostile h = open_mailbox();

	(void)state;
	assert_true(ferry_mailbox_change(h.mailbox, FERRY_MAILBOX_IDLE,
					 (enum ferry_mailbox_state)4711));
	close_mailbox(&h);
}

/* Everything changes all the time. */
static void lives_with_changes(void **state)
{
	struct hostile h = open_mailbox();
	uint64_t end = (uint64_t)time(NULL) + 2;

	(void)state;
	while ((uint64_t)time(NULL) < end) {
		for (uint64_t i = 0; i < 100000; i++) {
			uint64_t *words = (uint64_t *)(void *)h.mailbox;

			__atomic_store_n(&h.mailbox->count, i * i, __ATOMIC_RELAXED);
			words[FERRY_MAILBOX_ARRAYS / 8 + i % 32] =
				(uint64_t)(uintptr_t)target.memory + i * 512;
			if (i % 64 == 0 &&
			    !ferry_mailbox_change(h.mailbox, FERRY_MAILBOX_IDLE,
						  FERRY_MAILBOX_POSTED))
				__atomic_store_n(&h.mailbox->state, i % 2, __ATOMIC_RELAXED);
		}
	}
	close_mailbox(&h);
}

static void closes_what_is_not_used(void **state)
{
	struct hostile h = open_mailbox();

	(void)state;
	assert_true(waits_for(h.mailbox, FERRY_MAILBOX_CLOSED));
	close_mailbox(&h);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_other_files),
		cmocka_unit_test(refuses_files_that_cannot_be_written),
		cmocka_unit_test(refuses_huge_pages),
		cmocka_unit_test(answers_any_numbers),
		cmocka_unit_test(leaves_where_the_state_is_none),
		cmocka_unit_test(lives_with_changes),
		cmocka_unit_test(closes_what_is_not_used),
	};

	if (argc > 1 && strcmp(argv[1], "target") == 0)
		return play_target();
	test_host_init();
	return cmocka_run_group_tests(tests, start_target, end_target);
}
