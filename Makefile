# Makefile of imaged.  `make help` lists what it can do.
#
# BUILD is where everything goes; SANITIZE=1 builds with ASan and UBSan (make asan does that in
# a build folder of its own).  All warnings are errors; headers are tracked.

BUILD ?= build
CC ?= gcc
PREFIX ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0
JOBS ?= $(shell nproc)

PKGS := glib-2.0 gio-unix-2.0 sqlite3 libmicrohttpd jansson libcurl libzstd zlib libxxhash libsodium libcrypt libnbd yaml-0.1 libvirt libvirt-qemu ldap gnutls
# Looked up when a recipe runs, so that `make deps` works before pkg-config is there.
PKG_CFLAGS = $(eval PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS)))$(PKG_CFLAGS)
PKG_LIBS = $(eval PKG_LIBS := $(shell pkg-config --libs $(PKGS)))$(PKG_LIBS)

CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DIMAGED_VERSION='"$(VERSION)"' \
  -I. -Wall -Wextra -Werror -Wstrict-prototypes -Wmissing-prototypes -Wshadow \
  -Wpointer-arith -Wformat=2 -Wno-unused-parameter -Wno-missing-field-initializers \
  -fstack-protector-strong -fno-strict-aliasing $(PKG_CFLAGS) $(CFLAGS)
ALL_LDFLAGS = $(LDFLAGS) -Wl,--as-needed
ifdef SANITIZE
ALL_CFLAGS += -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
ALL_LDFLAGS += -fsanitize=address,undefined
else
ALL_CFLAGS += -D_FORTIFY_SOURCE=2
endif

