/* SPDX-License-Identifier: MIT */
/* doctor.h - what a probe means, in plain words: what works, what that costs, what to change. */
#ifndef FERRY_HOST_DOCTOR_H
#define FERRY_HOST_DOCTOR_H

#include "host/probe.h"

enum ferry_finding_level {
	FERRY_FINDING_OK,
	FERRY_FINDING_NOTE,    /* nothing is missing, but it is good to know */
	FERRY_FINDING_LIMIT,   /* programs run, something does less than it could */
	FERRY_FINDING_MISSING, /* programs cannot run on a machine here */
};

enum { FERRY_FINDING_TEXT = 320, FERRY_ADVICE_TEXT = 700 };

struct ferry_finding {
	const char *key; /* stable, for programs */
	enum ferry_finding_level level;
	char found[FERRY_FINDING_TEXT];
	char cost[FERRY_FINDING_TEXT]; /* empty: none */
	char fix[FERRY_FINDING_TEXT];  /* a command, where one does it; empty: nothing to change */
};

/* How many findings there are; index is below it. */
uint32_t ferry_doctor_count(void);
void ferry_doctor_find(const struct ferry_probe *probe, uint32_t index,
		       struct ferry_finding *finding);
/* "ok", "note", "limit", "missing". */
const char *ferry_doctor_level_name(enum ferry_finding_level level);
/*
 * Whether `run` can work, by the part of a probe that costs microseconds. => false with a line of
 * advice (FERRY_ADVICE_TEXT bytes).
 */
bool ferry_doctor_may_run(char *advice);

#endif
