/* partitions.c: every number of a table is checked against the disk before it is used; a table that
 * loops (logical partitions) ends after PARTITIONS_MAX steps. */
#include "imaged/guest/helper/partitions.h"

#include <string.h>

#include "imaged/base/error.h"

#define SECTOR 512u
#define MBR_TABLE 446u
#define MBR_ENTRY 16u
#define GPT_ENTRIES_MAX (64u << 10) /* bytes of them that are looked at */

static const char esp_guid[] = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
static const char bios_guid[] = "21686148-6449-6e6f-744e-656564454649";

static guint32 le32(const guint8 *p)
{
    return (guint32)p[0] | (guint32)p[1] << 8 | (guint32)p[2] << 16 | (guint32)p[3] << 24;
}

static guint64 le64(const guint8 *p)
{
    return le32(p) | (guint64)le32(p + 4) << 32;
}

void partitions_free(PartitionTable *t)
{
    if (!t)
        return;
    g_array_unref(t->parts);
    g_array_unref(t->read);
    g_free(t);
}

static gboolean read_range(PartitionTable *t, Block *disk, void *buffer, gsize len, guint64 offset,
                           GError **error)
{
    PartitionRange range = { offset, len };

    g_array_append_val(t->read, range);
    return block_read(disk, buffer, len, offset, error);
}

/* sectors; FALSE if it does not lie on the disk. */
static gboolean add(PartitionTable *t, const Block *disk, guint number, guint64 first, guint64 n,
                    Partition *ret)
{
    guint64 sectors = block_size(disk) / SECTOR;

    if (n == 0 || first == 0 || first >= sectors || n > sectors - first ||
        t->parts->len >= PARTITIONS_MAX)
        return FALSE;
    *ret = (Partition){ .number = number, .start = first * SECTOR, .length = n * SECTOR };
    return TRUE;
}

/* A GUID's first three fields are little-endian. */
static void format_guid(const guint8 *p, char *ret)
{
    g_snprintf(ret, 37, "%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x", le32(p),
               (guint)(p[4] | p[5] << 8), (guint)(p[6] | p[7] << 8), p[8], p[9], p[10], p[11],
               p[12], p[13], p[14], p[15]);
}

static void add_gpt_entry(PartitionTable *t, const Block *disk, guint number, const guint8 *entry)
{
    guint64 first = le64(entry + 32), last = le64(entry + 40);
    char type[37];
    Partition part;

    format_guid(entry, type);
    if (strspn(type, "0-") == 36 || last < first || last == G_MAXUINT64 ||
        !add(t, disk, number, first, last - first + 1, &part))
        return;
    part.is_esp = g_str_equal(type, esp_guid);
    part.is_bios_boot = g_str_equal(type, bios_guid);
    format_guid(entry + 16, part.uuid);
    g_array_append_val(t->parts, part);
}

static gboolean read_gpt(PartitionTable *t, Block *disk, GError **error)
{
    guint8 header[SECTOR];

    t->kind = "gpt";
    if (!read_range(t, disk, header, SECTOR, SECTOR, error))
        return FALSE;
    guint64 lba = le64(header + 72);
    guint32 n = le32(header + 80), size = le32(header + 84);
    if (memcmp(header, "EFI PART", 8) != 0 || lba < 2 || lba > block_size(disk) / SECTOR ||
        size < 128 || size > 4096 || size % 8 || n == 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT,
                    "the partition table (GPT) is not sound");
        return FALSE;
    }
    guint count = MIN(MIN(n, GPT_ENTRIES_MAX / size), PARTITIONS_MAX);
    g_autofree guint8 *entries = g_malloc((gsize)count * size);
    if (!read_range(t, disk, entries, (gsize)count * size, lba * SECTOR, error))
        return FALSE;
    for (guint i = 0; i < count; i++)
        add_gpt_entry(t, disk, i + 1, entries + (gsize)i * size);
    return TRUE;
}

static gboolean is_extended(guint8 type)
{
    return type == 0x05 || type == 0x0f || type == 0x85;
}

/* The chain of tables in an extended partition: each names a partition and the next table. */
static gboolean read_logical(PartitionTable *t, Block *disk, guint64 base, GError **error)
{
    guint64 at = base, sectors = block_size(disk) / SECTOR;

    for (guint i = 0; i < PARTITIONS_MAX && at != 0 && at < sectors; i++) {
        guint8 sector[SECTOR];
        Partition part;
        if (!read_range(t, disk, sector, SECTOR, at * SECTOR, error))
            return FALSE;
        const guint8 *e = sector + MBR_TABLE, *next = e + MBR_ENTRY;
        if (sector[510] != 0x55 || sector[511] != 0xaa)
            break;
        if (e[4] && !is_extended(e[4]) &&
            add(t, disk, 5 + i, at + le32(e + 8), le32(e + 12), &part))
            g_array_append_val(t->parts, part);
        if (!is_extended(next[4]))
            break;
        at = base + le32(next + 8);
    }
    return TRUE;
}

static gboolean read_mbr(PartitionTable *t, Block *disk, const guint8 *sector, GError **error)
{
    guint32 disk_id = le32(sector + 440);

    for (guint i = 0; i < 4; i++) {
        const guint8 *e = sector + MBR_TABLE + i * MBR_ENTRY;
        Partition part;
        if (e[4] == 0 || !add(t, disk, i + 1, le32(e + 8), le32(e + 12), &part))
            continue;
        if (is_extended(e[4])) {
            if (!read_logical(t, disk, le32(e + 8), error))
                return FALSE;
            continue;
        }
        part.is_esp = e[4] == 0xef;
        g_snprintf(part.uuid, sizeof part.uuid, "%08x-%02x", disk_id, i + 1);
        g_array_append_val(t->parts, part);
    }
    return TRUE;
}

static gboolean is_blank(const guint8 *p, gsize n)
{
    while (n && *p == 0) {
        p++;
        n--;
    }
    return n == 0;
}

PartitionTable *partitions_read(Block *disk, GError **error)
{
    g_autoptr(PartitionTable) t = g_new0(PartitionTable, 1);
    guint8 sector[SECTOR];
    gboolean has_gpt = FALSE;

    t->kind = "none";
    t->parts = g_array_new(FALSE, FALSE, sizeof(Partition));
    t->read = g_array_new(FALSE, FALSE, sizeof(PartitionRange));
    if (block_size(disk) < 4 * SECTOR)
        return g_steal_pointer(&t);
    if (!read_range(t, disk, sector, SECTOR, 0, error))
        return NULL;
    gboolean has_table = sector[510] == 0x55 && sector[511] == 0xaa;
    t->has_boot_code = !is_blank(sector, 440);
    for (guint i = 0; has_table && i < 4; i++)
        has_gpt |= sector[MBR_TABLE + i * MBR_ENTRY + 4] == 0xee;
    if (has_gpt ? !read_gpt(t, disk, error) : has_table && !read_mbr(t, disk, sector, error))
        return NULL;
    if (has_gpt || t->parts->len) {
        t->kind = has_gpt ? "gpt" : "mbr";
        return g_steal_pointer(&t);
    }
    Partition bare = { .length = block_size(disk) };
    g_array_append_val(t->parts, bare);
    return g_steal_pointer(&t);
}
