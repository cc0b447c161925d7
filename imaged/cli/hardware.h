/* hardware.h: the options by which a desktop or a template version is told what machine it is. */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "imaged/cli/args.h"
#include "imaged/cli/output.h"

/* Without what users may do through their clients. */
#define MACHINE_OPTIONS                                                                            \
    { "cpus", OPTION_COUNT, "N", "processors", NULL },                                             \
        { "memory", OPTION_SIZE, "SIZE", "memory", NULL },                                         \
        { "heads", OPTION_COUNT, "N", "monitors, 1 to 4 (1)", NULL },                              \
        { "resolution", OPTION_TEXT, "WxH", "of each monitor, at most (1920x1200)", NULL },        \
        { "video", OPTION_CHOICE, "qxl|virtio|vga", "the display adapter", NULL },                 \
        { "firmware", OPTION_CHOICE, "bios|uefi", "how it boots", NULL },                          \
        { "profile", OPTION_CHOICE, "linux|windows", "the guest (as inspection found)", NULL },    \
        { "virtio", OPTION_CHOICE, "on|off", "the guest has virtio drivers (Windows: off)",        \
          NULL },                                                                                  \
        { "driver-iso", OPTION_CHOICE, "on|off", "put in the host's CD of drivers (off)", NULL },  \
        { "nvram", OPTION_CHOICE, "fresh|keep", "does UEFI keep its variables? (fresh)", NULL },   \
        { "tpm", OPTION_TEXT, "on|off", "a TPM that forgets all at each stop (off)", NULL },       \
        { "link", OPTION_CHOICE, "auto|lan|wan", "how pictures are compressed (auto)", NULL },     \
        { "cpu-limit", OPTION_COUNT, "PERCENT", "of its own processors, at most", NULL },          \
        { "cpu-shares", OPTION_COUNT, "N", "against neighbours, as libvirt's", NULL },             \
        { "io-limit", OPTION_SIZE, "BYTES", "per second and disk, at most", NULL },                \
        { "iops-limit", OPTION_COUNT, "N", "requests per second and disk, at most", NULL },        \
        { "io-weight", OPTION_COUNT, "N", "against neighbours, as libvirt's", NULL },              \
    {                                                                                              \
        "network", OPTION_LIST, "NAME", "a network adapter; several: several", "network"           \
    }

#define HARDWARE_OPTIONS                                                                           \
    MACHINE_OPTIONS,                                                                               \
        { "clipboard", OPTION_CHOICE, "on|off", "may it be shared with the client? (on)", NULL },  \
        { "file-transfer", OPTION_CHOICE, "on|off", "may files be dropped? (on)", NULL },          \
        { "shared-folder", OPTION_CHOICE, "on|off", "may a folder be shared? (on)", NULL },        \
        { "usb", OPTION_TEXT, "all|none|CLASSES", "what may be passed on: storage,printer (all)",  \
          NULL },                                                                                  \
    {                                                                                              \
        "audio", OPTION_CHOICE, "both|playback|none", "sound (both)", NULL                         \
    }

#define MACHINE_COLUMNS                                                                            \
    { "HEADS", "hardware.heads", CELL_COUNT, COLUMN_SHOW },                                        \
        { "RESOLUTION", "hardware.resolution", CELL_TEXT, COLUMN_SHOW },                           \
        { "PROFILE", "hardware.profile", CELL_TEXT, COLUMN_SHOW },                                 \
        { "VIRTIO", "hardware.virtio", CELL_TRUTH, COLUMN_SHOW },                                  \
        { "DRIVER ISO", "hardware.driver_iso", CELL_TRUTH, COLUMN_SHOW },                          \
        { "NVRAM", "hardware.nvram", CELL_TEXT, COLUMN_SHOW },                                     \
        { "TPM", "hardware.tpm", CELL_TRUTH, COLUMN_SHOW },                                        \
        { "LINK", "hardware.link", CELL_TEXT, COLUMN_SHOW },                                       \
        { "CPU LIMIT", "hardware.cpu_limit", CELL_COUNT, COLUMN_SHOW },                            \
        { "CPU SHARES", "hardware.cpu_shares", CELL_COUNT, COLUMN_SHOW },                          \
        { "IO LIMIT", "hardware.io_limit", CELL_SIZE, COLUMN_SHOW },                               \
        { "IOPS LIMIT", "hardware.iops_limit", CELL_COUNT, COLUMN_SHOW },                          \
        { "IO WEIGHT", "hardware.io_weight", CELL_COUNT, COLUMN_SHOW },                            \
    {                                                                                              \
        "NETWORKS", "hardware.networks", CELL_LIST, COLUMN_SHOW                                    \
    }

#define HARDWARE_COLUMNS                                                                           \
    MACHINE_COLUMNS,                                                                               \
        { "CLIPBOARD", "hardware.clipboard", CELL_TRUTH, COLUMN_SHOW },                            \
        { "FILE TRANSFER", "hardware.file_transfer", CELL_TRUTH, COLUMN_SHOW },                    \
        { "SHARED FOLDER", "hardware.shared_folder", CELL_TRUTH, COLUMN_SHOW },                    \
        { "USB", "hardware.usb", CELL_TEXT, COLUMN_SHOW },                                         \
    {                                                                                              \
        "AUDIO", "hardware.audio", CELL_TEXT, COLUMN_SHOW                                          \
    }

/* The body's "hardware": what options say, and null for each of its keys that --unset names.  NULL:
 * nothing.  Caller unrefs. */
json_t *hardware_from_args(const Args *args);

/* The key that is called so, or whose option is; NULL: none. */
const char *hardware_key(const char *word);
