/* fs_probe.c: magic numbers, each at its place.  Source: libblkid's list, the formats' own texts.
 */
#include "imaged/guest/helper/fs_probe.h"

#include <string.h>

static const struct {
    const char *type, *magic;
    guint offset, len;
    gboolean can_hide_system;
} magics[] = {
    { "vfat", "FAT32   ", 82, 8, FALSE },
    { "vfat", "FAT16   ", 54, 8, FALSE },
    { "vfat", "FAT12   ", 54, 8, FALSE },
    { "exfat", "EXFAT   ", 3, 8, FALSE },
    { "ntfs", "NTFS    ", 3, 8, TRUE },
    { "BitLocker", "-FVE-FS-", 3, 8, TRUE },
    { "xfs", "XFSB", 0, 4, TRUE },
    { "btrfs", "_BHRfS_M", 65600, 8, TRUE },
    { "swap", "SWAPSPACE2", 4086, 10, FALSE },
    { "crypto_LUKS", "LUKS\xba\xbe", 0, 6, TRUE },
    { "LVM2_member", "LABELONE", 512, 8, TRUE },
    { "LVM2_member", "LABELONE", 0, 8, TRUE },
    { "f2fs", "\x10\x20\xf5\xf2", 1024, 4, TRUE },
    { "iso9660", "CD001", 32769, 5, FALSE },
    { "squashfs", "hsqs", 0, 4, FALSE },
};

static void format_uuid(const guint8 *u, char *ret)
{
    g_snprintf(ret, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
               u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12],
               u[13], u[14], u[15]);
}

static void take_label(char *ret, const guint8 *from, gsize len)
{
    memcpy(ret, from, len);
    ret[len] = 0;
    g_strchomp(ret);
}

static gboolean look(Block *part, Trace *trace, guint8 *buffer, gsize len, guint64 offset)
{
    if (trace)
        trace_add(trace, 'd', block_start(part) + offset, len);
    return block_read(part, buffer, len, offset, NULL);
}

static void describe_fat(Block *part, Trace *trace, FsProbe *ret, gboolean is_32)
{
    guint8 b[90];

    if (!look(part, trace, b, sizeof b, 0))
        return;
    const guint8 *serial = b + (is_32 ? 67 : 39);
    g_snprintf(ret->uuid, sizeof ret->uuid, "%02X%02X-%02X%02X", serial[3], serial[2], serial[1],
               serial[0]);
    take_label(ret->label, serial + 4, 11);
}

static void describe(Block *part, Trace *trace, FsProbe *ret, guint i)
{
    guint8 b[64];

    if (g_str_equal(ret->type, "vfat")) {
        describe_fat(part, trace, ret, magics[i].offset == 82);
    } else if (g_str_equal(ret->type, "xfs") && look(part, trace, b, 48, 0)) {
        format_uuid(b + 32, ret->uuid);
    } else if (g_str_equal(ret->type, "swap") && look(part, trace, b, 32, 1036)) {
        format_uuid(b, ret->uuid);
        take_label(ret->label, b + 16, 16);
    }
}

void fs_probe(Block *part, Trace *trace, FsProbe *ret)
{
    *ret = (FsProbe){ .type = "unknown" };
    for (guint i = 0; i < G_N_ELEMENTS(magics); i++) {
        guint8 found[16];
        if (block_size(part) < magics[i].offset + magics[i].len ||
            !look(part, trace, found, magics[i].len, magics[i].offset) ||
            memcmp(found, magics[i].magic, magics[i].len) != 0)
            continue;
        ret->type = magics[i].type;
        ret->can_hide_system = magics[i].can_hide_system;
        describe(part, trace, ret, i);
        return;
    }
}
