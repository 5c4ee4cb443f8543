# secretlet. `make help` lists the targets; everything that is built goes to build/ (build/asan/ with SANITIZE=...).
#
#   V=1                          show the commands
#   SANITIZE=address,undefined   sanitizer build in build/asan/
#   SANITIZE=thread              the same in build/tsan/
#   DEVELOPER=1                  -Werror and the long warning list
#   T=NAME                       only the tests whose name contains NAME

VERSION := $(shell cat VERSION)
PREFIX ?= /usr
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc/secretlet
DATADIR ?= $(PREFIX)/share/secretlet
# compiled in as well: the program reads SYSCONFDIR/secretlet/secretlet.yaml
SYSCONFDIR ?= /etc
UNITDIR ?= $(or $(shell pkg-config --variable=systemdsystemunitdir systemd 2>/dev/null),/lib/systemd/system)
BASHCOMPDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHCOMPDIR ?= $(PREFIX)/share/zsh/vendor-completions
FISHCOMPDIR ?= $(PREFIX)/share/fish/vendor_completions.d
SYSUSERSDIR ?= $(or $(shell pkg-config --variable=sysusersdir systemd 2>/dev/null),/usr/lib/sysusers.d)
TMPFILESDIR ?= $(or $(shell pkg-config --variable=tmpfilesdir systemd 2>/dev/null),/usr/lib/tmpfiles.d)
DESTDIR ?=
INSTALL ?= install

# linked; and those that are loaded when they are first used (common/dl.h)
PACKAGES := fuse3 yaml-0.1 libsodium jansson libsystemd libcap-ng
PACKAGES_LOADED := libcurl libmicrohttpd gnutls
# Debian's packages: what the build needs, and what the tests, the demo and the benchmark need beside it
DEPS_BUILD := gcc libc6-dev make pkg-config libfuse3-dev libcurl4-openssl-dev libyaml-dev libsodium-dev \
	libjansson-dev libsystemd-dev libmicrohttpd-dev libgnutls28-dev libcap-ng-dev
# what `make deb` needs beside the build's
DEPS_DEB := build-essential debhelper dpkg-dev
DEPS_TEST := libcmocka-dev libseccomp-dev mandoc jq curl openssl ca-certificates util-linux procps psmisc inotify-tools gnuplot-nox \
	attr nghttp2-proxy strace crun runc podman conmon containerd busybox-static python3 git clang-format fuse3 systemd clang-14 \
	libclang-rt-14-dev prometheus python3-yaml python3-jsonschema python3-rich zsh fish $(DEPS_DEB) lintian debootstrap
# what `make lint` and `make valgrind` need beside; not for `make test`, it is half a gigabyte
DEPS_LINT := clang clang-tidy cppcheck shellcheck pyflakes3 valgrind
# what counts instructions in `make long`
DEPS_LONG := valgrind
# and what counts and samples in `make bench`
DEPS_BENCH := valgrind linux-perf

# libFuzzer's build has a folder of its own, because it has its own compiler
B := build$(if $(LIBFUZZER),/fuzz,$(if $(SANITIZE),$(if $(filter thread,$(SANITIZE)),/tsan,/asan)))
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-5s %s\n' $(1) $(2);)

# clean, help and deps work without the libraries
ifneq ($(filter-out help deps deps-lint deb clean demo test long e2e soak bench bench-report chaos mutants fuzz fuzz-run lint valgrind tsan,$(or $(MAKECMDGOALS),all)),)
MISSING := $(strip $(foreach p,$(PACKAGES) $(PACKAGES_LOADED),$(shell pkg-config --exists $(p) 2>/dev/null || echo $(p))))
ifneq ($(MISSING),)
$(error missing libraries: $(MISSING). `sudo make deps` installs them)
endif
endif

# asked when it is first used, and once, not for each file
once = $(eval $(1) := $$(shell $(2)))$($(1))
LIB_CFLAGS = $(call once,LIB_CFLAGS,pkg-config --cflags $(PACKAGES) $(PACKAGES_LOADED))
LIB_LIBS = $(call once,LIB_LIBS,pkg-config --libs $(PACKAGES))
TEST_LIBS = $(call once,TEST_LIBS,pkg-config --libs libmicrohttpd gnutls libseccomp cmocka)

