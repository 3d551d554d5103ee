/* SPDX-License-Identifier: MIT */
/* target.h - the process that a subcommand is about, and where its results go. */
#ifndef FERRY_CLI_TARGET_H
#define FERRY_CLI_TARGET_H

#include "base/writer.h"
#include "runtime/client.h"

enum { FERRY_CLI_SCHEMA_VERSION = 1, FERRY_CLI_GO_ON = -1 };

/* A writer on stdout. */
void ferry_cli_writer(struct ferry_writer *writer, bool json);
/* Begins a document: schema_version, command. ferry_writer_end() ends it. */
void ferry_cli_document(struct ferry_writer *writer, const char *command);
/* Results that could not be written (a full disk, a closed pipe). => code, or FERRY_CLI_FAILED. */
int ferry_cli_finish(int code);

/*
 * Takes the options of a subcommand that has --json and --help only. => FERRY_CLI_GO_ON with *json
 * set if it was given, or an exit code: help was printed, or one line on stderr.
 */
int ferry_cli_take_json(const char *command, int argc, char **argv, bool *json);
/*
 * Takes the one operand PID that is left behind the options. => 0 with *pid, or an exit code after
 * one line on stderr.
 */
int ferry_cli_take_pid(const char *command, int argc, char **argv, int32_t *pid);
/* Opens a process. => 0, or an exit code after one line on stderr. */
int ferry_cli_open(struct ferry_client *client, int32_t pid, enum ferry_client_mode mode);
/* The exit code for an error of the client side, after one line on stderr. */
int ferry_cli_explain(int32_t pid, int error);
/* The name of a process as the kernel tells it, "?" if it has ended. */
void ferry_cli_comm(int32_t pid, char *comm, size_t size);

#endif
