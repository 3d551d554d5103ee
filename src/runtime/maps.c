/* SPDX-License-Identifier: MIT */
/*
 * maps.c - see maps.h.
 *
 * Linux 6.11 answers by ioctl in well under a microsecond; before that the text is read from the
 * start until the line is found.
 */
#include "runtime/maps.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "base/sys.h"

/* PROCMAP_QUERY, as the kernel documents it. */
struct procmap_query {
	uint64_t size;
	uint64_t query_flags;
	uint64_t query_addr;
	uint64_t vma_start;
	uint64_t vma_end;
	uint64_t vma_flags;
	uint64_t vma_page_size;
	uint64_t vma_offset;
	uint64_t inode;
	uint32_t dev_major;
	uint32_t dev_minor;
	uint32_t vma_name_size;
	uint32_t build_id_size;
	uint64_t vma_name_addr;
	uint64_t build_id_addr;
};
#define FERRY_PROCMAP_QUERY _IOWR('f', 17, struct procmap_query)

enum {
	MAP_SHARED_FLAG = 1 << 3,
	QUERY_COVERING_OR_NEXT = 1 << 4,
	TEXT_BLOCK = 4096,
};

/* [vdso], [vvar], [vsyscall]: the kernel's own pages. */
static bool is_kernels(const char *name)
{
	return name[0] == '[' && name[1] == 'v';
}

static int query(int fd, ferry_va va, struct ferry_mapping *mapping)
{
	char *name = mapping->name;
	struct procmap_query q = {
		.size = sizeof(q),
		.query_flags = QUERY_COVERING_OR_NEXT,
		.query_addr = va,
		.vma_name_size = sizeof(mapping->name),
		.vma_name_addr = (uint64_t)(uintptr_t)name,
	};
	long ret;

	name[0] = '\0';
	ret = ferry_sys3(SYS_ioctl, fd, FERRY_PROCMAP_QUERY, &q);
	if (ret == -ENAMETOOLONG) { /* a path: no anonymous mapping has such a name */
		name[0] = '\0';
		q.vma_name_size = 0;
		q.vma_name_addr = 0;
		ret = ferry_sys3(SYS_ioctl, fd, FERRY_PROCMAP_QUERY, &q);
	}
	if (ret)
		return (int)ret;
	mapping->start = q.vma_start;
	mapping->end = q.vma_end;
	/* The kernel's bits are those of mmap(). */
	mapping->protection = (int)(q.vma_flags & (PROT_READ | PROT_WRITE | PROT_EXEC));
	mapping->anonymous = q.inode == 0 && q.dev_major == 0 && q.dev_minor == 0 &&
			     !(q.vma_flags & MAP_SHARED_FLAG) && !is_kernels(name) &&
			     name[0] != '/';
	mapping->kernels = is_kernels(name);
	mapping->shared = (q.vma_flags & MAP_SHARED_FLAG) != 0;
	mapping->device = (uint64_t)q.dev_major << 32 | q.dev_minor;
	mapping->inode = q.inode;
	mapping->offset = q.vma_offset;
	return 0;
}

static const char *parse_hex(const char *p, uint64_t *value)
{
	*value = 0;
	for (;; p++) {
		unsigned digit;

		if (*p >= '0' && *p <= '9')
			digit = (unsigned)(*p - '0');
		else if (*p >= 'a' && *p <= 'f')
			digit = (unsigned)(*p - 'a') + 10;
		else
			return p;
		*value = *value << 4 | digit;
	}
}

/* "start-end perms offset dev inode   name" */
static void parse_line(const char *line, struct ferry_mapping *mapping)
{
	uint64_t major, minor;
	const char *p = parse_hex(line, &mapping->start);
	const char *perms;

	p = parse_hex(p + 1, &mapping->end);
	perms = p + 1;
	mapping->protection = (perms[0] == 'r' ? PROT_READ : 0) |
			      (perms[1] == 'w' ? PROT_WRITE : 0) |
			      (perms[2] == 'x' ? PROT_EXEC : 0);
	p = parse_hex(perms + 5, &mapping->offset);
	p = parse_hex(p + 1, &major);
	p = parse_hex(p + 1, &minor);
	for (mapping->inode = 0, p++; *p >= '0' && *p <= '9'; p++)
		mapping->inode = mapping->inode * 10 + (uint64_t)(*p - '0');
	while (*p == ' ')
		p++;
	mapping->anonymous = perms[3] == 'p' && mapping->inode == 0 && !is_kernels(p) &&
			     *p != '/';
	mapping->kernels = is_kernels(p);
	mapping->shared = perms[3] == 's';
	mapping->device = major << 32 | minor;
	mapping->name[0] = '\0';
	if (strlen(p) < sizeof(mapping->name))
		memcpy(mapping->name, p, strlen(p) + 1);
}

static int search_text(int fd, ferry_va va, struct ferry_mapping *mapping)
{
	char text[TEXT_BLOCK + 1];
	size_t have = 0;
	long offset = 0;

	for (;;) {
		long got = ferry_sys4(SYS_pread64, fd, text + have, TEXT_BLOCK - have, offset);
		char *line = text;
		char *end;

		if (got == -EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? (int)got : -ENOENT;
		offset += got;
		have += (size_t)got;
		text[have] = '\0';
		while ((end = memchr(line, '\n', have - (size_t)(line - text))) != NULL) {
			*end = '\0';
			parse_line(line, mapping);
			if (mapping->end > va)
				return 0;
			line = end + 1;
		}
		have -= (size_t)(line - text);
		memmove(text, line, have);
		if (have == TEXT_BLOCK) /* a line longer than the block: a path; drop its start */
			have = 0;
	}
}

int ferry_maps_next(int fd, ferry_va va, struct ferry_mapping *mapping)
{
	int err = query(fd, va, mapping);

	return err == -ENOTTY || err == -EINVAL ? search_text(fd, va, mapping) : err;
}

uint64_t ferry_maps_device(dev_t device)
{
	return (uint64_t)major(device) << 32 | minor(device);
}

bool ferry_maps_have(int fd, const char *name)
{
	char text[TEXT_BLOCK + 1];
	size_t len = strlen(name), have = 0;
	long offset = 0;

	for (;;) {
		long got = ferry_sys4(SYS_pread64, fd, text + have, TEXT_BLOCK - have, offset);

		if (got == -EINTR)
			continue;
		if (got <= 0)
			return false;
		offset += got;
		have += (size_t)got;
		text[have] = '\0';
		if (strstr(text, name) != NULL)
			return true;
		/* It may lie across two blocks. */
		if (have >= len) {
			memmove(text, text + have - (len - 1), len - 1);
			have = len - 1;
		}
	}
}