CC ?= gcc
# a sanitizer finds no less in what is optimized less, and it takes half the time to compile
OPT ?= $(if $(SANITIZE),$(if $(LIBFUZZER),-O2 -g,-O1 -g1),-O2 -g)
# an option, if the compiler takes it (clang 14 wants another one beside it)
accepts = $(shell $(CC) -Werror $(1) -fsyntax-only -x c /dev/null 2>/dev/null && echo '$(1)')
HARDEN := -fstack-protector-strong -fstack-clash-protection -fPIE $(if $(SANITIZE),,-D_FORTIFY_SOURCE=2) \
	$(call accepts,-ftrivial-auto-var-init=zero) $(if $(findstring x86_64,$(shell uname -m)),-fcf-protection)
WARN := -Wall -Wextra -Wformat -Wformat-security -Wno-unused-parameter -Wno-missing-field-initializers -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wwrite-strings -Wundef $(if $(DEVELOPER),-Werror -Wshadow -Wimplicit-fallthrough -Wvla -Wcast-qual)
CPP_FLAGS = -std=gnu17 -D_GNU_SOURCE -I. -I$(B)/include $(LIB_CFLAGS)
ALL_CFLAGS = $(CPP_FLAGS) -MMD -MP $(OPT) $(HARDEN) $(WARN) \
	$(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer) \
	$(if $(LIBFUZZER),-fsanitize=fuzzer-no-link) $(CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now $(if $(SANITIZE),-fsanitize=$(SANITIZE)) $(if $(LIBFUZZER),-fsanitize=fuzzer) $(LDFLAGS)
LIBS = $(LIB_LIBS) -lm -lpthread

comma := ,
obj = $(patsubst %.c,$(B)/%.o,$(1))
COMMON := $(call obj,$(filter-out common/wipe_%.c,$(wildcard common/*.c)))
WIPE := $(if $(SANITIZE),,$(call obj,$(wildcard common/wipe_*.c)))
FUSEFS := $(call obj,$(wildcard fusefs/*.c))
AGENT := $(call obj,$(filter-out agent/main.c,$(wildcard agent/*.c)))
APISERVER := $(call obj,$(filter-out test/apiserver/main.c,$(wildcard test/apiserver/*.c)))
TESTLIB := $(call obj,$(wildcard test/lib/*.c))
SANDBOX := $(call obj,$(wildcard test/sandbox/*.c))
# what the build tells the program: a header for each, so that a change compiles what contains it and nothing else
TOLD := $(B)/include/common/version.h $(B)/include/common/sysconfdir.h
UNIT := $(patsubst %.c,$(B)/%,$(wildcard test/unit/test_*.c))
# what a sanitizer calls when a process ends is on no list of test_sandbox's and test_signaller's; and some are in `make long`,
# but `make tsan` is one suite
UNSANITIZED := test/integration/test_sandbox.c test/integration/test_signaller.c \
	$(if $(LONG)$(T)$(filter thread,$(SANITIZE)),,$(shell grep -l 'takes long under ASan' test/integration/test_*.c))
INTEGRATION := $(patsubst %.c,$(B)/%,$(filter-out $(if $(SANITIZE),$(UNSANITIZED)),$(wildcard test/integration/test_*.c)))
FUZZERS := $(patsubst %.c,$(B)/%,$(wildcard test/fuzz/fuzz_*.c))
TOOLS := $(patsubst %.c,$(B)/%,$(wildcard test/tools/*.c)) $(patsubst %.c,$(B)/%,$(wildcard test/bench/*.c))
PRELOADS := $(patsubst %.c,$(B)/%.so,$(wildcard test/preload/*.c))

.DEFAULT_GOAL := all
.PHONY: help all deps test test-run e2e e2e-run long long-run soak soak-run bench bench-run bench-report chaos chaos-run canary canary-run mutants mutants-run demo demo-run picture tools \
	fuzz fuzz-run fuzz-build install uninstall deb \
	clean layers headers format format-check man-check check deps-lint lint lint-run valgrind valgrind-run \
	tsan threaded-build always
.DELETE_ON_ERROR:

help: ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-14s %s\n",$$1,$$2}' $(MAKEFILE_LIST)
	@echo "  variables: V=1 SANITIZE=address,undefined DEVELOPER=1 T=NAME LINT=TOOL KEEP=1 (demo) QUICK=1 (bench) DURATION= SEED= SOAK_DIR= (soak) FUZZ= SECONDS= CPU= (fuzz) PREFIX= DESTDIR= (install)"

all: $(B)/secretlet ## build build/secretlet

deps: ## install (apt-get) all that the build, the tests and the demo need
	$(Q)test/deps $(DEPS_BUILD) $(DEPS_TEST)

test: deps ## install what is needed, build, run unit and integration tests (also under ASan and UBSan)
	$(Q)$(MAKE) --no-print-directory test-run

# on all processors, if `make -jN` does not say how many; test/run says how much of the time was the build
parallel = $$(case " $$MAKEFLAGS" in (*" -j"*) ;; (*) echo "-j$$(nproc)" ;; esac)
test-run:
	$(Q)began=$$(date +%s) && \
	$(MAKE) --no-print-directory $(parallel) layers headers man-check unit-build all tools && \
	$(MAKE) --no-print-directory $(parallel) unit-build SANITIZE=address,undefined && \
	test/run --build $(B) --began "$$began" $(if $(T),--only '$(T)') unit asan integration

long: deps ## tests that take long: isolation, the package, mutants, and the larger integration tests under ASan and UBSan, T=NAME
	$(Q)test/deps $(DEPS_LONG)
	$(Q)$(MAKE) --no-print-directory long-run

long-run:
	$(Q)began=$$(date +%s) && \
	$(MAKE) --no-print-directory $(parallel) unit-build all tools && \
	$(MAKE) --no-print-directory $(parallel) unit-build SANITIZE=address,undefined LONG=1 && \
	test/run --build $(B) --began "$$began" $(if $(T),--only '$(T)') long

check: all unit-build tools ## the tests without installing anything and without the sanitizer build
	$(Q)test/run --build $(B) $(if $(T),--only '$(T)') unit integration

unit-build: $(UNIT) $(INTEGRATION) $(if $(SANITIZE),$(FUZZERS))
.PHONY: unit-build

e2e: deps ## what needs a real API server: KUBEBUILDER_ASSETS=folder with kube-apiserver and etcd
	$(Q)$(MAKE) --no-print-directory e2e-run

e2e-run: all tools
	$(Q)test/run --build $(B) $(if $(T),--only '$(T)') e2e

soak: deps ## two hours of random faults at a real API server (DURATION=SECONDS SEED=N; KUBEBUILDER_ASSETS as for e2e)
	$(Q)$(MAKE) --no-print-directory soak-run

DURATION ?= 7200
soak-run: all
	$(Q)test/soak/soak.py --build $(B) --duration $(DURATION) $(if $(SEED),--seed $(SEED)) $(if $(SOAK_DIR),--dir '$(SOAK_DIR)')

bench: deps ## figures, side by side with what they are compared to, T=NAME QUICK=1 (KUBEBUILDER_ASSETS as for e2e)
	$(Q)test/deps $(DEPS_BENCH)
	$(Q)$(MAKE) --no-print-directory bench-run

bench-run: all tools
	$(Q)failed=0; test/bench/run --build $(B) $(if $(T),--only '$(T)') $(if $(QUICK),--quick) || failed=1; \
	test/bench/report --in $(B)/bench --out $(B)/bench/page && sed -n '/^## Goals/,/^## [^G]/{/^##/!p}' $(B)/bench/page/README.md && \
		echo 'all figures, with plots: $(B)/bench/page/README.md' && exit $$failed

bench-report: ## docs/bench and README's figures: a page with plots of what `make bench` has measured last
	$(Q)test/bench/report --in $(B)/bench --out docs/bench --readme README.md

chaos: deps ## kill agents and publishers at random moments under load, SEED= KILLS= (1000) SECONDS= (500)
	$(Q)$(MAKE) --no-print-directory chaos-run

chaos-run: all tools
	$(Q)test/chaos/chaos.py --build $(B) --seed $(or $(SEED),1) --kills $(or $(KILLS),1000) \
		--duration $(or $(SECONDS),500) --figures $(B)/bench
	$(Q)test/chaos/chaos.py --build $(B) --volumes 10,100,1000

canary: deps ## search all memory and files of the daemon for marked Secrets, in every situation (make test does a part, make long the rest)
	$(Q)$(MAKE) --no-print-directory canary-run

canary-run: all tools
	$(Q)unshare -m --propagation private -- test/canary/canary.py --build $(B) --figures $(B)/bench

mutants: deps ## take the protections away that SECURITY.md names, one by one, and see the test that names each fail; five minutes of processor time, T=NAME
	$(Q)$(MAKE) --no-print-directory mutants-run

mutants-run: all tools unit-build
	$(Q)test/mutants/run --build $(B) $(if $(T),--only '$(T)')

fuzz: deps ## libFuzzer on one parser after the other, or on FUZZ=NAME, for SECONDS= (1800) each, or for CPU= of processor time
	$(Q)$(MAKE) --no-print-directory fuzz-run

# CC is for all else: what the library is of must compile the harnesses
FUZZ_CC ?= clang-14
fuzz-run:
	$(Q)$(MAKE) --no-print-directory $(parallel) fuzz-build LIBFUZZER=1 SANITIZE=address,undefined CC='$(FUZZ_CC)'
	$(Q)test/fuzz/run --build build/fuzz $(if $(CPU),--cpu $(CPU),--seconds $(or $(SECONDS),1800)) $(FUZZ)

fuzz-build: $(if $(FUZZ),$(patsubst %,$(B)/test/fuzz/fuzz_%,$(FUZZ)),$(FUZZERS))

picture: all ## README's picture, from a real session (KUBEBUILDER_ASSETS with kubectl)
	$(Q)test/picture --build $(B)

demo: deps ## show the main job on the examples: tree, live rotation, timing (KEEP=1 leaves it running)
	$(Q)$(MAKE) --no-print-directory demo-run

demo-run: all
	$(Q)KEEP='$(KEEP)' test/demo --build $(B)

tools: $(TOOLS) $(PRELOADS) $(B)/apiserver ## the test API server and the test tools

$(B)/include/common/version.h: TEXT = \#define SECRETLET_VERSION "$(VERSION)"
$(B)/include/common/sysconfdir.h: TEXT = \#define SECRETLET_SYSCONFDIR "$(SYSCONFDIR)"
$(TOLD): always
	@mkdir -p $(@D) && printf '#pragma once\n%s\n' '$(TEXT)' | cmp -s - $@ || printf '#pragma once\n%s\n' '$(TEXT)' >$@
always:

# what is loaded later calls the program's own (agent/http_ping.c, common/wipe_http2.c)
export_symbol = $(1:%=-Wl$(comma)--export-dynamic-symbol=%)
EXPORT_PING := $(call export_symbol,nghttp2_session_send nghttp2_session_want_write)
EXPORT_WIPE := $(if $(WIPE),$(call export_symbol,nghttp2_session_callbacks_set_on_data_chunk_recv_callback nghttp2_session_mem_recv nghttp2_session_del))
$(B)/secretlet: $(B)/agent/main.o $(AGENT) $(FUSEFS) $(COMMON) $(WIPE)
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) $(EXPORT_PING) $(EXPORT_WIPE) -o $@ $^ $(LIBS)

# The program with what it loads later linked to it: dpkg-shlibdeps reads from it what the package depends on
$(B)/linked: $(B)/agent/main.o $(filter-out $(B)/agent/lib_%,$(AGENT)) $(FUSEFS) $(COMMON) $(WIPE)
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS) $(shell pkg-config --libs $(PACKAGES_LOADED))

$(B)/apiserver: $(B)/test/apiserver/main.o $(APISERVER) $(COMMON)
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS) $(TEST_LIBS)

# of which each test takes what it needs: more than a hundred programs with all of it take a minute to link
$(B)/parts.a: $(if $(LIBFUZZER),,$(APISERVER) $(TESTLIB)) $(AGENT) $(FUSEFS) $(COMMON)
	$(call say,AR,$@)rm -f $@ && $(AR) rcs --thin $@ $^

$(UNIT) $(INTEGRATION): $(B)/%: $(B)/%.o $(B)/test/lib/filter.o $(B)/parts.a
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) $(EXPORT_PING) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS) $(TEST_LIBS)
# its roles, and what they try, are of no use to another test
$(B)/test/integration/test_sandbox: $(SANDBOX)

$(FUZZERS): $(B)/%: $(B)/%.o $(if $(LIBFUZZER),,$(B)/test/fuzz/replay.o) $(B)/parts.a
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(B)/test/bench/resume: $(FUSEFS) $(filter %/wipe_malloc.o,$(WIPE))
$(B)/test/bench/propagate $(B)/test/bench/readpath $(B)/test/bench/scale: LIBS += -lcurl
# run where there are no libraries
ALONE_TOOLS := $(B)/test/tools/attack $(B)/test/bench/woken
$(ALONE_TOOLS): $(B)/%: $(B)/%.o
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) -static-pie -o $@ $^
# with parts of the agent; arrival has a loop and an HTTP client of its own
PART_TOOLS := $(B)/test/bench/arrival $(B)/test/bench/coldread $(B)/test/bench/profile $(B)/test/bench/start
# what is counted is to be what the program does
$(B)/test/bench/profile: $(filter %/wipe_malloc.o,$(WIPE))
$(B)/test/bench/start: $(WIPE)
$(B)/test/bench/start: ALL_LDFLAGS += $(EXPORT_PING) $(EXPORT_WIPE)
$(PART_TOOLS): $(B)/%: $(B)/%.o $(B)/parts.a
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS) $(TEST_LIBS)
$(filter-out $(ALONE_TOOLS) $(PART_TOOLS),$(TOOLS)): $(B)/%: $(B)/%.o $(COMMON)
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(PRELOADS): $(B)/%.so: %.c | $(TOLD)
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) -fPIC -shared -o $@ $< -ldl

# the tests themselves, half of all lines, are not what has to be fast
$(B)/test/unit/%.o $(B)/test/integration/%.o $(B)/test/sandbox/%.o: OPT := $(if $(SANITIZE),$(OPT),-O1 -g)
$(B)/%.o: %.c | $(TOLD)
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) -c -o $@ $<

layers: ## no include against the direction common <- fusefs <- agent <- test
	@! grep -nE '#include "(fusefs|agent|test)/' common/*.[ch] || { echo "layers: common/ must not include these"; exit 1; }
	@! grep -nE '#include "(agent|test)/' fusefs/*.[ch] || { echo "layers: fusefs/ must not include these"; exit 1; }
	@! grep -nE '#include "test/' agent/*.[ch] || { echo "layers: agent/ must not include these"; exit 1; }

ALONE := $(patsubst %,%.alone,$(wildcard common/*.h fusefs/*.h agent/*.h test/*/*.h))
headers: $(ALONE) ## every header compiles alone
.PHONY: $(ALONE)
$(ALONE): %.alone: % | $(TOLD)
	$(Q)$(CC) $(filter-out -MMD -MP,$(ALL_CFLAGS)) -fsyntax-only -include $< -x c /dev/null

C_FILES = $(wildcard common/*.[ch] fusefs/*.[ch] agent/*.[ch] test/*/*.[ch])

deps-lint: deps ## install (apt-get) what lint and valgrind need beside; half a gigabyte, so it is not in deps
	$(Q)test/deps $(DEPS_LINT)

lint: deps-lint ## static analysis, any finding fails: LINT=TOOL[,TOOL...] T=PATH (test/lint/run names the tools)
	$(Q)$(MAKE) --no-print-directory lint-run

lint-run: $(TOLD)
	$(Q)test/lint/run $(if $(LINT),--only '$(LINT)') $(if $(T),--match '$(T)') -- $(CPP_FLAGS)

valgrind: deps-lint ## the unit tests under memcheck, T=NAME: any error and any leak fails
	$(Q)$(MAKE) --no-print-directory valgrind-run

valgrind-run: $(UNIT)
	$(Q)test/run --build $(B) $(if $(T),--only '$(T)') valgrind

# secretlet's processes have one thread each (but for libcurl's resolver, which calls nothing of ours beside malloc());
# threads are in the tests, where the client, or the test API server, runs beside the code under test
tsan: deps ## the tests that have threads, under ThreadSanitizer, T=NAME
	$(Q)$(MAKE) --no-print-directory $(parallel) threaded-build SANITIZE=thread
	$(Q)$(MAKE) --no-print-directory all
	$(Q)test/run --build $(B) $(if $(T),--only '$(T)') tsan

THREADED := $(patsubst %.c,$(B)/%,$(shell grep -lE \
	'pthread_create|"test/lib/(rig|served).h"|"test/apiserver/' test/unit/*.c test/integration/*.c test/fuzz/fuzz_*.c))
threaded-build: $(THREADED)

format: ## clang-format over all sources
	$(Q)clang-format -i $(C_FILES)

format-check: ## fails where clang-format would change something
	$(Q)clang-format --dry-run --Werror $(C_FILES)

man-check: ## mandoc's lint over the manual
	$(Q)if command -v mandoc >/dev/null; then mandoc -T lint -W warning man/*.[1-9]; fi

# below DOCDIR, and below DATADIR what is used as it is; by their names there
DOCS = README.md SECURITY.md CHANGELOG.md $(wildcard docs/*.md) docs/secretlet.svg $(wildcard docs/bench/*) $(shell find examples -type f) podman/web.container
# The hook is not where podman looks by itself: an image's annotations would be asked for as the operator's are
DATA = openapi.yaml oci/hooks.d/secretlet.json oci/secretlet-precreate.json $(addprefix prometheus/,alerts.yaml alerts_test.yaml scrape.yaml) grafana/secretlet.json
# a file that names the program, or its configuration
with_places = $(INSTALL) -D -m 0644 /dev/null $(DESTDIR)$(2) && \
	sed 's\#/usr/bin/secretlet\#$(BINDIR)/secretlet\#g; s\#/etc/secretlet\#$(SYSCONFDIR)/secretlet\#g' $(1) >$(DESTDIR)$(2)

# The configuration is the administrator's: neither of the two touches it.
install: all ## into $(DESTDIR)$(PREFIX): BINDIR= MANDIR= DOCDIR= DATADIR= UNITDIR= SYSUSERSDIR= TMPFILESDIR= SYSCONFDIR= and others
	$(INSTALL) -D -m 0755 $(B)/secretlet $(DESTDIR)$(BINDIR)/secretlet
	for p in man/*.[1-9]; do $(call with_places,$$p,$(MANDIR)/man$${p##*.}/$${p##*/}) || exit 1; done
	$(call with_places,deploy/secretlet.service,$(UNITDIR)/secretlet.service)
	$(call with_places,deploy/systemd/secretlet-wait@.service,$(UNITDIR)/secretlet-wait@.service)
	$(INSTALL) -D -m 0644 deploy/secretlet.sysusers $(DESTDIR)$(SYSUSERSDIR)/secretlet.conf
	$(INSTALL) -D -m 0644 deploy/secretlet.tmpfiles $(DESTDIR)$(TMPFILESDIR)/secretlet.conf
	$(INSTALL) -D -m 0644 deploy/completion/secretlet.bash $(DESTDIR)$(BASHCOMPDIR)/secretlet
	$(INSTALL) -D -m 0644 deploy/completion/_secretlet $(DESTDIR)$(ZSHCOMPDIR)/_secretlet
	$(INSTALL) -D -m 0644 deploy/completion/secretlet.fish $(DESTDIR)$(FISHCOMPDIR)/secretlet.fish
	for to in $(DOCS); do from=$$to; [ -e $$from ] || from=deploy/$$to; case $$to in \
		examples/* | podman/*) $(call with_places,$$from,$(DOCDIR)/$$to) ;; \
		*) $(INSTALL) -D -m 0644 $$from $(DESTDIR)$(DOCDIR)/$$to ;; esac || exit 1; done
	for to in $(DATA); do from=docs/$$to; [ -e $$from ] || from=deploy/$$to; \
		$(call with_places,$$from,$(DATADIR)/$$to) || exit 1; done
	$(INSTALL) -d -m 0755 $(DESTDIR)$(SYSCONFDIR)/secretlet

# files of a folder of ours, and the folders that are empty then; what somebody else has put there stays
remove = for f in $(2); do rm -f $(DESTDIR)$(1)/$$f || exit 1; done; \
	for d in $$(printf '%s\n' $(dir $(2)) | LC_ALL=C sort -ru); do rmdir $(DESTDIR)$(1)/$${d%./} 2>/dev/null || true; done

uninstall: ## removes what install put there (not the configuration); the same variables
	rm -f $(DESTDIR)$(BINDIR)/secretlet
	for p in man/*.[1-9]; do rm -f $(DESTDIR)$(MANDIR)/man$${p##*.}/$${p##*/}; done
	rm -f $(DESTDIR)$(UNITDIR)/secretlet.service $(DESTDIR)$(UNITDIR)/secretlet-wait@.service
	rm -f $(DESTDIR)$(SYSUSERSDIR)/secretlet.conf $(DESTDIR)$(TMPFILESDIR)/secretlet.conf
	rm -f $(DESTDIR)$(BASHCOMPDIR)/secretlet $(DESTDIR)$(ZSHCOMPDIR)/_secretlet $(DESTDIR)$(FISHCOMPDIR)/secretlet.fish
	$(call remove,$(DOCDIR),$(DOCS))
	$(call remove,$(DATADIR),$(DATA))

deb: ## build/deb/secretlet_VERSION_ARCH.deb, a Debian package
	$(Q)test/deps $(DEPS_BUILD) $(DEPS_DEB)
	$(Q)deploy/mkdeb --version '$(VERSION)' --out $(B)/deb

clean: ## removes build/
	rm -rf build

-include $(shell find $(B) -name '*.d' -type f 2>/dev/null)
