/* SPDX-License-Identifier: MIT */
/* doctor.c - see doctor.h: one function for each finding, and the table of them. */
#define _GNU_SOURCE
#include "host/doctor.h"

#include "base/size.h"
#include "base/sys.h"
#include "map/books.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { FILES_A_PROCESS = 7, FILES_WANTED = 1024, MAPS_USUAL = 65530 };

static void __attribute__((format(printf, 2, 3))) set(char *text, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text, FERRY_FINDING_TEXT, format, arguments);
	va_end(arguments);
}

/* A finding about something that cost and fix are about only if it is missing. */
static void judge(struct ferry_finding *f, int error, enum ferry_finding_level level,
		  const char *what)
{
	if (error == 0) {
		set(f->found, "%s: works", what);
		f->cost[0] = f->fix[0] = '\0';
		return;
	}
	f->level = level;
	set(f->found, "%s: %s", what, strerror(-error));
}

/* --- userfaultfd ----------------------------------------------------------------------------- */

static void find_kernel(const struct ferry_probe *p, struct ferry_finding *f)
{
	set(f->found, "Linux %s on %s", p->release, p->machine);
	if (strcmp(p->machine, "x86_64") == 0)
		return;
	f->level = FERRY_FINDING_MISSING;
	set(f->cost, "the runtime is written for x86-64");
	set(f->fix, "use a 64-bit x86 kernel");
}

static bool by_device(const struct ferry_probe_uffd *u)
{
	return u->device == 0 && u->device_new == 0;
}

static bool has_none(const struct ferry_probe_uffd *u)
{
	return u->call == -ENOSYS && u->call_user == -ENOSYS && u->device_minor < 0 &&
	       u->unprivileged < 0;
}

/* The system call refuses everybody, or the device answers nobody: that is a filter's doing. */
static bool is_filtered(const struct ferry_probe_uffd *u)
{
	if (u->device == 0)
		return u->device_new != 0;
	return u->device == -EPERM || (u->call_user != 0 && u->device != -EACCES);
}

/* The command that makes a userfaultfd available. */
static void advise_access(const struct ferry_probe_uffd *u, uint32_t uid, char *fix)
{
	if (has_none(u))
		set(fix, "boot a kernel built with CONFIG_USERFAULTFD=y, as Debian's are");
	else if (is_filtered(u))
		set(fix, "a seccomp filter refuses it: allow userfaultfd and ioctl, in a container "
			 "by its seccomp profile (docker run --security-opt seccomp=FILE) and by "
			 "--device /dev/userfaultfd");
	else if (u->device == -ENOENT && u->device_minor >= 0)
		set(fix,
		    "as root: mknod -m 0666 /dev/userfaultfd c 10 %d; in a container: docker "
		    "run --device /dev/userfaultfd",
		    u->device_minor);
	else if (u->device == -EACCES)
		set(fix,
		    "as root: setfacl -m u:%u:r /dev/userfaultfd (or chmod a+r), or sysctl "
		    "vm.unprivileged_userfaultfd=1 for everybody",
		    uid);
	else
		set(fix, "as root: sysctl vm.unprivileged_userfaultfd=1");
}

static void find_userfaultfd(const struct ferry_probe *p, struct ferry_finding *f)
{
	const struct ferry_probe_uffd *u = &p->uffd;

	if (by_device(u)) {
		set(f->found, "through /dev/userfaultfd, faults inside system calls included");
		return;
	}
	if (u->call == 0) {
		set(f->found, "through the system call, faults inside system calls included");
		if (p->uid != 0 || u->device == -ENOENT)
			return;
		f->level = FERRY_FINDING_LIMIT;
		set(f->cost, "/dev/userfaultfd: %s; programs that stop being root cannot join",
		    strerror(-(u->device != 0 ? u->device : u->device_new)));
		set(f->fix, "give root /dev/userfaultfd back: chmod u+r /dev/userfaultfd");
		return;
	}
	f->level = FERRY_FINDING_MISSING;
	if (has_none(u))
		set(f->found, "this kernel has no userfaultfd");
	else if (u->call_user == 0)
		set(f->found,
		    "only for faults of user mode, which are not enough (/dev/userfaultfd: "
		    "%s)",
		    strerror(-(u->device != 0 ? u->device : u->device_new)));
	else
		set(f->found, "/dev/userfaultfd: %s; system call: %s",
		    strerror(-(u->device != 0 ? u->device : u->device_new)), strerror(-u->call));
	set(f->cost, "no program can run on a machine");
	advise_access(u, p->uid, f->fix);
}

