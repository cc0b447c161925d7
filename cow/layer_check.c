/* layer_check.c: the consistency check of one qcow2 file.
 *
 * All metadata is found first: header, L1 tables, snapshot table, bitmaps, refcount table and
 * blocks, then the L2 tables, each once however many L1 entries point at it (so internal snapshots
 * cost nothing, and an L1 table that names one L2 table a million times does not keep us busy).
 * Then the L2 tables are read in the order of the file, adjacent ones together, and what they
 * reference is added to the use counts; last, the refcount blocks are compared
 * (refcounts_compare.c).
 *
 * The verdicts are those of `qemu-img check`, and stricter where the format says so: metadata that
 * is used for something else as well, offset 0 with the COPIED flag, the zero flag where the
 * version or subclusters forbid it. */
#include "cow/layer_check.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cow/check_state.h"
#include "imaged/base/error.h"

#define MAX_MESSAGES 100u
#define L1_RESERVED 0x7f000000000001ffull
#define L2_RESERVED 0x3f000000000001feull /* of entries that are not compressed */

static void add_message(CheckState *c, const char *format, va_list args)
{
    if (c->result->messages->len < MAX_MESSAGES)
        g_ptr_array_add(c->result->messages, g_strdup_vprintf(format, args));
}

void check_error(CheckState *c, guint64 n, const char *format, ...)
{
    va_list args;

    c->result->n_errors += n;
    va_start(args, format);
    add_message(c, format, args);
    va_end(args);
}

void check_note(CheckState *c, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add_message(c, format, args);
    va_end(args);
}

void check_count(CheckState *c, guint64 *counter, const char *format, ...)
{
    va_list args;

    (*(counter ? counter : &c->result->n_errors))++;
    va_start(args, format);
    add_message(c, format, args);
    va_end(args);
}

void check_read_ahead(CheckState *c, guint64 offset, guint64 len)
{
    /* What is read in sequence the kernel reads ahead by itself, and cheaper. */
    if (offset != c->ahead_end)
        posix_fadvise(layer_fd(c->layer), (off_t)offset, (off_t)len, POSIX_FADV_WILLNEED);
    c->ahead_end = offset + len;
}

/* TRUE if nothing of [offset, offset + len) is allocated in the file. */
static gboolean is_in_hole(CheckState *c, guint64 offset, guint64 len)
{
    guint64 file_size = layer_file_size(c->layer);

    if (offset >= c->hole_start && offset + len <= c->hole_end)
        return TRUE;
    off_t data = lseek(layer_fd(c->layer), (off_t)offset, SEEK_DATA);
    if (data < 0) /* ENXIO: a hole up to the end; if it cannot tell, read */
        data = errno == ENXIO ? (off_t)file_size : (off_t)offset;
    c->hole_start = offset;
    /* What lies behind the end of the file reads as zeros as well. */
    c->hole_end = (guint64)data >= file_size ? G_MAXUINT64 : (guint64)data;
    return offset + len <= c->hole_end;
}

gboolean check_read(CheckState *c, guint8 *buffer, gsize len, guint64 offset, gboolean *ret_is_hole,
                    GError **error)
{
    if (c->cancel && g_atomic_int_get(c->cancel)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "cancelled");
        return FALSE;
    }
    /* Tables do not overlap, so whoever has read more than the file has allocated reads holes. Only
     * then is it worth to ask where they are: a sparse file must not cost time for its holes. */
    c->n_read += len;
    *ret_is_hole = c->n_read > c->real_bytes && is_in_hole(c, offset, len);
    if (!*ret_is_hole && !layer_pread(c->layer, buffer, len, offset, error))
        return FALSE;
    c->done += len;
    if (c->progress)
        c->progress(MIN(c->done, c->total), c->total, c->data);
    return TRUE;
}

/* ---- L1 ---- */

