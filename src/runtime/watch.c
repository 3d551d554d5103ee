/* SPDX-License-Identifier: MIT */
/* watch.c - see watch.h. */
#define _GNU_SOURCE
#include "runtime/watch.h"

#include "base/size.h"
#include "runtime/join.h"
#include "runtime/program.h"
#include "runtime/rescue.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NS_PER_S UINT64_C(1000000000)

/* --- what people are told ------------------------------------------------------------------ */

/* => true the first time; when there is no more room, nothing is new. */
static bool is_news(struct ferry_keeper *keeper, const char *text, uint64_t kind)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ kind; /* FNV-1a */

	for (const char *c = text; *c != '\0'; c++)
		hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
	for (uint32_t i = 0; i < keeper->told_count; i++) {
		if (keeper->told[i] == hash)
			return false;
	}
	if (keeper->told_count == FERRY_TOLD_MAX)
		return false;
	keeper->told[keeper->told_count++] = hash;
	return true;
}

void ferry_watch_unmanaged(struct ferry_keeper *keeper, const struct ferry_msg *msg)
{
	char name[FERRY_MSG_TEXT], line[FERRY_MSG_TEXT + 160];

	if (msg->a == FERRY_PROGRAM_FITS || msg->a >= FERRY_PROGRAM_KINDS)
		return;
	memcpy(name, msg->text, sizeof(name));
	name[sizeof(name) - 1] = '\0';
	if (!is_news(keeper, name, msg->a))
		return;
	(void)snprintf(line, sizeof(line), "pageferry: warning: '%s' %s: it %s", name,
		       ferry_program_why((enum ferry_program_kind)msg->a, msg->b != 0),
		       msg->status != 0 ? "is not executed (--strict)" : "runs unmanaged");
	ferry_keeper_say(keeper, line);
}

/* --- children ---------------------------------------------------------------------------- */

static void tell_foreground(struct ferry_keeper *keeper, enum ferry_foreground_kind kind, int value)
{
	struct ferry_foreground_msg msg = { .kind = (int32_t)kind, .value = value };

	/* The foreground process may be gone: then nobody wants to know. */
	if (keeper->foreground >= 0)
		(void)send(keeper->foreground, &msg, sizeof(msg), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void report_command(struct ferry_keeper *keeper, int status)
{
	keeper->ended_pid = keeper->command_pid;
	keeper->command_pid = 0;
	tell_foreground(keeper, FERRY_FOREGROUND_END, status);
	/* From here on we stay behind as a daemon does: no pipe of the user's may hang on us. */
	if (keeper->talk >= 0)
		(void)close(keeper->talk);
	keeper->talk = -1;
}

static void note_agent(struct ferry_keeper *keeper, int32_t pid, int status)
{
	for (uint32_t slot = 0; slot < keeper->process_end; slot++) {
		struct ferry_keeper_process *process = keeper->processes[slot];

		if (process == NULL || process->agent_pid != pid || process->agent_gone)
			continue;
		process->agent_status = status;
		process->agent_status_known = true;
	}
}

void ferry_watch_reap(struct ferry_keeper *keeper)
{
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG | __WALL);

		if (pid < 0 && errno == EINTR)
			continue;
		keeper->childless = pid < 0;
		if (pid <= 0)
			return;
		if (pid == keeper->command_pid)
			report_command(keeper, status);
		else
			note_agent(keeper, pid, status);
	}
}

/* --- ends -------------------------------------------------------------------------------- */