LIB_SRC := $(wildcard imaged/base/*.c cow/*.c imaged/catalog/*.c imaged/job/*.c imaged/guest/*.c templates/*.c \
  snapshot/*.c broker/*.c broker/*/*.c imaged/ops/*.c imaged/http/*.c)
DAEMON_SRC := imaged/main.c imaged/daemon.c imaged/config.c
CLI_SRC := $(wildcard imaged/cli/*.c)
UNIT_SRC := $(wildcard tests/unit/test_*.c)
TOOL_SRC := $(wildcard tests/tools/*.c)
SIM_SRC := $(wildcard tests/sim/*.c)
BENCH_SRC := $(wildcard tests/bench/*.c)
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
LIB := $(BUILD)/libimaged.a
UNIT_BIN := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(UNIT_SRC))
TOOL_BIN := $(patsubst tests/tools/%.c,$(BUILD)/tests/%,$(TOOL_SRC))
SIM := $(BUILD)/tests/imaged-sim
BENCH_BIN := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(BENCH_SRC))

.PHONY: all help deps build demo check check-recipes bench lint asan crash soak fuzz install clean test-binaries format

# What nbdkit loads for a read-only export: position-independent, and never sanitized, because
# nbdkit itself is not.
PLUGIN := $(BUILD)/imaged-nbd-plugin.so
PLUGIN_SRC := $(wildcard cow/nbdkit/*.c) cow/chain_map.c cow/chain_window.c cow/chain_reader.c \
  cow/layer.c cow/layer_extents.c cow/qcow2.c imaged/base/durable.c imaged/base/error.c
PLUGIN_OBJ := $(patsubst %.c,$(BUILD)/obj/pic/%.o,$(PLUGIN_SRC))
PLUGIN_CFLAGS = $(filter-out -fsanitize%,$(ALL_CFLAGS)) -fPIC -fvisibility=hidden

# The helper: of the tree only imaged/base and the protocol.
HELPER := $(BUILD)/imaged-guest
HELPER_SRC := $(wildcard imaged/guest/helper/*.c imaged/base/*.c)
HELPER_LIB := $(BUILD)/libimaged-guest.a
HELPER_PKGS := glib-2.0 gio-unix-2.0 jansson libguestfs libseccomp libnbd libsodium ext2fs com_err

all: $(BUILD)/imaged $(BUILD)/imagectl $(PLUGIN) $(HELPER)

help:
	@echo 'make          build $(BUILD)/imaged and $(BUILD)/imagectl'
	@echo 'make deps     install what is missing from Debian (list: docs/packages.txt)'
	@echo 'make demo     show the main job on a real bootable image'
	@echo 'make check    all tests         make lint    the quick static ones alone'
	@echo 'make check-recipes  the recipes with a desktop, built and booted'
	@echo 'make asan     the tests under ASan and UBSan'
	@echo 'make crash    every verb stopped at every change, every power failure'
	@echo 'make soak     half an hour of random verbs and kills'
	@echo 'make fuzz     the fuzzers, FUZZ_SECONDS=60 each'
	@echo 'make bench    speed and size: ours, the peer, the limit'
	@echo 'make install  PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)'

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo '  CC   $<'
	@$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(LIB): $(call obj,$(LIB_SRC))
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/imaged: $(call obj,$(DAEMON_SRC)) $(LIB)
	@echo '  LINK $@'
	@$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) -lpthread -lm

$(BUILD)/imagectl: $(call obj,$(CLI_SRC)) $(LIB)
	@echo '  LINK $@'
	@$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) -lpthread -lm

$(HELPER): $(call obj,$(HELPER_SRC))
	@echo '  LINK $@'
	@$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(shell pkg-config --libs $(HELPER_PKGS)) -lpthread

$(BUILD)/obj/pic/%.o: %.c
	@mkdir -p $(@D)
	@echo '  PIC  $<'
	@$(CC) $(PLUGIN_CFLAGS) -MMD -MP -c -o $@ $<

$(PLUGIN): $(PLUGIN_OBJ)
	@echo '  LINK $@'
	@$(CC) -shared $(PLUGIN_CFLAGS) $(LDFLAGS) -Wl,--as-needed -Wl,-z,relro,-z,now -o $@ $^ \
	  $(shell pkg-config --libs glib-2.0 libzstd zlib libseccomp) -lpthread

# The helper's parts but its main(), for their unit tests.
$(HELPER_LIB): $(call obj,$(filter-out %/main.c,$(wildcard imaged/guest/helper/*.c)))
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $(HELPER_LIB) $(LIB)
	@mkdir -p $(@D)
	@echo '  LINK $@'
	@$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) $(shell pkg-config --libs $(HELPER_PKGS)) -lpthread -lm

$(BUILD)/tests/%: $(BUILD)/obj/tests/tools/%.o $(LIB)
	@mkdir -p $(@D)
	@echo '  LINK $@'
	@$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) $(TOOL_LIBS) -lpthread -lm

# A client of desktops, for tests; the library's headers are not held to our warnings.
$(BUILD)/obj/tests/tools/spice_client.o: ALL_CFLAGS += $(subst -I,-isystem ,$(shell pkg-config --cflags-only-I spice-client-glib-2.0))
$(BUILD)/tests/spice_client: TOOL_LIBS = $(shell pkg-config --libs spice-client-glib-2.0)

$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(LIB)
	@mkdir -p $(@D)
	@echo '  LINK $@'
	@$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) -lpthread -lm

# The daemon with simulated hosts, for tests of many.
$(SIM): $(call obj,$(SIM_SRC) imaged/daemon.c imaged/config.c) $(LIB)
	@mkdir -p $(@D)
	@echo '  LINK $@'
	@$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) -lpthread -lm

.SECONDARY:

# The recipes that need installed packages start a second make, whose pkg-config then finds them.
build:
	@$(MAKE) --no-print-directory -j$(JOBS) all

test-binaries: all $(UNIT_BIN) $(TOOL_BIN) $(SIM)

deps:
	@sh tests/deps.sh docs/packages.txt

demo: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@bash tests/demo.sh $(BUILD)

lint:
	@bash tests/lint/run.sh

check: deps
	@$(MAKE) --no-print-directory -j$(JOBS) test-binaries
	@bash tests/run.sh $(BUILD)

# The recipes with a desktop, built and booted; PICTURES=DIR keeps what a SPICE client sees.
check-recipes: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@BUILD=$(abspath $(BUILD)) prove -v tests/guest/recipes.t

asan: deps
	@$(MAKE) --no-print-directory -j$(JOBS) BUILD=build/asan SANITIZE=1 CFLAGS='-O1 -g' test-binaries
	@SANITIZED=1 bash tests/run.sh build/asan

# Every change of every verb: killed, EIO, ENOSPC; every state that a power failure can leave.  Hours on a
# busy machine; ONLY=REGEX takes some verbs.
crash: deps
	@$(MAKE) --no-print-directory -j$(JOBS) test-binaries
	@BUILD=$(abspath $(BUILD)) FULL=1 JOBS=$(JOBS) bash tests/crash/all.sh

soak: deps
	@$(MAKE) --no-print-directory -j$(JOBS) test-binaries
	@BUILD=$(abspath $(BUILD)) SOAK_SECONDS=$(or $(SOAK_SECONDS),1800) bash tests/crash/soak.t

fuzz: deps
	@BUILD=$(BUILD) bash tests/fuzz/run.sh $(or $(FUZZ_SECONDS),60)

bench: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all $(BENCH_BIN) $(TOOL_BIN) $(SIM)
	@bash tests/bench/run.sh $(BUILD)

install: all
	@sh tests/install.sh '$(BUILD)' '$(DESTDIR)' '$(PREFIX)'

format:
	@clang-format -i $(LIB_SRC) $(DAEMON_SRC) $(CLI_SRC) $(UNIT_SRC) $(TOOL_SRC) $(BENCH_SRC)

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
