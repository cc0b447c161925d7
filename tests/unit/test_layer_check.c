/* test_layer_check.c: the consistency check, with qemu-img check as the second opinion.
 *
 * Images made by qemu-img are copied into memory, patched, written and judged by both.  Each row
 * says what we must say, and whether qemu-img says the same. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cow/layer_check.h"
#include "imaged/base/units.h"

typedef enum { CLEAN, LEAKS, CORRUPT } Verdict;

typedef struct {
    char *bytes;
    gsize len;
    Qcow2Header h;
} Image;

static char *folder;

static char *path_of(const char *name)
{
    return g_strdup_printf("%s/%s.qcow2", folder, name);
}

/* Run a command line of the shell in the folder, quietly; its exit status. */
static int run(const char *format, ...) G_GNUC_PRINTF(1, 2);
static int run(const char *format, ...)
{
    va_list args;
    int status = -1;

    va_start(args, format);
    g_autofree char *command = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *line = g_strdup_printf("cd %s && { %s; } >>log 2>&1", folder, command);
    const char *argv[] = { "sh", "-c", line, NULL };
    g_autoptr(GError) error = NULL;
    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status,
                 &error);
    g_assert_no_error(error);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static Verdict qemu_verdict(const char *name)
{
    int status = run("qemu-img check --output=json -f qcow2 %s.qcow2", name);

    return status == 0 ? CLEAN : status == 3 ? LEAKS : CORRUPT;
}

static Verdict our_verdict_fd(int fd, LayerCheck *ret_check)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Layer) layer = layer_open_fd(fd, "image", &error);

    if (!layer)
        return CORRUPT;
    g_assert_true(layer_check(layer, NULL, NULL, NULL, ret_check, &error));
    return ret_check->n_errors ? CORRUPT : ret_check->n_leaks ? LEAKS : CLEAN;
}

static Verdict our_verdict(const char *name)
{
    g_autofree char *path = path_of(name);
    g_auto(LayerCheck) check = { 0 };
    Verdict verdict = our_verdict_fd(open(path, O_RDONLY | O_CLOEXEC), &check);

    g_test_message("%s: %d", name, verdict);
    for (guint i = 0; check.messages && i < MIN(check.messages->len, 3); i++)
        g_test_message("%s: %s", name, (char *)g_ptr_array_index(check.messages, i));
    return verdict;
}

/* ---- Sound images ---- */

#define WRITES                                                                                     \
    "qemu-io -f qcow2 -c 'write -P 17 0 200k' -c 'write -P 34 3M 70k' "                            \
    "-c 'write -P 51 7M 128k'"
#define RAW                                                                                        \
    "{ yes imaged | head -c 700000; head -c 200000 /dev/urandom; } > raw; truncate -s 1M raw; "
#define CONVERT RAW "qemu-img convert -O qcow2 -c -o "

/* clang-format off */
static const struct {
    const char *name, *make; /* $F is the file */
} seeds[] = {
    { "plain", "qemu-img create -f qcow2 $F 8M && " WRITES " -c 'write -z 1M 128k' $F" },
    { "v2", "qemu-img create -f qcow2 -o compat=0.10 $F 8M && " WRITES " $F" },
    { "c512", "qemu-img create -f qcow2 -o cluster_size=512 $F 8M && " WRITES " $F" },
    { "c4k", "qemu-img create -f qcow2 -o cluster_size=4k $F 64M && " WRITES " $F" },
    { "c2m", "qemu-img create -f qcow2 -o cluster_size=2M $F 64M && " WRITES " $F" },
    { "r1", "qemu-img create -f qcow2 -o refcount_bits=1 $F 8M && " WRITES " $F" },
    { "r2", "qemu-img create -f qcow2 -o refcount_bits=2,cluster_size=512 $F 8M && " WRITES " $F" },
    { "r4", "qemu-img create -f qcow2 -o refcount_bits=4 $F 8M && " WRITES " $F" },
    { "r8", "qemu-img create -f qcow2 -o refcount_bits=8 $F 8M && " WRITES " $F" },
    { "r32", "qemu-img create -f qcow2 -o refcount_bits=32 $F 8M && " WRITES " $F" },
    { "r64", "qemu-img create -f qcow2 -o refcount_bits=64,cluster_size=512 $F 8M && "
             WRITES " $F" },
    { "ext", "qemu-img create -f qcow2 -o extended_l2=on $F 8M && " WRITES " -c 'write 5M 4k' $F" },
    { "ext128", "qemu-img create -f qcow2 -o extended_l2=on,cluster_size=128k $F 64M && "
                WRITES " $F" },
    { "falloc", "qemu-img create -f qcow2 -o preallocation=metadata $F 8M" },
    { "zlib", CONVERT "compression_type=zlib raw $F" },
    { "zstd", CONVERT "compression_type=zstd raw $F" },
    { "zlib512", CONVERT "cluster_size=512 raw $F" },
    { "zlib2m", CONVERT "cluster_size=2M,refcount_bits=64 raw $F" },
    { "extzlib", CONVERT "extended_l2=on raw $F" },
    { "snap", "qemu-img create -f qcow2 $F 8M && " WRITES " $F && qemu-img snapshot -c one $F && "
              WRITES " $F && qemu-img snapshot -c two $F" },
    { "snapc", CONVERT "cluster_size=4k raw $F && qemu-img snapshot -c one $F && "
               "qemu-io -f qcow2 -c 'write 64k 100k' $F" },
    { "bitmap", "qemu-img create -f qcow2 $F 8M && qemu-img bitmap --add $F one && "
                WRITES " $F && qemu-img bitmap --add -g 512 $F two" },
    { "lazy", "qemu-img create -f qcow2 -o lazy_refcounts=on $F 8M && " WRITES " $F" },
    { "zero", "qemu-img create -f qcow2 $F 8M && qemu-io -f qcow2 -c 'write -z 0 1M' $F" },
    { "empty", "qemu-img create -f qcow2 $F 0" },
};

/* clang-format on */

static void make_seed(const char *name)
{
    g_autofree char *path = path_of(name);

    if (g_file_test(path, G_FILE_TEST_EXISTS))
        return;
    for (gsize i = 0; i < G_N_ELEMENTS(seeds); i++) {
        if (!strcmp(seeds[i].name, name))
            g_assert_cmpint(run("F=%s.qcow2; %s", name, seeds[i].make), ==, 0);
    }
}

static guint64 json_number(const char *json, const char *key)
{
    g_autofree char *quoted = g_strdup_printf("\"%s\": ", key);
    const char *at = strstr(json, quoted);

    return at ? g_ascii_strtoull(at + strlen(quoted), NULL, 10) : 0;
}

static void test_sound(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(seeds); i++) {
        const char *name = seeds[i].name;
        g_autofree char *path = path_of(name), *json = NULL, *json_path = NULL;
        g_auto(LayerCheck) check = { 0 };

        make_seed(name);
        g_test_message("%s", name);
        g_assert_cmpint(qemu_verdict(name), ==, CLEAN);
        g_assert_cmpint(our_verdict(name), ==, CLEAN);
        our_verdict_fd(open(path, O_RDONLY | O_CLOEXEC), &check);
        g_assert_cmpint(run("qemu-img check --output=json %s.qcow2 > json", name), ==, 0);
        json_path = g_strdup_printf("%s/json", folder);
        g_assert_true(g_file_get_contents(json_path, &json, NULL, NULL));
        g_assert_cmpuint(check.n_allocated, ==, json_number(json, "allocated-clusters"));
        g_assert_cmpuint(check.n_compressed, ==, json_number(json, "compressed-clusters"));
        g_assert_cmpuint(check.image_end_offset, ==, json_number(json, "image-end-offset"));
    }
}

/* ---- Patches ---- */

static guint8 *at(Image *image, guint64 offset)
{
    g_assert_cmpuint(offset + 8, <=, image->len);
    return (guint8 *)image->bytes + offset;
}

static guint64 get(Image *image, guint64 offset)
{
    return be64_at(at(image, offset));
}

static void put(Image *image, guint64 offset, guint64 value)
{
    put_be64(at(image, offset), value);
}

static guint64 l2_table(Image *image)
{
    return get(image, image->h.l1_offset) & QCOW2_OFFSET_MASK;
}

/* File offset of the first L2 entry that has an offset (skipping n of them). */
static guint64 l2_entry(Image *image, guint n)
{
    guint64 offset = l2_table(image);

    for (;; offset += qcow2_l2_entry_size(&image->h)) {
        if ((get(image, offset) & QCOW2_OFFSET_MASK) && n-- == 0)
            return offset;
    }
}

static guint64 data_at(Image *image, guint n)
{
    return get(image, l2_entry(image, n)) & QCOW2_OFFSET_MASK;
}

/* Set the refcount of the cluster at offset, in the first refcount block. */
static void set_refcount(Image *image, guint64 offset, guint64 value)
{
    guint bits = 1u << image->h.refcount_order;
    guint64 index = offset >> image->h.cluster_bits;
    guint8 *block = at(image, get(image, image->h.reftable_offset));

    g_assert_cmpuint(index, <, 8ull * qcow2_cluster_size(&image->h) / bits);
    if (bits < 8) {
        guint8 mask = (guint8)((1u << bits) - 1), *byte = block + index * bits / 8;
        guint shift = index * bits % 8;
        *byte = (guint8)((*byte & ~(mask << shift)) | (value & mask) << shift);
        return;
    }
    for (guint i = 0; i < bits / 8; i++)
        block[index * bits / 8 + i] = (guint8)(value >> (bits - 8 - 8 * i));
}

static void grow(Image *image)
{
    image->bytes = g_realloc(image->bytes, image->len + qcow2_cluster_size(&image->h));
    memset(image->bytes + image->len, 0, qcow2_cluster_size(&image->h));
    image->len += qcow2_cluster_size(&image->h);
}

/* One patch, one line. */
/* clang-format off */
#define PATCH(name) static void patch_##name(Image *m)
#define L2(n) l2_entry(m, n)
#define FLAG(offset, bits) put(m, offset, get(m, offset) ^ (bits))
#define RT m->h.reftable_offset
#define L1 m->h.l1_offset
#define CS qcow2_cluster_size(&m->h)
#define SN m->h.snapshots_offset
#define BD m->h.bitmap_directory_offset

PATCH(refcount_0) { set_refcount(m, data_at(m, 0), 0); }
PATCH(refcount_2) { set_refcount(m, data_at(m, 0), 2); }
PATCH(header_refcount_0) { set_refcount(m, 0, 0); }
PATCH(header_refcount_2) { set_refcount(m, 0, 2); }
PATCH(leak) { grow(m); set_refcount(m, m->len - CS, 1); }
PATCH(forgotten) { put(m, L2(0), 0); }
PATCH(behind_end) { set_refcount(m, (m->len + 5 * CS) & ~(CS - 1), 1); }
PATCH(l2_copied) { FLAG(L2(0), QCOW2_OFLAG_COPIED); }
PATCH(l1_copied) { FLAG(L1, QCOW2_OFLAG_COPIED); }
PATCH(l2_reserved) { FLAG(L2(0), 1ull << 57); }
PATCH(l2_reserved_low) { FLAG(L2(0), 1ull << 3); }
PATCH(l2_reserved_free) { put(m, l2_table(m) + CS - 16, 1ull << 3); }
PATCH(l1_reserved) { FLAG(L1, 1ull << 60); }
PATCH(l1_reserved_low) { FLAG(L1, 1ull << 5); }
PATCH(l1_flags_only) { grow(m); put(m, L1, QCOW2_OFLAG_COPIED); }
PATCH(l1_misaligned) { FLAG(L1, 512); }
PATCH(l2_misaligned) { FLAG(L2(0), 512); }
PATCH(l1_outside) { FLAG(L1, 1ull << 40); }
PATCH(l2_outside) { FLAG(L2(0), 1ull << 40); }
PATCH(reftable_misaligned) { FLAG(RT, 512); }
PATCH(reftable_reserved) { FLAG(RT, 4); }
PATCH(reftable_outside) { FLAG(RT, 1ull << 40); }
PATCH(reftable_outside_unused) { put(m, RT + 8, 1ull << 40); }
PATCH(reftable_empty) { put(m, RT, 0); }
PATCH(refblock_twice) { put(m, RT + 8, get(m, RT)); }
PATCH(refblock_twice_counted) { put(m, RT + 8, get(m, RT)); set_refcount(m, get(m, RT), 2); }
PATCH(zero_and_offset) { FLAG(L2(0), QCOW2_OFLAG_ZERO); }
PATCH(copied_no_offset) { put(m, l2_table(m) + CS - 16, QCOW2_OFLAG_COPIED); }
PATCH(zero_copied_no_offset) { put(m, l2_table(m) + CS - 16, QCOW2_OFLAG_COPIED | 1); }
PATCH(cut_half) { m->len -= CS / 2; }
PATCH(cut_one) { m->len -= CS; }
PATCH(cut_l2) { m->len = l2_table(m) + CS / 2; }
PATCH(snapshots_misaligned) { put(m, 64, 512); }
PATCH(raw_data) { FLAG(88, QCOW2_AUTOCLEAR_RAW_DATA); }
PATCH(end_mark_length) { put(m, m->h.header_length, 0xffffff); }
PATCH(marked_dirty) { FLAG(72, QCOW2_INCOMPAT_DIRTY); }
PATCH(dirty_low) { FLAG(72, QCOW2_INCOMPAT_DIRTY); set_refcount(m, data_at(m, 0), 0); }
PATCH(dirty_broken) { patch_dirty_low(m); FLAG(L2(1), 512); }

/* Point the first data entry at target, with refcounts that agree. */
static void redirect(Image *m, guint64 target)
{
    set_refcount(m, data_at(m, 0), 0);
    put(m, L2(0), target);
    set_refcount(m, target, 2);
}

PATCH(data_in_header) { put(m, L2(0), QCOW2_OFLAG_COPIED | CS); set_refcount(m, CS, 2); }
PATCH(data_in_l1) { redirect(m, L1); }
PATCH(data_in_reftable) { redirect(m, RT); }
PATCH(data_in_refblock) { redirect(m, get(m, RT)); }
PATCH(data_in_l2) { redirect(m, l2_table(m)); FLAG(L1, QCOW2_OFLAG_COPIED); }
PATCH(data_twice) { put(m, L2(1), get(m, L2(0))); }
PATCH(data_twice_counted)
{
    set_refcount(m, data_at(m, 1), 0);
    put(m, L2(1), data_at(m, 0));
    put(m, L2(0), data_at(m, 0));
    set_refcount(m, data_at(m, 0), 2);
}
PATCH(l2_twice) { put(m, L1 + 8, get(m, L1)); m->h.n_l1 = 2; put_be32(at(m, 36), 2); }
PATCH(l2_twice_counted)
{
    patch_l2_twice(m);
    put(m, L1, l2_table(m));
    put(m, L1 + 8, l2_table(m));
    set_refcount(m, l2_table(m), 2);
    for (guint64 i = 0; i < CS; i += 8) {
        guint64 entry = get(m, l2_table(m) + i) & ~QCOW2_OFLAG_COPIED;
        if (entry & QCOW2_OFFSET_MASK) {
            put(m, l2_table(m) + i, entry);
            set_refcount(m, entry & QCOW2_OFFSET_MASK, 2);
        }
    }
}
PATCH(l2_in_l1) { put(m, L1 + 8, L1); put_be32(at(m, 36), 2); set_refcount(m, L1, 2); }

PATCH(comp_copied) { FLAG(L2(0), QCOW2_OFLAG_COPIED); }
PATCH(comp_low)
{
    guint64 offset, length;

    g_assert_true(get(m, L2(0)) & QCOW2_OFLAG_COMPRESSED);
    qcow2_compressed_place(&m->h, get(m, L2(0)), &offset, &length);
    set_refcount(m, offset, 1);
}
PATCH(comp_outside) { FLAG(L2(0), 1ull << 40); }
PATCH(comp_long) { FLAG(L2(0), 1ull << 61); }

PATCH(ext_both) { FLAG(L2(0) + 8, 1ull << 32); put(m, L2(0) + 8, get(m, L2(0) + 8) | 1); }
PATCH(ext_no_offset) { put(m, l2_table(m) + CS - 8, 1); }
PATCH(ext_zero_bits) { put(m, l2_table(m) + CS - 8, 1ull << 40); }
PATCH(ext_zero_flag) { FLAG(L2(0), QCOW2_OFLAG_ZERO); }
PATCH(ext_allocated_none) { put(m, L2(0) + 8, 0); }
PATCH(ext_compressed_bits) { put(m, L2(0) + 8, 1); }

PATCH(snap_misaligned) { FLAG(SN, 512); }
PATCH(snap_outside) { FLAG(SN, 1ull << 40); }
PATCH(snap_too_large) { put_be32(at(m, SN + 8), 1u << 31); }
PATCH(snap_same_l1) { put(m, L1, get(m, SN)); }
PATCH(snap_extra) { put_be32(at(m, SN + 36), 5000); }
PATCH(snap_incomplete) { put_be32(at(m, SN + 36), 0); }
PATCH(snap_forgotten) { put_be32(at(m, 60), 1); }
PATCH(snap_table_outside) { put(m, 64, 1ull << 40); }
PATCH(snap_low) { set_refcount(m, get(m, SN), 0); }

PATCH(bitmap_type) { at(m, BD)[16] = 2; }
PATCH(bitmap_granularity) { at(m, BD)[17] = 40; }
PATCH(bitmap_flags) { at(m, BD)[12] = 1; }
PATCH(bitmap_misaligned) { FLAG(BD, 512); }
PATCH(bitmap_outside) { FLAG(BD, 1ull << 40); }
PATCH(bitmap_size) { put_be32(at(m, BD + 8), 2); }
PATCH(bitmap_extra) { at(m, BD)[23] = 8; }
PATCH(bitmap_entry) { FLAG(get(m, BD), 1ull << 60); }
PATCH(bitmap_low) { set_refcount(m, get(m, BD), 0); }
PATCH(bitmap_dropped) { FLAG(88, QCOW2_AUTOCLEAR_BITMAPS); }

#define ROW(seed, patch, ours, theirs) { #patch, #seed, patch_##patch, ours, theirs }
static const struct {
    const char *name, *seed;
    void (*patch)(Image *m);
    Verdict ours, theirs;
} rows[] = {
#define SAME(seed, patch, verdict) ROW(seed, patch, verdict, verdict)
    SAME(plain, refcount_0, CORRUPT), SAME(plain, refcount_2, CORRUPT),
    SAME(v2, refcount_0, CORRUPT), SAME(c512, refcount_0, CORRUPT), SAME(c2m, refcount_0, CORRUPT),
    SAME(r1, refcount_0, CORRUPT), SAME(r2, refcount_0, CORRUPT), SAME(r4, refcount_0, CORRUPT),
    SAME(r8, refcount_0, CORRUPT), SAME(r32, refcount_0, CORRUPT), SAME(r64, refcount_0, CORRUPT),
    SAME(r1, leak, LEAKS), SAME(r4, leak, LEAKS), SAME(r8, leak, LEAKS), SAME(r32, leak, LEAKS),
    SAME(r8, header_refcount_2, LEAKS), SAME(ext, refcount_0, CORRUPT),
    SAME(plain, header_refcount_0, CORRUPT), SAME(plain, header_refcount_2, LEAKS),
    SAME(plain, leak, LEAKS), SAME(plain, forgotten, LEAKS), SAME(plain, behind_end, CLEAN),
    SAME(plain, l2_copied, CORRUPT), SAME(plain, l1_copied, CORRUPT),
    SAME(plain, l2_reserved, CORRUPT), SAME(plain, l2_reserved_low, CORRUPT),
    SAME(plain, l2_reserved_free, CORRUPT), SAME(plain, l1_reserved, CORRUPT),
    SAME(plain, l1_reserved_low, CORRUPT), SAME(plain, l1_flags_only, CORRUPT),
    SAME(plain, l1_misaligned, CORRUPT), SAME(plain, l2_misaligned, CORRUPT),
    SAME(plain, l1_outside, CORRUPT), SAME(plain, l2_outside, CORRUPT),
    SAME(plain, reftable_misaligned, CORRUPT), SAME(plain, reftable_reserved, CORRUPT),
    SAME(plain, reftable_outside, CORRUPT), SAME(plain, reftable_outside_unused, CORRUPT),
    SAME(plain, reftable_empty, CORRUPT), SAME(plain, refblock_twice, CORRUPT),
    SAME(plain, refblock_twice_counted, CORRUPT), SAME(plain, zero_and_offset, CLEAN),
    SAME(plain, cut_half, CLEAN), SAME(plain, cut_one, CORRUPT), SAME(plain, data_twice, CORRUPT),
    SAME(plain, data_twice_counted, CLEAN), SAME(plain, l2_twice, CORRUPT),
    SAME(plain, l2_twice_counted, CLEAN), SAME(plain, marked_dirty, CLEAN),
    SAME(plain, snapshots_misaligned, CORRUPT), SAME(plain, raw_data, CORRUPT),
    SAME(plain, end_mark_length, CORRUPT), SAME(lazy, dirty_broken, CORRUPT),
    SAME(zlib, comp_copied, CORRUPT), SAME(zstd, comp_low, CORRUPT),
    SAME(zlib512, comp_outside, CORRUPT), SAME(zlib, comp_long, CORRUPT),
    SAME(snapc, comp_low, CORRUPT), SAME(ext, ext_both, CORRUPT), SAME(ext, ext_no_offset, CORRUPT),
    SAME(ext, ext_zero_bits, CLEAN), SAME(ext, ext_allocated_none, CLEAN),
    SAME(extzlib, ext_compressed_bits, CORRUPT), SAME(snap, snap_misaligned, CORRUPT),
    SAME(snap, snap_outside, CORRUPT), SAME(snap, snap_too_large, CORRUPT),
    SAME(snap, snap_same_l1, CORRUPT), SAME(snap, snap_extra, CORRUPT),
    SAME(snap, snap_incomplete, CORRUPT), SAME(snap, snap_forgotten, LEAKS),
    SAME(snap, snap_table_outside, CORRUPT), SAME(snap, snap_low, CORRUPT),
    SAME(bitmap, bitmap_type, CORRUPT), SAME(bitmap, bitmap_granularity, CORRUPT),
    SAME(bitmap, bitmap_flags, CORRUPT), SAME(bitmap, bitmap_misaligned, CORRUPT),
    SAME(bitmap, bitmap_outside, CORRUPT), SAME(bitmap, bitmap_size, CORRUPT),
    SAME(bitmap, bitmap_extra, CORRUPT), SAME(bitmap, bitmap_entry, CORRUPT),
    SAME(bitmap, bitmap_low, CORRUPT), SAME(bitmap, bitmap_dropped, LEAKS),
    /* Where we are stricter: metadata that a guest write would destroy, and entries that the format
     * forbids. */
    ROW(plain, data_in_l1, CORRUPT, CLEAN), ROW(plain, data_in_reftable, CORRUPT, CLEAN),
    ROW(plain, data_in_refblock, CORRUPT, CORRUPT), ROW(plain, data_in_l2, CORRUPT, CLEAN),
    ROW(plain, data_in_header, CORRUPT, CORRUPT), ROW(plain, l2_in_l1, CORRUPT, CORRUPT),
    ROW(plain, copied_no_offset, CORRUPT, CLEAN), ROW(plain, zero_copied_no_offset, CORRUPT, CLEAN),
    ROW(v2, zero_and_offset, CORRUPT, CLEAN), ROW(ext, ext_zero_flag, CORRUPT, CLEAN),
    ROW(zero, cut_l2, CORRUPT, CLEAN),
    /* Refcounts that lag behind after a crash are what the dirty mark announces. */
    ROW(lazy, dirty_low, LEAKS, CORRUPT),
};

/* clang-format on */

static void test_patch(gconstpointer data)
{
    gsize i = GPOINTER_TO_SIZE(data), need;
    g_autofree char *seed = NULL, *path = path_of("patched");
    g_autoptr(GError) error = NULL;
    Image image = { 0 };

    make_seed(rows[i].seed);
    seed = path_of(rows[i].seed);
    g_assert_true(g_file_get_contents(seed, &image.bytes, &image.len, NULL));
    g_assert_true(
        qcow2_header_parse((guint8 *)image.bytes, image.len, image.len, &image.h, &need, &error));
    rows[i].patch(&image);
    g_unlink(path);
    g_assert_true(g_file_set_contents(path, image.bytes, (gssize)image.len, NULL));
    g_assert_cmpint(our_verdict("patched"), ==, rows[i].ours);
    g_assert_cmpint(qemu_verdict("patched"), ==, rows[i].theirs);
    qcow2_header_clear(&image.h);
    g_free(image.bytes);
}

/* ---- Hostile files ---- */

static int copy_to_memfd(const char *name)
{
    g_autofree char *path = path_of(name), *bytes = NULL;
    gsize len;
    int fd = memfd_create("image", MFD_CLOEXEC);

    make_seed(name);
    g_assert_true(g_file_get_contents(path, &bytes, &len, NULL));
    g_assert_cmpint(pwrite(fd, bytes, len, 0), ==, len);
    return fd;
}

static guint64 memory_bytes(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (guint64)usage.ru_maxrss * 1024;
}

static void put_fd(int fd, guint64 offset, guint64 value)
{
    guint8 bytes[8];

    put_be64(bytes, value);
    g_assert_cmpint(pwrite(fd, bytes, 8, (off_t)offset), ==, 8);
}

/* A file of 4 EiB, all of it a hole but a few tables whose entries point all over it. */
static void test_huge_sparse(void)
{
    int fd = copy_to_memfd("c512");
    guint64 n = 4096, base = 1ull << 40, before = memory_bytes();
    gint64 start = units_boottime_ms();
    g_auto(LayerCheck) check = { 0 };

    g_assert_cmpint(ftruncate(fd, (off_t)(1ull << 62)), ==, 0);
    put_fd(fd, 48, base); /* a refcount table of 8 MiB that names a million blocks in holes */
    put_fd(fd, 56, (16384ull << 32));
    for (guint64 i = 0; i < n; i++)
        put_fd(fd, base + 8 * i, base + (64 << 20) + 512 * i);
    put_fd(fd, 40, base + (32 << 20));
    guint8 l1_size[4];
    put_be32(l1_size, 1u << 20);
    g_assert_cmpint(pwrite(fd, l1_size, 4, 36), ==, 4);
    for (guint64 i = 0; i < n; i++)
        put_fd(fd, base + (32 << 20) + 8 * i, (1ull << 50) + (i << 20));
    g_assert_cmpint(our_verdict_fd(fd, &check), ==, CORRUPT);
    g_assert_cmpuint(memory_bytes() - before, <, 400 * MIB);
    g_assert_cmpint(units_boottime_ms() - start, <, 30000);
}

/* An L1 table of 32 MiB whose entries all name the same L2 table. */
static void test_one_l2(void)
{
    int fd = copy_to_memfd("plain");
    guint64 n = 4ull << 20, offset = 64 * MIB;
    g_autofree guint8 *l1 = g_malloc(n * 8);
    guint8 number[4];
    gint64 start = units_boottime_ms();
    g_auto(LayerCheck) check = { 0 };

    guint8 first[8];
    g_assert_cmpint(pread(fd, first, 8, 40), ==, 8);
    g_assert_cmpint(pread(fd, first, 8, (off_t)be64_at(first)), ==, 8);
    for (guint64 i = 0; i < n; i++)
        memcpy(l1 + 8 * i, first, 8);
    g_assert_cmpint(pwrite(fd, l1, n * 8, (off_t)offset), ==, n * 8);
    put_fd(fd, 40, offset);
    put_be32(number, (guint32)n);
    g_assert_cmpint(pwrite(fd, number, 4, 36), ==, 4);
    g_assert_cmpint(our_verdict_fd(fd, &check), ==, CORRUPT);
    g_assert_cmpuint(check.messages->len, <=, 100);
    g_assert_cmpint(units_boottime_ms() - start, <, 30000);
}

static void count_progress(guint64 done, guint64 total, gpointer data)
{
    g_assert_cmpuint(done, <=, total);
    (*(guint *)data)++;
}

static void test_cancel(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Layer) layer = layer_open_fd(copy_to_memfd("plain"), "image", &error);
    g_auto(LayerCheck) check = { 0 };
    gint cancel = 0;
    guint n = 0;

    g_assert_true(layer_check(layer, &cancel, count_progress, &n, &check, &error));
    g_assert_cmpuint(n, >, 0);
    layer_check_clear(&check);
    cancel = 1;
    g_assert_false(layer_check(layer, &cancel, NULL, NULL, &check, &error));
    g_assert_nonnull(error);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    folder = g_dir_make_tmp("layer-check-XXXXXX", NULL);
    g_assert_nonnull(folder);
    g_test_add_func("/layer_check/sound", test_sound);
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *name =
            g_strdup_printf("/layer_check/patch/%s/%s", rows[i].seed, rows[i].name);
        g_test_add_data_func(name, GSIZE_TO_POINTER(i), test_patch);
    }
    g_test_add_func("/layer_check/huge-sparse", test_huge_sparse);
    g_test_add_func("/layer_check/one-l2", test_one_l2);
    g_test_add_func("/layer_check/cancel", test_cancel);
    int status = g_test_run();
    g_autofree char *remove = g_strdup_printf("rm -rf '%s'", folder);
    if (status == 0)
        status = run("%s", remove);
    return status;
}
