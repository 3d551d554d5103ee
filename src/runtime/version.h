/* SPDX-License-Identifier: MIT */
/* version.h - the version of everything in this tree; meson.build names the same. */
#ifndef FERRY_RUNTIME_VERSION_H
#define FERRY_RUNTIME_VERSION_H

#define FERRY_VERSION "0.1.0"

#endif