static bool has_way(const struct ferry_probe_uffd *u)
{
	return by_device(u) || u->call == 0;
}

/* => false with "not tried" where there is no userfaultfd to try anything on. */
static bool could_try(const struct ferry_probe *p, struct ferry_finding *f, const char *what)
{
	if (has_way(&p->uffd))
		return true;
	f->level = FERRY_FINDING_NOTE;
	set(f->found, "%s: could not be tried without a userfaultfd", what);
	return false;
}

static void find_features(const struct ferry_probe *p, struct ferry_finding *f)
{
	static const char what[] = "write protection and events of unmap, remap, discard";

	set(f->cost, "no program can run on a machine");
	set(f->fix, "boot Linux 6.1 or later (6.8 or later moves pages at full speed)");
	if (could_try(p, f, what))
		judge(f, p->uffd.api, FERRY_FINDING_MISSING, what);
	else
		f->cost[0] = f->fix[0] = '\0';
}

static void find_move(const struct ferry_probe *p, struct ferry_finding *f)
{
	bool copies = p->uffd.copy == 0;

	if (!could_try(p, f, "UFFDIO_MOVE"))
		return;
	set(f->cost, copies ? "pages leave by eviction and come back as copies: slower, no 2 MiB "
			      "frames, and the pages of a program that uses io_uring stay"
			    : "no page can be moved");
	set(f->fix, "boot Linux 6.8 or later");
	judge(f, p->uffd.move, copies ? FERRY_FINDING_LIMIT : FERRY_FINDING_MISSING,
	      "UFFDIO_MOVE, a page taken out and put back");
}

static void find_fork_events(const struct ferry_probe *p, struct ferry_finding *f)
{
	if (!could_try(p, f, "events of fork"))
		return;
	set(f->cost, "fork() and all of libc's ways to a child are safe; a child made by a "
		     "system call in assembler just while pages move can find zeros in pages that "
		     "were away");
	set(f->fix, "start it as root and let the program be the user: sudo pageferry run -- "
		    "runuser -u USER -- COMMAND");
	judge(f, p->uffd.fork_events, FERRY_FINDING_LIMIT, "events of fork (CAP_SYS_PTRACE)");
}

/* What this release does not use; there for those who compare hosts. */
static void find_other_features(const struct ferry_probe *p, struct ferry_finding *f)
{
	static const struct {
		unsigned bit;
		const char *name;
	} names[] = { { 9, "minor faults (hugetlb)" },
		      { 10, "minor faults (shmem)" },
		      { 12, "write protection of shmem" },
		      { 13, "of unpopulated pages" },
		      { 14, "poison" },
		      { 15, "asynchronous write protection" } };
	char list[FERRY_FINDING_TEXT] = "";
	size_t used = 0;

	if (!could_try(p, f, "other features"))
		return;
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(names); i++) {
		bool has = (p->uffd.features >> names[i].bit & 1) != 0;

		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s%s",
					 i == 0 ? "" : ", ", has ? "" : "no ", names[i].name);
	}
	f->level = FERRY_FINDING_NOTE;
	set(f->found, "not used by this release: %s", list);
}

/* --- what else the runtime calls ---------------------------------------------------------------
 */

static void find_pagemap(const struct ferry_probe *p, struct ferry_finding *f)
{
	set(f->cost, "no program can run on a machine: whether a page went is read there");
	set(f->fix, "mount /proc, and let the user read /proc/self/pagemap");
	judge(f, p->pagemap, FERRY_FINDING_MISSING, "/proc/self/pagemap");
}

