# Caisson. `make run` and `make test` do everything on a fresh Debian 12; the rest are the parts:
#   all check test test-long test-vm bench lint format docs docs-check asan arm64 rock install clean
ifeq ($(origin CC),default)
CC = gcc
endif
BUILD ?= build
LUA ?= luajit
PREFIX ?= /usr/local
CFLAGS ?= -O2 -g
BINDIR = $(PREFIX)/bin
LUADIR = $(PREFIX)/share/lua/5.1
LIBDIR = $(PREFIX)/lib/lua/5.1
SHAREDIR = $(PREFIX)/share
COMMAND = $(BUILD)/bin/caisson
OCI_COMMAND = $(BUILD)/bin/caisson-oci

# which Lua's headers; the module itself links to none
LUA_CFLAGS = $(if $(LUA_INCDIR),-I$(LUA_INCDIR),$(shell pkg-config --cflags $(LUA)))
PUC = lua5.1 lua5.2 lua5.3 lua5.4
CSN_WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 $(WERROR)
CSN_CFLAGS = -std=gnu11 $(CSN_WARN) -MMD -Icore
RUNNER_CFLAGS = -Os -DCSN_RUNNER -ffreestanding -fno-stack-protector -fno-pic -fno-asynchronous-unwind-tables \
  -fcf-protection=none -fomit-frame-pointer -ffunction-sections -fdata-sections $(NO_LOOP_CALLS)
# gcc alone would make a call of memset() out of the loop in memset()
NO_LOOP_CALLS := $(shell $(CC) -fno-tree-loop-distribute-patterns -E -x c /dev/null > /dev/null 2>&1 && \
  echo -fno-tree-loop-distribute-patterns)
RUNNER_LDFLAGS = -nostdlib -static -Wl,--gc-sections,--build-id=none,-z,noseparate-code,-z,norelro,-z,noexecstack

