/* check_tables.c: the parts of a qcow2 file that only some have: internal snapshots and dirty
 * bitmaps.  Their limits are QEMU's, which refuses to open an image beyond them. */
#include <string.h>

#include "cow/check_state.h"
#include "imaged/base/error.h"

#define SNAPSHOT_HEADER 40u
#define MAX_SNAPSHOT_TABLE (64ull << 20)
#define MAX_SNAPSHOT_EXTRA 1024u
#define MIN_SNAPSHOT_EXTRA 16u /* of version 3: size of the VM state, size of the disk */

#define BITMAP_HEADER 24u
#define BITMAP_IN_USE 1u
#define BITMAP_RESERVED_FLAGS 0xfffffffcu
#define MAX_BITMAP_NAME 1023u
#define MAX_BITMAP_BYTES (512ull << 20)
#define BITMAP_ENTRY_RESERVED 0xff000000000001feull

typedef void (*EntryVisit)(CheckState *c, guint64 entry, guint64 i);

/* Hand each entry that is not 0 of a table of n 64-bit entries to visit. */
static gboolean walk_entries(CheckState *c, guint64 offset, guint64 n, EntryVisit visit,
                             GError **error)
{
    gsize size = MIN(n * 8, CHECK_READ_BYTES);
    g_autofree guint8 *buffer = g_malloc(MAX(size, 8));

    for (guint64 at = 0; at < n * 8 && !refcounts_is_full(c->refcounts); at += size) {
        gsize len = MIN(size, n * 8 - at);
        gboolean is_hole;

        if (!check_read(c, buffer, len, offset + at, &is_hole, error))
            return FALSE;
        for (gsize i = 0; i < len && !is_hole; i += 8) {
            guint64 entry = be64_at(buffer + i);
            if (entry)
                visit(c, entry, (at + i) / 8);
        }
    }
    return TRUE;
}

/* ---- Internal snapshots ---- */

static void visit_snapshot_l1(CheckState *c, guint64 entry, guint64 i)
{
    check_l1_entry(c, entry, i, FALSE);
}

static gboolean check_snapshot_l1(CheckState *c, guint32 number, guint64 offset, guint32 n_l1,
                                  GError **error)
{
    if (offset & (c->cluster - 1)) {
        check_error(c, 1, "the L1 table of snapshot %u is misaligned", number);
        return TRUE;
    }
    if (n_l1 > QCOW2_MAX_L1_BYTES / 8) {
        check_error(c, 1, "the L1 table of snapshot %u is too large", number);
        return TRUE;
    }
    if (n_l1 == 0 ||
        !refcounts_add_table(c->refcounts, offset, 8ull * n_l1, "L1 table of a snapshot"))
        return TRUE;
    return walk_entries(c, offset, n_l1, visit_snapshot_l1, error);
}

/* Walk the snapshot table; *ret_size gets its length, or 0 if it makes no sense. */
static gboolean walk_snapshots(CheckState *c, guint64 *ret_size, GError **error)
{
    const Qcow2Header *h = c->header;
    guint64 at = h->snapshots_offset;

    *ret_size = 0;
    for (guint32 i = 0; i < h->n_snapshots; i++) {
        guint8 entry[SNAPSHOT_HEADER];
        gboolean is_hole;

        at = (at + 7) & ~7ull;
        if (at - h->snapshots_offset > MAX_SNAPSHOT_TABLE ||
            at + SNAPSHOT_HEADER > layer_file_size(c->layer)) {
            check_error(c, 1, "the snapshot table is cut off at entry %u", i);
            return TRUE;
        }
        if (!check_read(c, entry, sizeof entry, at, &is_hole, error))
            return FALSE;
        if (is_hole)
            memset(entry, 0, sizeof entry);
        guint32 extra = be32_at(entry + 36);
        if (extra > MAX_SNAPSHOT_EXTRA) {
            check_error(c, 1, "snapshot %u has too much extra data", i);
            return TRUE;
        }
        if (h->version >= 3 && extra < MIN_SNAPSHOT_EXTRA)
            check_error(c, 1, "the entry of snapshot %u is incomplete", i);
        at += SNAPSHOT_HEADER + extra + be16_at(entry + 12) + be16_at(entry + 14);
        if (!check_snapshot_l1(c, i, be64_at(entry), be32_at(entry + 8), error))
            return FALSE;
    }
    *ret_size = at - h->snapshots_offset;
    if (*ret_size > MAX_SNAPSHOT_TABLE)
        check_error(c, 1, "the snapshot table is too large");
    return TRUE;
}

