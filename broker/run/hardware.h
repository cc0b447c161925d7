/* hardware.h: what machine a desktop is: settings of its template version, over which its own go.
 *
 * Kept as one JSON object with a version and another with a desktop (both are facts); a version's
 * cpus, memory_bytes, firmware and video are columns of its row.  Each key is checked when it is
 * set, and again when it is read: what is not sound counts as not set.  Nothing here reads the
 * catalog.  Any thread.
 *
 *   cpus, memory_bytes            as the version has them
 *   firmware, video               bios | uefi; qxl | virtio | vga
 *   profile                       linux | windows: what the guest is, whatever inspection found
 *   virtio                        truth: the guest has drivers for virtio disks and networks
 *   driver_iso                    truth: the host's CD of drivers is put in
 *   nvram                         fresh | keep: does UEFI keep its variables? (else it has none)
 *   tpm                           truth: a TPM that forgets all when the desktop stops
 *   heads, resolution             1 to 4 monitors, of WIDTHxHEIGHT each: sizes the video memory
 *   link                          auto | lan | wan: how pictures are compressed
 *   cpu_limit                     percent of its own processors
 *   cpu_shares, io_weight         as libvirt's: against its neighbours, if they want the same
 *   io_limit, iops_limit          bytes and requests per second, each disk, reads and writes
 *   networks                      names, in the order of the guest's adapters
 *   clipboard, file_transfer, shared_folder   truths: may the user's client do that?
 *   usb                           all | none | classes, "storage,printer,0x0b"
 *   audio                         both | playback | none */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "broker/run/channel_policy.h"
#include "imaged/catalog/rows.h"

#define HARDWARE_MAX_NETWORKS 8
#define HARDWARE_MAX_CPUS 1024

typedef enum { LINK_AUTO, LINK_LAN, LINK_WAN } HardwareLink;

typedef struct {
    guint n_cpus;
    guint64 memory_bytes;
    gboolean is_uefi, is_windows, has_virtio, has_driver_iso, has_tpm;
    gboolean keeps_nvram; /* of UEFI alone */
    char video[16]; /* "": what the display likes best */
    guint n_heads, width, height;
    HardwareLink link;
    guint cpu_limit, cpu_shares, io_weight;    /* 0: none */
    guint64 io_limit, iops_limit;              /* 0: none */
    char *networks[HARDWARE_MAX_NETWORKS + 1]; /* names; none: QEMU's own network */
    ChannelPolicy channels;
} Hardware;
void hardware_clear(Hardware *hardware);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Hardware, hardware_clear)

/* Is this change sound: known keys, each with null (take it away) or a value?  INVALID. */
gboolean hardware_check(const json_t *change, GError **error);

/* stored (a row's text, or NULL) with a checked change applied, as text; NULL if nothing is left.
 * Caller frees. */
char *hardware_apply(const char *stored, const json_t *change);

/* The same for a version, whose columns take what they are for.  INVALID if one is taken away that
 * it cannot be without. */
gboolean hardware_apply_version(VersionRow *version, const json_t *change, GError **error);

/* Settings by their keys, of these in turn, a later one over an earlier one: texts as stored, or
 * NULL.  Caller unrefs. */
json_t *hardware_merge(const char *const *texts, guint n);

/* What counts for a desktop, by keys: the version's, its own, and then more (of a pool or a user's
 * group; texts, NULL for none).  Caller unrefs. */
json_t *hardware_of(const VersionRow *version, const DesktopRow *desktop, const char *more);

/* The names of the keys that count otherwise (now) than in started, the text of what a desktop was
 * started with; none if that is NULL.  Caller unrefs. */
json_t *hardware_pending(const char *started, const json_t *now);

/* The same as a struct.  os_type: what inspection found, or NULL. */
void hardware_read(const json_t *merged, const char *os_type, Hardware *ret);

/* Memory of the guest's display adapters, bytes.  A frame holds all heads of one adapter: Windows
 * has one adapter for each monitor, others one for all.  ram is QXL's of surfaces and commands,
 * vram of pictures.  Both lie below 4 GiB in the guest, so many large ones get less. */
typedef struct {
    guint n_adapters;
    guint64 frame, ram, vram; /* of each adapter */
} VideoMemory;
VideoMemory hardware_video(const Hardware *hardware);

/* Of all adapters, on top of the guest's memory. */
guint64 hardware_video_bytes(const Hardware *hardware);
