/* qcow2.h: the qcow2 header: its numbers checked, its extensions read.
 *
 * Parsing only: no file is opened here, no name in a header is followed.  Safe from any thread.
 * Source: docs/interop/qcow2.txt of QEMU; the limits are QEMU's own. */
#pragma once

#include <glib.h>

#define QCOW2_MAGIC 0x514649fbu
#define QCOW2_EXT_END 0u
#define QCOW2_EXT_BACKING_FORMAT 0xe2792acau
#define QCOW2_EXT_FEATURE_NAMES 0x6803f857u
#define QCOW2_EXT_BITMAPS 0x23852875u
#define QCOW2_EXT_CRYPTO 0x0537be77u
#define QCOW2_EXT_DATA_FILE 0x44415441u
#define QCOW2_EXT_IDENTITY 0x494d4744u /* "IMGD": ours, see identity.h */

#define QCOW2_INCOMPAT_DIRTY (1ull << 0)
#define QCOW2_INCOMPAT_CORRUPT (1ull << 1)
#define QCOW2_INCOMPAT_DATA_FILE (1ull << 2)
#define QCOW2_INCOMPAT_COMPRESSION (1ull << 3)
#define QCOW2_INCOMPAT_EXTENDED_L2 (1ull << 4)
#define QCOW2_AUTOCLEAR_BITMAPS (1ull << 0)
#define QCOW2_AUTOCLEAR_RAW_DATA (1ull << 1)

#define QCOW2_OFLAG_COPIED (1ull << 63)
#define QCOW2_OFLAG_COMPRESSED (1ull << 62)
#define QCOW2_OFLAG_ZERO (1ull << 0)
#define QCOW2_OFFSET_MASK 0x00fffffffffffe00ull /* bits 9 to 55 */

#define QCOW2_MIN_CLUSTER_BITS 9
#define QCOW2_MAX_CLUSTER_BITS 21
#define QCOW2_MAX_L1_BYTES (32u << 20)
#define QCOW2_MAX_REFTABLE_BYTES (8u << 20)
#define QCOW2_MAX_SNAPSHOTS 65536u
#define QCOW2_SUBCLUSTERS 32

typedef enum { QCOW2_ZLIB = 0, QCOW2_ZSTD = 1 } Qcow2Compression;

typedef struct {
    guint32 version;               /* 2 or 3 */
    guint32 cluster_bits;          /* 9 to 21 */
    guint64 virtual_size;          /* bytes the guest sees */
    guint32 crypt_method;          /* 0 none, 1 AES, 2 LUKS */
    guint64 l1_offset;             /* file offset, aligned to a cluster */
    guint32 n_l1;                  /* entries of the active L1 table */
    guint64 reftable_offset;       /* file offset, aligned to a cluster */
    guint32 n_reftable_clusters;
    guint64 snapshots_offset;
    guint32 n_snapshots;
    guint64 incompatible;          /* feature bits; unknown ones are refused */
    guint64 compatible;
    guint64 autoclear;
    guint32 refcount_order;        /* width of a refcount is 1 << order bits */
    guint32 header_length;         /* bytes */
    Qcow2Compression compression;
    gboolean is_extended_l2;
    char *backing_name;            /* NULL for none */
    char *backing_format;          /* NULL if not given */
    char *data_file;               /* NULL if not given */
    char *identity;                /* payload of the IMGD extension, or NULL */
    guint32 n_bitmaps;             /* from the bitmaps extension */
    guint64 bitmap_directory_offset;
    guint64 bitmap_directory_size;
} Qcow2Header;

/* Parse the first len bytes of an image of file_size bytes.  If the header's extensions reach
 * beyond len, *ret_need gets the number of bytes to call again with, and FALSE is returned
 * without an error.  CORRUPT if it is not a sound header, UNSUPPORTED if it has an incompatible
 * feature that we do not know.  On success the caller clears the header. */
gboolean qcow2_header_parse(const guint8 *data, gsize len, guint64 file_size, Qcow2Header *header,
                            gsize *ret_need, GError **error);

void qcow2_header_clear(Qcow2Header *header);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Qcow2Header, qcow2_header_clear)

/* Refuse what an image from outside may not have: a backing file, a data file, encryption, the
 * corrupt mark.  UNSUPPORTED (CORRUPT for the mark); the message names the feature. */
gboolean qcow2_header_check_foreign(const Qcow2Header *header, GError **error);

static inline guint64 qcow2_cluster_size(const Qcow2Header *h)
{
    return 1ull << h->cluster_bits;
}

/* Bytes of one L2 entry: 8, or 16 with subclusters. */
static inline guint32 qcow2_l2_entry_size(const Qcow2Header *h)
{
    return h->is_extended_l2 ? 16 : 8;
}

/* Entries of one L2 table. */
static inline guint64 qcow2_n_l2(const Qcow2Header *h)
{
    return qcow2_cluster_size(h) / qcow2_l2_entry_size(h);
}

/* Guest bytes that one L2 table describes. */
static inline guint64 qcow2_l2_span(const Qcow2Header *h)
{
    return qcow2_n_l2(h) << h->cluster_bits;
}

/* The mask of the subclusters of sub bytes that [at, at + len) of a cluster touches. */
static inline guint32 qcow2_sub_mask(guint64 sub, guint64 at, guint64 len)
{
    guint first = (guint)(at / sub), last = (guint)((at + len - 1) / sub);

    return (guint32)((2ull << last) - (1ull << first));
}

/* The place of a compressed cluster: host offset and the upper bound of its length. */
static inline void qcow2_compressed_place(const Qcow2Header *h, guint64 entry, guint64 *ret_offset,
                                          guint64 *ret_length)
{
    guint shift = 62 - (h->cluster_bits - 8);
    guint64 offset = entry & ((1ull << shift) - 1);
    guint64 sectors = ((entry & (QCOW2_OFLAG_COMPRESSED - 1)) >> shift) + 1;

    *ret_offset = offset;
    *ret_length = sectors * 512 - (offset & 511);
}

static inline guint16 be16_at(const guint8 *p)
{
    return (guint16)((p[0] << 8) | p[1]);
}

static inline guint32 be32_at(const guint8 *p)
{
    guint32 v;
    __builtin_memcpy(&v, p, sizeof v);
    return GUINT32_FROM_BE(v);
}

static inline guint64 be64_at(const guint8 *p)
{
    guint64 v;
    __builtin_memcpy(&v, p, sizeof v);
    return GUINT64_FROM_BE(v);
}

static inline void put_be16(guint8 *p, guint16 v)
{
    v = GUINT16_TO_BE(v);
    __builtin_memcpy(p, &v, sizeof v);
}

static inline void put_be32(guint8 *p, guint32 v)
{
    v = GUINT32_TO_BE(v);
    __builtin_memcpy(p, &v, sizeof v);
}

static inline void put_be64(guint8 *p, guint64 v)
{
    v = GUINT64_TO_BE(v);
    __builtin_memcpy(p, &v, sizeof v);
}