static void find_pagemap_scan(const struct ferry_probe *p, struct ferry_finding *f)
{
	set(f->cost, "reads of untouched memory take a frame each: zero pages cannot be told");
	set(f->fix, "boot Linux 6.7 or later");
	judge(f, p->pagemap_scan, FERRY_FINDING_LIMIT, "PAGEMAP_SCAN");
}

static void find_calls(const struct ferry_probe *p, struct ferry_finding *f)
{
	const struct {
		int error;
		const char *name;
	} calls[] = { { p->pidfd, "pidfd_open" },
		      { p->sealed_memfd, "memfd_create with seals" },
		      { p->remote_read, "process_vm_readv" },
		      { p->kcmp, "kcmp" } };
	size_t used = 0;

	set(f->found, "pidfd_open, memfd_create with seals, process_vm_readv, kcmp: work");
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(calls); i++) {
		if (calls[i].error == 0)
			continue;
		used += (size_t)snprintf(f->found + used, sizeof(f->found) - used, "%s%s: %s",
					 used == 0 ? "" : "; ", calls[i].name,
					 strerror(-calls[i].error));
	}
	if (used == 0)
		return;
	f->level =
		p->pidfd != 0 || p->sealed_memfd != 0 ? FERRY_FINDING_MISSING : FERRY_FINDING_LIMIT;
	set(f->cost, "%s",
	    f->level == FERRY_FINDING_MISSING
		    ? "no program can run on a machine"
		    : "if an agent is killed in the middle of a move, those pages are lost "
		      "(process_vm_readv); an agent cannot tell an exec from an exit of the "
		      "main thread (kcmp)");
	set(f->fix, "allow these system calls in the container's seccomp profile");
}

static void find_seccomp(const struct ferry_probe *p, struct ferry_finding *f)
{
	if (p->seccomp <= 0) {
		set(f->found, "no seccomp filter%s", p->seccomp < 0 ? " (cannot be read)" : "");
		return;
	}
	f->level = FERRY_FINDING_NOTE;
	set(f->found, "a seccomp filter is in force%s; what it refuses is told above",
	    p->no_new_privileges ? ", and programs cannot gain privileges" : "");
}

static void find_ptrace(const struct ferry_probe *p, struct ferry_finding *f)
{
	if (p->yama < 0)
		set(f->found, "ptrace as ever (no Yama)");
	else
		set(f->found, "kernel.yama.ptrace_scope is %d", p->yama);
	if (p->yama < 1 || p->may_ptrace)
		return;
	if (p->yama == 1) {
		f->level = FERRY_FINDING_NOTE;
		set(f->cost,
		    "gdb -p needs root, or a program that allows it; pageferry's own commands "
		    "do not");
	} else {
		f->level = FERRY_FINDING_LIMIT;
		set(f->cost,
		    "if an agent is killed in the middle of a move, the keeper may not bring "
		    "those pages home: they are lost");
	}
	set(f->fix, "as root: sysctl kernel.yama.ptrace_scope=%d", p->yama == 1 ? 0 : 1);
}

static void find_run_directory(const struct ferry_probe *p, struct ferry_finding *f)
{
	set(f->cost, "no machine can be made: its control socket has no place");
	set(f->fix, "export XDG_RUNTIME_DIR=DIRECTORY, one of your own with mode 0700");
	judge(f, p->run_directory, FERRY_FINDING_MISSING, "a directory for control sockets");
}

/* --- memory ---------------------------------------------------------------------------------- */

static void size_text(uint64_t bytes, char *text)
{
	if (bytes == UINT64_MAX)
		(void)snprintf(text, FERRY_SIZE_TEXT, "unlimited");
	else
		(void)ferry_size_print(bytes, text, FERRY_SIZE_TEXT);
}

static void find_memory(const struct ferry_probe *p, struct ferry_finding *f)
{
	char available[FERRY_SIZE_TEXT], group[FERRY_SIZE_TEXT];

	size_text(p->memory_bytes, available);
	size_text(p->group_bytes, group);
	set(f->found, "%s available; limit of the control group: %s", available, group);
	if (p->group_bytes == UINT64_MAX)
		return;
	f->level = FERRY_FINDING_NOTE;
	set(f->cost,
	    "a machine whose nodes are larger together is ended by the kernel before it is "
	    "full; frames kept ready and the books (8 bytes a page) count too");
	set(f->fix, "give the nodes at most nine tenths of that limit, as --nodes 2xSIZE");
}