gboolean check_snapshots(CheckState *c, GError **error)
{
    guint64 size;

    if (c->header->n_snapshots == 0)
        return TRUE;
    if (!walk_snapshots(c, &size, error))
        return FALSE;
    refcounts_add_table(c->refcounts, c->header->snapshots_offset, size, "snapshot table");
    return TRUE;
}

/* ---- Dirty bitmaps ---- */

static void visit_bitmap_entry(CheckState *c, guint64 entry, guint64 i)
{
    guint64 offset = entry & QCOW2_OFFSET_MASK;

    if ((entry & BITMAP_ENTRY_RESERVED) || (offset & (c->cluster - 1)) || (offset && (entry & 1)))
        check_error(c, 1, "entry %" G_GUINT64_FORMAT " of a bitmap table is malformed", i);
    else if (offset)
        refcounts_add_table(c->refcounts, offset, c->cluster, "data of a bitmap");
}

/* Entries that the table of a bitmap must have; the bits are kept in 64-bit words. */
static guint64 bitmap_table_size(const CheckState *c, guint granularity_bits)
{
    guint64 size = c->header->virtual_size;
    guint64 n_bits = (size >> granularity_bits) + !!(size & ((1ull << granularity_bits) - 1));
    guint64 n_bytes = (n_bits + 63) / 64 * 8;

    return (n_bytes + c->cluster - 1) >> c->header->cluster_bits;
}

/* Check the directory entry of length len at entry. */
static gboolean check_bitmap(CheckState *c, const guint8 *entry, GHashTable *names, GError **error)
{
    guint64 offset = be64_at(entry);
    guint32 n_entries = be32_at(entry + 8), flags = be32_at(entry + 12);
    guint8 type = entry[16], granularity_bits = entry[17];
    guint16 name_len = be16_at(entry + 18);
    char *name = g_strndup((const char *)entry + BITMAP_HEADER, name_len);
    gboolean is_new = g_hash_table_add(names, name);

    if (be32_at(entry + 20) != 0 || (flags & BITMAP_RESERVED_FLAGS) || type != 1 || !is_new ||
        granularity_bits < 9 || granularity_bits > 31 || name_len > MAX_BITMAP_NAME ||
        n_entries == 0 || (guint64)n_entries * c->cluster > MAX_BITMAP_BYTES || offset == 0 ||
        (offset & (c->cluster - 1)) ||
        (!(flags & BITMAP_IN_USE) && n_entries != bitmap_table_size(c, granularity_bits))) {
        check_error(c, 1, "a dirty bitmap's entry in the bitmap directory is malformed");
        return TRUE;
    }
    if (!refcounts_add_table(c->refcounts, offset, 8ull * n_entries, "table of a bitmap"))
        return TRUE;
    return walk_entries(c, offset, n_entries, visit_bitmap_entry, error);
}

static gboolean walk_bitmaps(CheckState *c, const guint8 *directory, guint64 size, GError **error)
{
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    guint64 at = 0, n = 0;

    while (at < size) {
        guint64 len = size - at < BITMAP_HEADER ? BITMAP_HEADER
                                                : (BITMAP_HEADER + be16_at(directory + at + 18) +
                                                   (guint64)be32_at(directory + at + 20) + 7) &
                                                      ~7ull;
        if (len > size - at || ++n > c->header->n_bitmaps)
            break;
        if (!check_bitmap(c, directory + at, names, error))
            return FALSE;
        at += len;
    }
    if (at != size || n != c->header->n_bitmaps)
        check_error(c, 1, "the bitmap directory and its header do not agree");
    return TRUE;
}

gboolean check_bitmaps(CheckState *c, GError **error)
{
    const Qcow2Header *h = c->header;
    guint64 size = h->bitmap_directory_size; /* at most 64 MiB, qcow2.c sees to it */
    gboolean is_hole;

    /* A writer that knows no bitmaps clears the bit; what it leaves behind is leaked space. */
    if (h->n_bitmaps == 0 || !(h->autoclear & QCOW2_AUTOCLEAR_BITMAPS))
        return TRUE;
    if (size == 0 || (h->bitmap_directory_offset & (c->cluster - 1))) {
        check_error(c, 1, "the bitmap directory is empty or misaligned");
        return TRUE;
    }
    if (!refcounts_add_table(c->refcounts, h->bitmap_directory_offset, size, "bitmap directory"))
        return TRUE;
    g_autofree guint8 *directory = g_malloc0(size);
    if (!check_read(c, directory, size, h->bitmap_directory_offset, &is_hole, error))
        return FALSE;
    return walk_bitmaps(c, directory, size, error);
}
