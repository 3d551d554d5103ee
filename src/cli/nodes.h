/* SPDX-License-Identifier: MIT */
/* nodes.h - the table of a machine's nodes. */
#ifndef FERRY_CLI_NODES_H
#define FERRY_CLI_NODES_H

#include "base/writer.h"
#include "map/books.h"
#include "phys/machine.h"

/*
 * Rows "nodes": capacity, used, free and over of each; with books also what one process has there.
 */
void ferry_cli_write_nodes(struct ferry_writer *writer, const struct ferry_machine *machine,
			   const struct ferry_books *books);

#endif