static void find_overcommit(const struct ferry_probe *p, struct ferry_finding *f)
{
	char left[FERRY_SIZE_TEXT];

	size_text(p->commit_left_bytes, left);
	set(f->found, "vm.overcommit_memory is %d", p->overcommit);
	if (p->overcommit != 2)
		return;
	f->level = FERRY_FINDING_LIMIT;
	set(f->cost,
	    "memory is promised twice, to the program and to its frames: a program needs "
	    "about twice the commit; %s are left",
	    left);
	set(f->fix, "as root: sysctl vm.overcommit_memory=0 (or raise vm.overcommit_ratio)");
}

static void find_address_space(const struct ferry_probe *p, struct ferry_finding *f)
{
	char limit[FERRY_SIZE_TEXT], books[FERRY_SIZE_TEXT];

	size_text(p->address_space_bytes, limit);
	size_text(2 * FERRY_BOOKS_SIZE_BYTES, books); /* with the labels of objects */
	set(f->found, "RLIMIT_AS is %s", limit);
	if (p->address_space_bytes == UINT64_MAX)
		return;
	f->level = FERRY_FINDING_LIMIT;
	set(f->cost,
	    "each program needs %s of addresses for its books and twice the size of its "
	    "machine for frames (no memory); without them it runs unmanaged",
	    books);
	set(f->fix, "ulimit -v unlimited");
}

static void find_data(const struct ferry_probe *p, struct ferry_finding *f)
{
	char data[FERRY_SIZE_TEXT];

	size_text(p->data_bytes, data);
	set(f->found, "RLIMIT_DATA is %s", data);
	if (p->data_bytes == UINT64_MAX)
		return;
	if (p->data_may_rise) {
		set(f->found, "RLIMIT_DATA is %s; what frames count is added to it", data);
		return;
	}
	f->level = FERRY_FINDING_LIMIT;
	set(f->cost,
	    "frames count as data, and the limit cannot be raised by them: programs have what "
	    "it leaves beside twice the size of their machine, and run unmanaged without that");
	set(f->fix, "ulimit -d unlimited");
}

static void find_files(const struct ferry_probe *p, struct ferry_finding *f)
{
	if (p->files_max == UINT64_MAX) {
		set(f->found, "RLIMIT_NOFILE: unlimited");
		return;
	}
	set(f->found, "RLIMIT_NOFILE is %llu: a machine has room for about %llu processes",
	    (unsigned long long)p->files_max, (unsigned long long)p->files_max / FILES_A_PROCESS);
	if (p->files_max >= FILES_WANTED)
		return;
	f->level = FERRY_FINDING_LIMIT;
	set(f->cost, "the keeper holds %d descriptors for each process; later ones run unmanaged",
	    FILES_A_PROCESS);
	set(f->fix, "raise the hard limit: ulimit -Hn 65536");
}

static void find_mappings(const struct ferry_probe *p, struct ferry_finding *f)
{
	set(f->found, "vm.max_map_count is %llu", (unsigned long long)p->max_map_count);
	if (p->max_map_count >= MAPS_USUAL)
		return;
	f->level = FERRY_FINDING_LIMIT;
	set(f->cost, "frames and regions take some mappings of every program");
	set(f->fix, "as root: sysctl vm.max_map_count=%d", MAPS_USUAL);
}

static void find_locked(const struct ferry_probe *p, struct ferry_finding *f)
{
	char limit[FERRY_SIZE_TEXT];

	size_text(p->locked_bytes, limit);
	f->level = FERRY_FINDING_NOTE;
	set(f->found, "RLIMIT_MEMLOCK is %s; pages that a program locks stay where they are",
	    limit);
}

static void find_huge(const struct ferry_probe *p, struct ferry_finding *f)
{
	f->level = FERRY_FINDING_NOTE;
	if (p->thp[0] == '\0')
		set(f->found, "transparent huge pages: this kernel has none");
	else
		set(f->found, "transparent huge pages: %s; a machine's own choice is --thp%s",
		    p->thp,
		    strcmp(p->thp, "always") == 0
			    ? ", and the kernel's is switched off for its programs"
			    : "");
	if (p->huge_pages == 0)
		return;
	set(f->cost, "the %llu pages of hugetlbfs are not managed",
	    (unsigned long long)p->huge_pages);
}

