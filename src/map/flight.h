/* SPDX-License-Identifier: MIT */
/* flight.h - what both events and movers do to pages in flight. => space lock held. */
#ifndef FERRY_MAP_FLIGHT_H
#define FERRY_MAP_FLIGHT_H

#include "map/space.h"

/* Is the flight one whole huge frame? */
static inline bool ferry_flight_is_huge(const struct ferry_flight *flight)
{
	return flight->count == 1 && !flight->split && flight->pages[0].source.huge != 0;
}

/*
 * Makes the pages of one huge frame in flight pages of their own, and their entries small ones.
 * Their contents stay in the huge slots (frame.huge of source and target says so).
 */
void ferry_flight_split(struct ferry_space *space, struct ferry_flight *flight);

#endif
