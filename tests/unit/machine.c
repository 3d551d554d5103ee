/* SPDX-License-Identifier: MIT */
/* Machine segments: layout, refusal of foreign ones, and the order of fallback. */
#include <errno.h>
#include <string.h>

#include "base/os.h"
#include "cases.h"
#include "host.h"
#include "phys/machine.h"

static struct ferry_machine *new_machine(uint32_t node_count)
{
	struct ferry_machine *machine = ferry_os->alloc(ferry_machine_size_bytes(node_count));

	ferry_machine_layout(machine, node_count);
	return machine;
}

static void free_machine(struct ferry_machine *machine)
{
	ferry_os->free(machine, machine->size_bytes);
}

static void lays_out(void **state)
{
	static const uint32_t counts[] = { 1, 2, 3, 65, 1024 };

	(void)state;
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(counts); i++) {
		struct ferry_machine *machine = new_machine(counts[i]);
		const struct ferry_process *end =
			ferry_machine_processes(machine) + FERRY_PROCESSES_MAX;

		assert_int_equal(ferry_machine_validate(machine, machine->size_bytes), 0);
		assert_int_equal(machine->size_bytes % FERRY_PAGE_SIZE, 0);
		assert_true((uintptr_t)end <= (uintptr_t)machine + machine->size_bytes);
		assert_int_equal(ferry_machine_distances(machine)[0], 10);
		assert_int_equal(ferry_machine_cpu_nodes(machine)[FERRY_CPUS_MAX - 1], -1);
		assert_int_equal(ferry_machine_nodes(machine)[counts[i] - 1].real_node, -1);
		assert_int_equal(ferry_nodeset_count(&machine->policy.nodes), counts[i]);
		assert_int_equal(ferry_nodeset_count(&machine->mems), counts[i]);
		assert_int_equal(ferry_nodeset_count(&machine->unusable), 0);
		assert_int_equal(machine->max_count, INT32_MAX);
		assert_true((uintptr_t)end <= (uintptr_t)ferry_machine_mems(machine, 0));
		assert_true((uintptr_t)ferry_machine_mems(machine, FERRY_PROCESSES_MAX) <=
			    (uintptr_t)machine + machine->size_bytes);
		assert_int_equal(machine->stall_budget_ns, 1000000);
		free_machine(machine);
	}
}

static void refuses_foreign_segments(void **state)
{
	struct ferry_machine *machine = new_machine(4);
	struct ferry_machine good = *machine;
	size_t size = machine->size_bytes;

	(void)state;
	assert_int_equal(ferry_machine_validate(machine, size - 1), -EINVAL);
	assert_int_equal(ferry_machine_validate(machine, 0), -EINVAL);
	machine->magic ^= 1;
	assert_int_equal(ferry_machine_validate(machine, size), -EINVAL);
	*machine = good;
	machine->version++;
	assert_int_equal(ferry_machine_validate(machine, size), -EINVAL);
	*machine = good;
	machine->node_count = 5;
	assert_int_equal(ferry_machine_validate(machine, size), -EINVAL);
	machine->node_count = FERRY_NODES_MAX + 1;
	assert_int_equal(ferry_machine_validate(machine, size), -EINVAL);
	*machine = good;
	machine->distances_offset = size - 1;
	assert_int_equal(ferry_machine_validate(machine, size), -EINVAL);
	*machine = good;
	machine->processes_offset += 64;
	assert_int_equal(ferry_machine_validate(machine, size), -EINVAL);
	free_machine(machine);
}

static void check_order(const struct ferry_machine *machine, uint32_t node, const char *expected)
{
	uint16_t order[FERRY_NODES_MAX];

	ferry_machine_fallback(machine, node, order);
	for (uint32_t i = 0; i < machine->node_count; i++)
		assert_int_equal(order[i], expected[i] - '0');
}

static void falls_back_by_distance(void **state)
{
	struct ferry_machine *machine = new_machine(5);
	uint8_t *row = ferry_machine_distances(machine);

	(void)state;
	check_order(machine, 0, "01234");
	check_order(machine, 3, "34012");
	memcpy(row, (uint8_t[]){ 10, 40, 20, 40, 20 }, 5);
	check_order(machine, 0, "02413");
	memcpy(row + 10, (uint8_t[]){ 255, 0, 10, 255, 11 }, 5);
	check_order(machine, 2, "21430");
	free_machine(machine);
}

/* Even where another node claims to be nearer, a node comes first in its own order. */
static void every_node_once(void **state)
{
	struct ferry_machine *machine = new_machine(300);
	uint8_t *distances = ferry_machine_distances(machine);
	uint64_t seed = test_seed("machine");
	uint16_t order[300];

	(void)state;
	for (uint32_t i = 0; i < 300 * 300; i++)
		distances[i] = (uint8_t)test_random(&seed);
	for (uint32_t node = 0; node < 300; node++) {
		bool seen[300] = { false };

		ferry_machine_fallback(machine, node, order);
		assert_int_equal(order[0], node);
		for (uint32_t i = 0; i < 300; i++) {
			assert_false(seen[order[i]]);
			seen[order[i]] = true;
			if (i > 1)
				assert_true(distances[node * 300 + order[i - 1]] <=
					    distances[node * 300 + order[i]]);
		}
	}
	free_machine(machine);
}

static void which_nodes_have_memory(void **state)
{
	struct ferry_machine *machine = new_machine(70);

	(void)state;
	for (uint32_t i = 0; i < 70; i++)
		ferry_machine_nodes(machine)[i].capacity_pages = i == 3 ? 0 : 512;
	ferry_nodeset_add(&machine->unusable, 65);
	for (int64_t i = -2; i < 80; i++)
		assert_int_equal(ferry_machine_has_memory(machine, i),
				 i >= 0 && i < 70 && i != 3 && i != 65);
	assert_false(ferry_machine_has_memory(machine, INT64_MIN));
	assert_false(ferry_machine_has_memory(machine, UINT32_MAX));
	free_machine(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lays_out),
		cmocka_unit_test(which_nodes_have_memory),
		cmocka_unit_test(refuses_foreign_segments),
		cmocka_unit_test(falls_back_by_distance),
		cmocka_unit_test(every_node_once),
	};

	test_host_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