static void find_nodes(const struct ferry_probe *p, struct ferry_finding *f)
{
	bool several = strpbrk(p->nodes, ",-") != NULL;

	set(f->found, "memory nodes of the host: %s", p->nodes[0] != '\0' ? p->nodes : "0");
	f->level = several ? FERRY_FINDING_OK : FERRY_FINDING_NOTE;
	if (!several)
		set(f->cost,
		    "all nodes of a machine are the same silicon: sizes and moves are real, "
		    "differences in speed are not");
}

/* --- seen from outside -------------------------------------------------------------------------
 */

static void find_debuggers(const struct ferry_probe *p, struct ferry_finding *f)
{
	(void)p;
	f->level = FERRY_FINDING_NOTE;
	set(f->found, "ptrace and /proc/PID/mem cannot read a page that is on its way (EIO); "
		      "process_vm_readv waits for it");
	set(f->fix, "pageferry home PID -- gdb -p PID");
}

static void find_cores(const struct ferry_probe *p, struct ferry_finding *f)
{
	f->level = FERRY_FINDING_NOTE;
	set(f->found,
	    "a core file holds zeros for pages that were on their way when the program "
	    "died%s",
	    p->core_bytes == 0 ? " (core files are off here)" : "");
	set(f->fix, "for a whole one: pageferry home PID -- gcore PID");
}

/* --- all -----------------------------------------------------------------------------------------
 */

static const struct {
	const char *key;
	void (*find)(const struct ferry_probe *probe, struct ferry_finding *finding);
} findings[] = {
	{ "kernel", find_kernel },
	{ "userfaultfd", find_userfaultfd },
	{ "features", find_features },
	{ "move", find_move },
	{ "fork_events", find_fork_events },
	{ "other_features", find_other_features },
	{ "pagemap", find_pagemap },
	{ "pagemap_scan", find_pagemap_scan },
	{ "system_calls", find_calls },
	{ "seccomp", find_seccomp },
	{ "ptrace", find_ptrace },
	{ "run_directory", find_run_directory },
	{ "memory", find_memory },
	{ "overcommit", find_overcommit },
	{ "address_space", find_address_space },
	{ "data", find_data },
	{ "files", find_files },
	{ "mappings", find_mappings },
	{ "locked_memory", find_locked },
	{ "huge_pages", find_huge },
	{ "host_nodes", find_nodes },
	{ "debuggers", find_debuggers },
	{ "core_files", find_cores },
};

uint32_t ferry_doctor_count(void)
{
	return (uint32_t)FERRY_ARRAY_SIZE(findings);
}

void ferry_doctor_find(const struct ferry_probe *probe, uint32_t index,
		       struct ferry_finding *finding)
{
	memset(finding, 0, sizeof(*finding));
	finding->key = findings[index].key;
	findings[index].find(probe, finding);
}

const char *ferry_doctor_level_name(enum ferry_finding_level level)
{
	static const char *const names[] = { "ok", "note", "limit", "missing" };

	return names[level];
}

bool ferry_doctor_may_run(char *advice)
{
	void (*const needed[])(const struct ferry_probe *,
			       struct ferry_finding *) = { find_userfaultfd, find_features,
							   find_move, find_pagemap };
	static struct ferry_probe probe;
	struct ferry_finding finding = { .level = FERRY_FINDING_OK };

	ferry_probe_needed(&probe);
	if (ferry_probe_is_usable(&probe.uffd) && probe.pagemap == 0)
		return true;
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(needed); i++) {
		memset(&finding, 0, sizeof(finding));
		needed[i](&probe, &finding);
		if (finding.level == FERRY_FINDING_MISSING)
			break;
	}
	(void)snprintf(advice, FERRY_ADVICE_TEXT, "no usable userfaultfd here: %s; %s",
		       finding.found, finding.fix);
	return false;
}