void check_l1_entry(CheckState *c, guint64 entry, guint64 i, gboolean is_active)
{
    guint64 offset = entry & QCOW2_OFFSET_MASK;
    const char *why = NULL;

    if (entry == 0)
        return;
    if (entry & L1_RESERVED)
        why = "has reserved bits set";
    else if (offset == 0)
        why = "has flags and no offset";
    else if (offset & (c->cluster - 1))
        why = "is misaligned";
    else if (offset + c->cluster > layer_file_size(c->layer))
        why = "points outside of the file"; /* a table that is cut off cannot be read, either */
    if (why) {
        check_error(c, 1, "L1 entry %" G_GUINT64_FORMAT " %s: 0x%" G_GINT64_MODIFIER "x", i, why,
                    entry);
        return;
    }
    L2Use use = { .offset = offset,
                  .n_uses = 1,
                  .n_active = is_active,
                  .n_copied = is_active && (entry & QCOW2_OFLAG_COPIED) };
    g_array_append_val(c->l2, use);
}

static gint compare_l2(gconstpointer a, gconstpointer b)
{
    guint64 x = ((const L2Use *)a)->offset, y = ((const L2Use *)b)->offset;

    return x < y ? -1 : x > y;
}

/* Bring the uses into the order of the file, one for each table. */
static void merge_l2(CheckState *c)
{
    L2Use *use = (L2Use *)c->l2->data;
    guint n = c->l2->len, kept = 0;
    gboolean is_sorted = TRUE;

    for (guint i = 1; i < n && is_sorted; i++)
        is_sorted = use[i - 1].offset <= use[i].offset;
    if (!is_sorted)
        g_array_sort(c->l2, compare_l2);
    for (guint i = 0; i < n; i++) {
        if (kept > 0 && use[kept - 1].offset == use[i].offset) {
            use[kept - 1].n_uses += use[i].n_uses;
            use[kept - 1].n_active += use[i].n_active;
            use[kept - 1].n_copied += use[i].n_copied;
        } else {
            use[kept++] = use[i];
        }
    }
    g_array_set_size(c->l2, kept);
}

static void add_l2_tables(CheckState *c)
{
    guint kept = 0;

    merge_l2(c);
    for (guint i = 0; i < c->l2->len; i++) {
        L2Use use = g_array_index(c->l2, L2Use, i);

        if (!refcounts_add_l2(c->refcounts, use.offset, use.n_uses))
            continue; /* overlaps other metadata: what is read there are no entries */
        if (use.n_copied)
            refcounts_flag_l2(c->refcounts, use.offset, USE_COPIED);
        if (use.n_active > use.n_copied)
            refcounts_flag_l2(c->refcounts, use.offset, USE_NOT_COPIED);
        g_array_index(c->l2, L2Use, kept++) = use;
    }
    g_array_set_size(c->l2, kept);
}

/* ---- L2 ---- */

static void add_allocated(CheckState *c, const L2Use *use, guint64 n)
{
    c->result->n_allocated += n * use->n_active;
}

static void bad_entry(CheckState *c, guint64 entry, const char *why)
{
    check_error(c, 1, "L2 entry 0x%016" G_GINT64_MODIFIER "x %s", entry, why);
}

static UseFlag use_flag(const L2Use *use, guint64 entry)
{
    return !use->n_active ? USE_DATA : entry & QCOW2_OFLAG_COPIED ? USE_COPIED : USE_NOT_COPIED;
}

static void walk_compressed(CheckState *c, const L2Use *use, guint64 entry, guint64 bitmap)
{
    guint64 offset, length;

    if (entry & QCOW2_OFLAG_COPIED)
        bad_entry(c, entry, "is compressed and has the COPIED flag");
    if (bitmap) {
        bad_entry(c, entry, "is compressed and has subclusters");
        return;
    }
    qcow2_compressed_place(c->header, entry, &offset, &length);
    add_allocated(c, use, 1);
    c->result->n_compressed += use->n_active;
    refcounts_add_compressed(c->refcounts, offset, length, use->n_uses);
}

/* The entries that are not plain data clusters. */
static void walk_entry(CheckState *c, const L2Use *use, guint64 entry, guint64 bitmap)
{
    gboolean is_zero = !!(entry & QCOW2_OFLAG_ZERO);
    guint64 offset = entry & QCOW2_OFFSET_MASK;

    if (entry & QCOW2_OFLAG_COMPRESSED) {
        walk_compressed(c, use, entry, bitmap);
        return;
    }
    if (entry & L2_RESERVED)
        bad_entry(c, entry, "has reserved bits set");
    if (is_zero && (c->header->version < 3 || c->header->is_extended_l2))
        bad_entry(c, entry, "has the zero flag, which this image cannot have");
    if (bitmap & (bitmap >> 32) & 0xffffffffu)
        bad_entry(c, entry, "has subclusters that are data and zeros at once");
    if (offset == 0) {
        if (entry & QCOW2_OFLAG_COPIED)
            bad_entry(c, entry, "has the COPIED flag and no offset");
        if (bitmap & 0xffffffffu)
            bad_entry(c, entry, "has data subclusters and no offset");
        return;
    }
    if (offset & (c->cluster - 1)) {
        bad_entry(c, entry, "is misaligned");
        return;
    }
    add_allocated(c, use, 1);
    refcounts_add_data(c->refcounts, offset >> c->header->cluster_bits, 1, use->n_uses,
                       use_flag(use, entry));
}

/* How many of the n entries from p on continue the plain data cluster in entry, itself included:
 * same flags, next host cluster.  size is that of an entry: 8, or 16 with a bitmap of subclusters,
 * of which none may be data and zeros at once.  Called with a constant size. */
static inline gsize count_run(const guint8 *p, gsize n, guint64 entry, guint64 cluster, gsize size)
{
    gsize i = 1;

    for (gsize step = 8; step > 0; step /= 8) {
        for (; i + step <= n; i += step) {
            guint64 differs = 0;
            for (gsize k = i; k < i + step; k++) {
                differs |= be64_at(p + size * k) ^ (entry + k * cluster);
                if (size == 16)
                    differs |= be32_at(p + size * k + 8) & be32_at(p + size * k + 12);
            }
            if (differs)
                break;
        }
    }
    return i;
}

/* Nearly all entries are plain data clusters in a row: find these rows, and look at the others one
 * by one. */
static inline void walk_entries(CheckState *c, const L2Use *use, const guint8 *table, gsize size)
{
    gsize n = c->cluster / size;
    guint64 odd = ~(QCOW2_OFLAG_COPIED | QCOW2_OFFSET_MASK) | (c->cluster - 1);

    for (gsize i = 0; i < n;) {
        const guint8 *p = table + size * i;
        guint64 entry = be64_at(p), bitmap = size == 16 ? be64_at(p + 8) : 0;

        if ((entry & odd) || !(entry & QCOW2_OFFSET_MASK) || (bitmap & (bitmap >> 32))) {
            if (entry | bitmap)
                walk_entry(c, use, entry, bitmap);
            i++;
        } else {
            gsize run = count_run(p, n - i, entry, c->cluster, size);
            refcounts_add_data(c->refcounts, (entry & QCOW2_OFFSET_MASK) >> c->header->cluster_bits,
                               run, use->n_uses, use_flag(use, entry));
            add_allocated(c, use, run);
            i += run;
        }
    }
}

static void walk_table(CheckState *c, const L2Use *use, const guint8 *table)
{
    if (c->header->is_extended_l2)
        walk_entries(c, use, table, 16);
    else
        walk_entries(c, use, table, 8);
}

/* How many tables from number i on are adjacent in the file, and fit into one read. */
static guint count_adjacent(const CheckState *c, guint i)
{
    const L2Use *use = &g_array_index(c->l2, L2Use, i);
    guint n = 1;

    while (i + n < c->l2->len && (n + 1) * c->cluster <= CHECK_READ_BYTES &&
           use[n].offset == use[0].offset + n * c->cluster)
        n++;
    return n;
}

static gboolean walk_l2_tables(CheckState *c, GError **error)
{
    g_autofree guint8 *buffer = g_malloc(MAX(CHECK_READ_BYTES, c->cluster));
    guint64 ahead_bytes = 0;

    for (guint i = 0, ahead = 0; i < c->l2->len && !refcounts_is_full(c->refcounts);) {
        const L2Use *use = &g_array_index(c->l2, L2Use, i);
        gboolean is_hole;

        while (ahead < c->l2->len && ahead_bytes < CHECK_AHEAD_BYTES) {
            guint run = count_adjacent(c, ahead);
            check_read_ahead(c, g_array_index(c->l2, L2Use, ahead).offset, run * c->cluster);
            ahead_bytes += run * c->cluster;
            ahead += run;
        }
        guint n = count_adjacent(c, i);
        if (!check_read(c, buffer, n * c->cluster, use->offset, &is_hole, error))
            return FALSE;
        ahead_bytes -= n * c->cluster;
        for (guint k = 0; k < n && !is_hole; k++)
            walk_table(c, &use[k], buffer + k * c->cluster);
        i += n;
    }
    return TRUE;
}

/* ---- The whole ---- */

static gboolean run(CheckState *c, GError **error)
{
    const Qcow2Header *h = c->header;

    c->refcounts = refcounts_new(c, error);
    if (!c->refcounts)
        return FALSE;
    refcounts_add_table(c->refcounts, 0, c->cluster, "header");
    if (refcounts_add_table(c->refcounts, h->l1_offset, 8ull * h->n_l1, "L1 table")) {
        for (guint32 i = 0; i < h->n_l1; i++)
            check_l1_entry(c, layer_l1_entry(c->layer, i), i, TRUE);
    }
    if (!check_snapshots(c, error) || !check_bitmaps(c, error))
        return FALSE;
    refcounts_add_own(c->refcounts);
    add_l2_tables(c);
    c->total = c->done + c->l2->len * c->cluster + refcounts_n_bytes(c->refcounts);
    if (!walk_l2_tables(c, error))
        return FALSE;
    return refcounts_is_full(c->refcounts) || refcounts_compare(c->refcounts, error);
}

gboolean layer_check(const Layer *layer, const gint *cancel, LayerCheckProgress progress,
                     gpointer data, LayerCheck *ret_check, GError **error)
{
    g_auto(LayerCheck) result = { .messages = g_ptr_array_new_with_free_func(g_free) };
    CheckState c = { .layer = layer,
                     .header = layer_header(layer),
                     .result = &result,
                     .cluster = qcow2_cluster_size(layer_header(layer)),
                     .cancel = cancel,
                     .progress = progress,
                     .data = data };
    struct stat st;

    memset(ret_check, 0, sizeof *ret_check);
    if (fstat(layer_fd(layer), &st) < 0) {
        imaged_error_set_errno(error, errno, "cannot read '%s'", layer_label(layer));
        return FALSE;
    }
    c.real_bytes = 512ull * (guint64)st.st_blocks;
    c.n_clusters = (layer_file_size(layer) + c.cluster - 1) >> c.header->cluster_bits;
    c.l2 = g_array_new(FALSE, FALSE, sizeof(L2Use));
    result.is_dirty = !!(c.header->incompatible & QCOW2_INCOMPAT_DIRTY);

    gboolean ok = run(&c, error);
    refcounts_free(c.refcounts);
    g_array_unref(c.l2);
    if (!ok)
        return FALSE;
    /* If the mapping is sound, stale refcounts cost space at most: a repair rebuilds them. */
    *(result.n_errors ? &result.n_errors : &result.n_leaks) += c.n_stale;
    *ret_check = result;
    memset(&result, 0, sizeof result);
    return TRUE;
}

void layer_check_clear(LayerCheck *check)
{
    g_clear_pointer(&check->messages, g_ptr_array_unref);
}