static void drop_watch(struct ferry_keeper *keeper, int *fd)
{
	ferry_keeper_unwatch(keeper, *fd);
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

uint64_t ferry_watch_leave_deadline(void)
{
	return ferry_keeper_now_ns() + FERRY_LEAVE_WAIT_S * NS_PER_S;
}

void ferry_watch_program_ended(struct ferry_keeper *keeper, struct ferry_keeper_process *process)
{
	process->program_gone = true;
	if (process->agent_fd < 0) {
		ferry_join_release(keeper, process);
		return;
	}
	/* The descriptor stays, unwatched: it still names the process for nobody else. */
	ferry_keeper_unwatch(keeper, process->program_fd);
	process->leave_deadline_ns = ferry_watch_leave_deadline();
}

enum ending {
	LEFT,     /* the program has left its memory */
	GAVE_UP,  /* it could not go on, or crashed */
	KILLED,   /* by somebody else */
};

static enum ending ending_of(bool exited, int value)
{
	if (exited)
		return value == 0 ? LEFT : GAVE_UP;
	return value == SIGKILL ? KILLED : GAVE_UP;
}

static enum ending how_ended(const struct ferry_keeper_process *process)
{
	int status = process->agent_status;
	siginfo_t info = { .si_pid = 0 };

	/* It is our child as a rule, and SIGCHLD may not have been served yet. Whom we look at here
	 * is reaped elsewhere: it might be the command. */
	if (!process->agent_status_known &&
	    waitid(P_PIDFD, (id_t)process->agent_fd, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) ==
		    0 &&
	    info.si_pid != 0)
		return ending_of(info.si_code == CLD_EXITED, info.si_status);
	if (!process->agent_status_known)
		return KILLED;
	return ending_of(WIFEXITED(status),
			 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

static void become_orphan(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
			  enum ending ending)
{
	const char *how = ending == KILLED ? "was killed" : "gave up";
	int32_t agent_pid = process->agent_pid;
	uint64_t pages = 0;
	char line[200];
	int error = ferry_rescue_process(keeper, process, &pages);

	if (error == -ESRCH) {
		ferry_join_release(keeper, process);
		return;
	}
	if (error != 0) {
		(void)snprintf(line, sizeof(line),
			       "pageferry: the agent %d of process %d %s and its pages cannot "
			       "be brought home (%s): ending the process",
			       agent_pid, process->pid, how, strerror(-error));
		ferry_keeper_say(keeper, line);
		(void)syscall(SYS_pidfd_send_signal, process->program_fd, SIGKILL, NULL, 0);
	} else {
		(void)snprintf(line, sizeof(line),
			       "pageferry: the agent %d of process %d %s: %llu pages brought "
			       "home; the process %s",
			       agent_pid, process->pid, how, (unsigned long long)pages,
			       ending == KILLED ? "starts another one when it needs it"
						: "runs on unmanaged");
		ferry_keeper_say(keeper, line);
	}
	process->agent_pid = 0;
	ferry_join_publish(keeper, process,
			   ending == KILLED ? FERRY_PROCESS_ORPHAN : FERRY_PROCESS_LEFT);
}

bool ferry_watch_has_ended(int pidfd)
{
	struct pollfd poll_fd = { .fd = pidfd, .events = POLLIN };

	return poll(&poll_fd, 1, 0) > 0;
}

void ferry_watch_agent_ended(struct ferry_keeper *keeper, struct ferry_keeper_process *process)
{
	enum ending ending = how_ended(process);

	process->agent_gone = true;
	drop_watch(keeper, &process->agent_fd);
	ferry_watch_reap(keeper); /* it may have been the last child */
	/* Both may have been killed at once, and the program's end be heard of later. */
	if (ending == LEFT || process->program_gone || ferry_watch_has_ended(process->program_fd))
		ferry_join_release(keeper, process);
	else
		become_orphan(keeper, process, ending);
}

void ferry_watch_report_left(struct ferry_keeper *keeper, bool over)
{
	if (keeper->ended_pid == 0)
		return;
	for (uint32_t slot = 0; slot < keeper->process_end; slot++) {
		if (keeper->processes[slot] != NULL &&
		    keeper->processes[slot]->pid == keeper->ended_pid)
			return;
	}
	keeper->ended_pid = 0;
	tell_foreground(keeper, over ? FERRY_FOREGROUND_OVER : FERRY_FOREGROUND_LEFT, 0);
}

uint64_t ferry_watch_deadline(const struct ferry_keeper *keeper)
{
	uint64_t deadline_ns = UINT64_MAX;

	for (uint32_t slot = 0; slot < keeper->process_end; slot++) {
		const struct ferry_keeper_process *process = keeper->processes[slot];

		if (process != NULL && process->leave_deadline_ns != 0 &&
		    process->leave_deadline_ns < deadline_ns)
			deadline_ns = process->leave_deadline_ns;
	}
	return deadline_ns;
}

void ferry_watch_expire(struct ferry_keeper *keeper, uint64_t now_ns)
{
	for (uint32_t slot = 0; slot < keeper->process_end; slot++) {
		struct ferry_keeper_process *process = keeper->processes[slot];

		if (process == NULL || process->leave_deadline_ns == 0 ||
		    process->leave_deadline_ns > now_ns)
			continue;
		process->leave_deadline_ns = 0;
		(void)syscall(SYS_pidfd_send_signal, process->agent_fd, SIGKILL, NULL, 0);
	}
}

/* --- out of memory ----------------------------------------------------------------------- */

static size_t append(char *line, size_t size, size_t used, const char *text)
{
	size_t length = strlen(text);

	if (used + length >= size)
		return used;
	memcpy(line + used, text, length + 1);
	return used + length;
}

static void read_comm(int32_t pid, char *comm, size_t size)
{
	char path[64];
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	file = fopen(path, "re");
	(void)snprintf(comm, size, "?");
	if (file == NULL)
		return;
	if (fgets(comm, (int)size, file) == NULL)
		(void)snprintf(comm, size, "?");
	comm[strcspn(comm, "\n")] = '\0';
	/* Anyone may give himself any name; none may reach a terminal as control characters. */
	for (char *c = comm; *c != '\0'; c++)
		*c = *c < ' ' || *c > '~' ? '?' : *c;
	(void)fclose(file);
}

void ferry_watch_out_of_memory(struct ferry_keeper *keeper, struct ferry_keeper_process *process)
{
	const struct ferry_node *nodes = ferry_machine_nodes(keeper->machine);
	char line[1024], part[128], comm[32];
	size_t used;

	read_comm(process->pid, comm, sizeof(comm));
	used = (size_t)snprintf(line, sizeof(line),
				"pageferry: out of memory: %d (%s) needs a page", process->pid,
				comm);
	for (uint32_t i = 0; i < keeper->machine->node_count; i++) {
		char capacity[FERRY_SIZE_TEXT], leased[FERRY_SIZE_TEXT];

		(void)ferry_size_print(nodes[i].capacity_pages << FERRY_PAGE_SHIFT, capacity,
				       sizeof(capacity));
		(void)ferry_size_print(nodes[i].leased_pages << FERRY_PAGE_SHIFT, leased,
				       sizeof(leased));
		(void)snprintf(part, sizeof(part), "; node %u: %s, %s used", i, capacity, leased);
		if (used + strlen(part) + 8 >= sizeof(line)) {
			used = append(line, sizeof(line), used, "; ...");
			break;
		}
		used = append(line, sizeof(line), used, part);
	}
	ferry_keeper_say(keeper, line);
	(void)syscall(SYS_pidfd_send_signal, process->program_fd, SIGKILL, NULL, 0);
}

/* --- the foreground process -------------------------------------------------------------- */

void ferry_watch_foreground(struct ferry_keeper *keeper)
{
	struct ferry_foreground_msg msg;
	ssize_t length = recv(keeper->foreground, &msg, sizeof(msg), MSG_DONTWAIT);

	if (length < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (length != (ssize_t)sizeof(msg)) {
		drop_watch(keeper, &keeper->foreground);
		return;
	}
	/* Our child that we have not reaped: the pid is its own. */
	if (msg.kind == FERRY_FOREGROUND_SIGNAL && keeper->command_pid > 0)
		(void)kill(keeper->command_pid, msg.value);
}