# A file that knows Lua is the library's alone; all others are in the library and in the runner. Both
# link in one order, so that a primitive has the same number in both.
LIB_ONLY := $(sort $(shell grep -lE '"(csn|spawn|encode)\.h"' core/*.c))
BOTH := $(sort $(filter-out $(LIB_ONLY) core/runner.c, $(wildcard core/*.c)))
LIB_OBJ := $(BOTH:core/%.c=$(BUILD)/lib/%.o) $(LIB_ONLY:core/%.c=$(BUILD)/lib/%.o) $(BUILD)/lib/clone.o $(BUILD)/lib/embed.o
RUNNER_OBJ := $(BOTH:core/%.c=$(BUILD)/runner/%.o) $(BUILD)/runner/runner.o $(BUILD)/runner/clone.o

all: $(BUILD)/caisson/core.so $(BUILD)/bin/caisson $(BUILD)/bin/caisson-oci

$(BUILD)/lib/%.o: core/%.c Makefile | $(BUILD)/lib
	$(CC) $(CSN_CFLAGS) -fPIC $(CFLAGS) $(LUA_CFLAGS) -c $< -o $@
$(BUILD)/lib/clone.o: core/clone.S | $(BUILD)/lib
	$(CC) -c $< -o $@
$(BUILD)/lib/embed.o: core/embed.S $(BUILD)/caisson-runner $(BUILD)/runner/probe | $(BUILD)/lib
	$(CC) -DRUNNER='"$(BUILD)/caisson-runner"' -DRUNNER_ID=0x$$(sha256sum < $(BUILD)/caisson-runner | cut -c 1-16) \
	  -DPROBE='"$(BUILD)/runner/probe"' -c $< -o $@
$(BUILD)/runner/%.o: core/%.c Makefile | $(BUILD)/runner
	$(CC) $(CSN_CFLAGS) $(RUNNER_CFLAGS) -c $< -o $@
$(BUILD)/runner/clone.o: core/clone.S | $(BUILD)/runner
	$(CC) -c $< -o $@
$(BUILD)/caisson-runner: $(RUNNER_OBJ)
	$(CC) -s $(RUNNER_LDFLAGS) $^ -o $@
# What stands in for a program and tries what can be done (core/prober.c)
$(BUILD)/runner/probe: core/probe/probe.c core/sys.h core/freestanding.h Makefile | $(BUILD)/runner
	$(CC) $(CSN_CFLAGS) $(RUNNER_CFLAGS) -s $(RUNNER_LDFLAGS) $< -o $@
$(BUILD)/caisson/core.so: $(LIB_OBJ) | $(BUILD)/caisson
	$(CC) -shared -Wl,-z,start-stop-visibility=hidden,-z,nodelete $(CFLAGS) $(LDFLAGS) $^ -o $@ -lseccomp -lcap -lpthread

# Where all that the kernel gives has an address that LuaJIT has room for (47 bits).
IMAGE := $(if $(filter x86_64%,$(shell $(CC) -dumpmachine)),-DIMAGE)

# The commands: LuaJIT, the core and the Lua modules in one program; recipes stay files beside it.
LUA_FILES := $(sort $(shell find lua/caisson -name '*.lua'))
META_FILES := $(sort $(shell find lua/meta -name '*.lua'))
$(BUILD)/bundle: core/launcher/bundle.lua $(LUA_FILES) | $(BUILD)/lib
	luajit core/launcher/bundle.lua $@ $(LUA_FILES)
$(BUILD)/lib/launcher-caisson.o: LAUNCHES = -DMAIN='"caisson.cli"' -DFAILED=125 -DNAME='"caisson"'
$(BUILD)/lib/launcher-caisson-oci.o: LAUNCHES = -DMAIN='"caisson.oci.cli"' -DFAILED=1 -DNAME='"caisson-oci"' \
  -DWHOLE='"caisson"' -DAS='"oci"' $(IMAGE)
$(BUILD)/lib/launcher-caisson.o $(BUILD)/lib/launcher-caisson-oci.o: core/launcher/main.c $(BUILD)/bundle Makefile
	$(CC) $(CSN_CFLAGS) $(CFLAGS) $(LUA_CFLAGS) -DBUNDLE='"$(BUILD)/bundle"' $(LAUNCHES) -c $< -o $@
COMMAND_LIBS = -lluajit-5.1 -llua5.1-cjson -lseccomp -lcap
$(BUILD)/bin/caisson: $(BUILD)/lib/launcher-caisson.o $(LIB_OBJ) | $(BUILD)/bin
	$(CC) $(CFLAGS) $(LDFLAGS) -no-pie -static-libgcc -Wl,-E $^ -o $@ -Wl,-Bstatic $(COMMAND_LIBS) -Wl,-Bdynamic -lm -ldl -lpthread
# Static: a third sooner there, and a third smaller. With the start files of a dynamic program, whose table of stack frames
# is sorted already, and need not be at the first Lua error. (dlopen is what the linker warns of: launcher/main.c)
# Then it writes itself anew with the modules in it, loaded, that run, create, start, exec, kill, delete and state need
# (launcher/image.c).
start = $(shell $(CC) -print-file-name=$(1).o)
$(BUILD)/lib/image.o: core/launcher/image.c Makefile | $(BUILD)/lib
	$(CC) $(CSN_CFLAGS) $(CFLAGS) $(LUA_CFLAGS) -c $< -o $@
$(BUILD)/plain/caisson-oci: $(BUILD)/lib/launcher-caisson-oci.o $(BUILD)/lib/image.o $(LIB_OBJ) | $(BUILD)/plain
	$(CC) $(CFLAGS) $(LDFLAGS) -no-pie -static -nostartfiles -Wl,-E,--eh-frame-hdr,--no-warnings $(call start,crt1) $(call start,crti) \
	  $(call start,crtbegin) $^ -o $@ $(COMMAND_LIBS) -lm -lpthread $(call start,crtend) $(call start,crtn)
$(BUILD)/bin/caisson-oci: $(BUILD)/plain/caisson-oci core/launcher/modules | $(BUILD)/bin
	$(if $(IMAGE),env -i $< --image $@ $$(cat core/launcher/modules),cp $< $@)
$(BUILD)/lib $(BUILD)/runner $(BUILD)/caisson $(BUILD)/bin $(BUILD)/plain:
	mkdir -p $@

# A build for another Lua, and one with sanitizers, which must be in the interpreter before all else; the
# runner has no libc that they could hook.
$(PUC):
	@$(MAKE) BUILD=build/$@ LUA=$@ build/$@/caisson/core.so
asan:
	@$(MAKE) BUILD=build-asan CFLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined" \
	  build-asan/caisson/core.so
	@mkdir -p build-asan/bin
	patchelf $(foreach lib,ubsan asan,--add-needed $(shell $(CC) -print-file-name=lib$(lib).so)) \
	  --output build-asan/bin/luajit $(shell command -v luajit)

# Each installs what it needs first; make then starts anew, since headers and tools were found before.
check: all
	luajit $(shell command -v busted) --ignore-lua spec/unit
run:
	@spec/tools/deps build run
	@$(MAKE) -s all
	@spec/tools/demo
test:
	@spec/tools/deps build run test engines
	@$(MAKE) all
	@spec/tools/suite test root:luajit user:luajit
test-long:
	@spec/tools/deps build run test long
	@$(MAKE) all asan $(PUC)
	@spec/tools/suite long $(PUC:%=any:%) any:valgrind root:asan user:asan root:long user:long
test-vm:
	@spec/tools/deps build run test engines vm
	@$(MAKE) all
	@spec/tools/vm spec/tools/suite vm root:vm user:vm
	@VM_INIT=systemd spec/tools/vm spec/tools/suite vm.systemd root:systemd
arm64:
	@spec/tools/deps build arm64
	@spec/tools/arm64
# The floor, the least programs, and one table.
$(BUILD)/bench/floor: spec/bench/floor.c $(BUILD)/lib/clone.o | $(BUILD)/bench/root/proc
	$(CC) -std=gnu11 $(CSN_WARN) -O2 $^ -o $@
$(BUILD)/bench/work: spec/bench/work.c | $(BUILD)/bench/root/proc
	$(CC) -std=gnu11 $(CSN_WARN) -O2 $^ -o $@
$(BUILD)/bench/root/true $(BUILD)/bench/root/pause: spec/bench/true.c | $(BUILD)/bench/root/proc
	$(CC) -Os -static -nostdlib -ffreestanding -Wl,-e,start,--build-id=none $(if $(findstring pause,$@),-DPAUSE) $< -o $@
$(BUILD)/bench/root/proc:
	mkdir -p $@
bench:
	@spec/tools/deps build run bench
	@$(MAKE) -s all $(BUILD)/bench/floor $(BUILD)/bench/work $(BUILD)/bench/root/true $(BUILD)/bench/root/pause
	@LUA_PATH="./lua/?.lua;./lua/?/init.lua;;" LUA_CPATH="$(BUILD)/?.so;;" luajit spec/bench/run.lua $(BUILD)
	@LUA_PATH="./lua/?.lua;./lua/?/init.lua;;" LUA_CPATH="$(BUILD)/?.so;;" luajit spec/bench/oci.lua $(BUILD)
	@LUA_PATH="./lua/?.lua;./lua/?/init.lua;;" LUA_CPATH="$(BUILD)/?.so;;" luajit spec/bench/learn.lua $(BUILD)
	@LUA_PATH="./lua/?.lua;./lua/?/init.lua;;" LUA_CPATH="$(BUILD)/?.so;;" luajit spec/bench/explain.lua $(BUILD)
lint:
	@spec/tools/deps build lint
	@spec/tools/lint
docs docs-check: all
	@luajit spec/tools/apidoc.lua $(if $(filter docs-check,$@),--check)
format:
	@spec/tools/deps lint
	clang-format -i $$(find core spec -name '*.[ch]')

# For luarocks, which says where things go; objects of another Lua may be there from the last time.
rock:
	rm -rf $(BUILD)
	@$(MAKE) $(BUILD)/caisson/core.so
install:
	@[ -e $(COMMAND) ] && [ -e $(BUILD)/caisson/core.so ] || { echo "make first" >&2; exit 1; }
	install -D -m 755 $(COMMAND) $(DESTDIR)$(BINDIR)/caisson
	install -D -m 755 $(OCI_COMMAND) $(DESTDIR)$(BINDIR)/caisson-oci
	install -D -m 755 $(BUILD)/caisson/core.so $(DESTDIR)$(LIBDIR)/caisson/core.so
	install -D -m 755 $(BUILD)/caisson-runner $(DESTDIR)$(LIBDIR)/caisson-runner
	for f in $(LUA_FILES:lua/%=%); do install -D -m 644 lua/$$f $(DESTDIR)$(LUADIR)/$$f || exit 1; done
	for f in $(META_FILES:lua/%=%); do install -D -m 644 lua/$$f $(DESTDIR)$(LUADIR)/caisson/$$f || exit 1; done
	for f in recipes/*.lua recipes/oci/*.lua; do install -D -m 644 $$f $(DESTDIR)$(LUADIR)/caisson/$$f || exit 1; done
	$(if $(NO_PAGES),,$(PAGES))
# What the command itself writes: manual pages, and what shells complete it by.
page = install -d $(DESTDIR)$(SHAREDIR)/$(dir $(1)) && $(COMMAND) $(2) > $(DESTDIR)$(SHAREDIR)/$(1) && \
  chmod 644 $(DESTDIR)$(SHAREDIR)/$(1)
PAGES = $(call page,man/man1/caisson.1,help --man) && $(call page,man/man8/caisson-oci.8,help --man caisson-oci) && \
  $(call page,bash-completion/completions/caisson,completion bash) && \
  $(call page,zsh/site-functions/_caisson,completion zsh) && \
  $(call page,fish/vendor_completions.d/caisson.fish,completion fish)

clean:
	rm -rf build build-*

-include $(wildcard $(BUILD)/lib/*.d $(BUILD)/runner/*.d)
.PHONY: all run $(PUC) asan check test test-long test-vm arm64 lint docs docs-check bench format rock install clean
.DELETE_ON_ERROR:
