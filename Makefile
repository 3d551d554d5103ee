# SPDX-License-Identifier: MIT
# The verbs. Meson, tests/run and tools/ do the work; each verb does its own set-up first.
#
#   make            build/pageferry, build/libpageferry.so, build/libpageferry-preload.so
#   make demo       the main job: sort runs while its pages are ferried
#   make check      all tests; make check TESTS="unit live/redis" some of them
#   make soak       random jobs, moves and kills for FERRY_SOAK_MINUTES (30)
#   make long       the tests in their long forms
#   make guest      the live tests on kernels 6.1 and 6.12 in qemu, with three real nodes
#   make asan tsan  tests of the core under the sanitizers, over the soft MMU
#   make fuzz       a minute of libFuzzer for each target (FUZZ_SECONDS=60, TESTS="parse keeper")
#   make lint       warnings, layers, sizes, symbols, man pages, clang-tidy
#   make bench      the table of speeds
#   make install    [PREFIX=/usr/local] [DESTDIR=]; make uninstall
SHELL := /bin/bash

BUILD := build
PREFIX ?= /usr/local
DESTDIR ?=
TESTS ?=
CORE_TESTS := unit prop fault
SANITIZED := --core-only --slow
NINJA := ninja --quiet
# TSan's layout of memory has no room for more random bits than this.
TSAN_PREFIX := $(shell [ "$$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 28)" -gt 28 ] && \
	echo setarch -R)

.PHONY: all products tests demo check soak long guest guest-tests asan tsan fuzz lint bench \
	install uninstall clean

all:
	@tools/setup build
	@$(MAKE) --no-print-directory products

products:
	@[ -f $(BUILD)/build.ninja ] || tools/configure $(BUILD) -Dprefix=$(PREFIX)
	@$(NINJA) -C $(BUILD) products
	@ln -sf $(BUILD)/compile_commands.json .

# The live tests run the products as they are shipped, the others a build with every assertion.
tests:
	@tools/setup check
	@tools/configure $(BUILD) -Dprefix=$(PREFIX) -Dtests=enabled
	@tools/configure $(BUILD)-check -Dtests=enabled -Dlive=false -Ddebug_checks=true
	@$(NINJA) -C $(BUILD)
	@$(NINJA) -C $(BUILD)-check
	@ln -sf $(BUILD)/compile_commands.json .

demo:
	@tools/setup demo
	@$(MAKE) --no-print-directory products
	@tools/demo

check: tests
	@tests/run --build $(BUILD) --check-build $(BUILD)-check $(TESTS)

soak: tests
	@FERRY_SOAK=1 FERRY_SOAK_MINUTES=$${FERRY_SOAK_MINUTES:-30} \
		tests/run --build $(BUILD) --check-build $(BUILD)-check live/soak

long: tests
	@FERRY_SOAK=1 tests/run --build $(BUILD) --check-build $(BUILD)-check $(TESTS)

GUEST_KERNELS ?= 6.1 6.12
GUEST_TESTS := $(or $(TESTS),diff live)

guest:
	@tools/setup guest
	@$(MAKE) --no-print-directory guest-tests

guest-tests:
	@tools/configure $(BUILD) -Dprefix=$(PREFIX) -Dtests=enabled
	@$(NINJA) -C $(BUILD)
	@failed=0; for kernel in $(GUEST_KERNELS); do \
		echo "kernel $$kernel"; \
		tools/guest --kernel $$kernel --build $(BUILD) --timeout 7200 -- \
			tests/run --guest --build $(BUILD) $(GUEST_TESTS) || failed=1; \
	done; exit $$failed

asan:
	@tools/setup sanitize
	@tools/configure $(BUILD)-asan -Dtests=enabled -Dlive=false -Ddebug_checks=true \
		-Dwerror=false -Db_sanitize=address,undefined -Dc_args=-fno-sanitize-recover=all
	@$(NINJA) -C $(BUILD)-asan
	@tests/run $(SANITIZED) --label asan --check-build $(BUILD)-asan $(CORE_TESTS)

tsan:
	@tools/setup sanitize
	@CC=clang tools/configure $(BUILD)-tsan -Dtests=enabled -Dlive=false -Ddebug_checks=true \
		-Dwerror=false -Db_sanitize=thread -Db_lundef=false
	@$(NINJA) -C $(BUILD)-tsan
	@$(TSAN_PREFIX) tests/run $(SANITIZED) --label tsan --check-build $(BUILD)-tsan \
		$(CORE_TESTS)

fuzz:
	@tools/setup sanitize
	@CC=clang tools/configure $(BUILD)-fuzz -Dtests=enabled -Dfuzz=true -Ddebug_checks=true \
		-Dwerror=false -Db_lundef=false -Db_sanitize=address,undefined
	@tools/fuzz $(BUILD)-fuzz $(TESTS)

lint:
	@tools/setup lint
	@PREFIX=$(PREFIX) tools/lint

bench:
	@tools/setup bench
	@$(MAKE) --no-print-directory products
	@$(NINJA) -C $(BUILD)
	@bench/run --build $(BUILD)

install: all
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	@$(NINJA) -C $(BUILD) products
	@DESTDIR="$(DESTDIR)" meson install -C $(BUILD) --no-rebuild --quiet

uninstall:
	@tools/uninstall $(BUILD) "$(DESTDIR)"

clean:
	rm -rf $(BUILD) $(addprefix $(BUILD)-,check asan tsan clang fuzz) compile_commands.json
