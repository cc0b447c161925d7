/* qcow2.c: the header of a qcow2 file.  It comes from strangers: each number is compared with its
 * limit and with the file's real length before anything is derived from it. */
#include "cow/qcow2.h"

#include <string.h>

#include "imaged/base/error.h"

#define V2_LENGTH 72u
#define V3_LENGTH 104u
#define MAX_BACKING_NAME 1023u
#define KNOWN_INCOMPAT                                                                             \
    (QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT | QCOW2_INCOMPAT_DATA_FILE |                   \
     QCOW2_INCOMPAT_COMPRESSION | QCOW2_INCOMPAT_EXTENDED_L2)

static gboolean corrupt(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static gboolean corrupt(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *why = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT, "not a sound qcow2 image: %s", why);
    return FALSE;
}

void qcow2_header_clear(Qcow2Header *header)
{
    g_clear_pointer(&header->backing_name, g_free);
    g_clear_pointer(&header->backing_format, g_free);
    g_clear_pointer(&header->data_file, g_free);
    g_clear_pointer(&header->identity, g_free);
}

/* A string from the file: no NUL, valid UTF-8 is not asked for.  NULL if it has a NUL. */
static char *take_string(const guint8 *data, gsize len)
{
    return memchr(data, 0, len) ? NULL : g_strndup((const char *)data, len);
}

static gboolean parse_fixed(const guint8 *data, gsize len, Qcow2Header *h, GError **error)
{
    if (len < V2_LENGTH || be32_at(data) != QCOW2_MAGIC)
        return corrupt(error, len < V2_LENGTH ? "the file is too short" : "wrong magic number");
    h->version = be32_at(data + 4);
    if (h->version != 2 && h->version != 3)
        return corrupt(error, "unknown version %u", h->version);
    h->cluster_bits = be32_at(data + 20);
    h->virtual_size = be64_at(data + 24);
    h->crypt_method = be32_at(data + 32);
    h->n_l1 = be32_at(data + 36);
    h->l1_offset = be64_at(data + 40);
    h->reftable_offset = be64_at(data + 48);
    h->n_reftable_clusters = be32_at(data + 56);
    h->n_snapshots = be32_at(data + 60);
    h->snapshots_offset = be64_at(data + 64);
    h->refcount_order = 4;
    h->header_length = V2_LENGTH;
    if (h->version == 2)
        return TRUE;

    if (len < V3_LENGTH)
        return corrupt(error, "the file is too short");
    h->incompatible = be64_at(data + 72);
    h->compatible = be64_at(data + 80);
    h->autoclear = be64_at(data + 88);
    h->refcount_order = be32_at(data + 96);
    h->header_length = be32_at(data + 100);
    return TRUE;
}

static gboolean check_features(const guint8 *data, gsize len, Qcow2Header *h, GError **error)
{
    guint64 unknown = h->incompatible & ~KNOWN_INCOMPAT;

    if (unknown) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "the image needs an unknown qcow2 feature (incompatible bit %d)",
                    __builtin_ctzll(unknown));
        return FALSE;
    }
    if (h->version == 3 && h->header_length > V3_LENGTH && len > V3_LENGTH)
        h->compression = data[104];
    if (!!(h->incompatible & QCOW2_INCOMPAT_COMPRESSION) != (h->compression != QCOW2_ZLIB))
        return corrupt(error, "compression type and its feature bit do not agree");
    if (h->compression > QCOW2_ZSTD) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "the image uses an unknown compression type %d", (int)h->compression);
        return FALSE;
    }
    if ((h->autoclear & QCOW2_AUTOCLEAR_RAW_DATA) && !(h->incompatible & QCOW2_INCOMPAT_DATA_FILE))
        return corrupt(error, "raw external data without a data file");
    h->is_extended_l2 = !!(h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2);
    if (h->is_extended_l2 && h->cluster_bits < 14)
        return corrupt(error, "subclusters need clusters of at least 16 KiB");
    if (h->crypt_method > 2) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "the image uses an unknown encryption method %u", h->crypt_method);
        return FALSE;
    }
    return TRUE;
}

/* TRUE if [offset, offset + length) lies inside the file and begins at a cluster. */
static gboolean placed(const Qcow2Header *h, guint64 offset, guint64 length, guint64 file_size)
{
    return offset != 0 && (offset & (qcow2_cluster_size(h) - 1)) == 0 && offset <= file_size &&
           length <= file_size - offset;
}

static gboolean check_numbers(Qcow2Header *h, guint64 file_size, GError **error)
{
    if (h->cluster_bits < QCOW2_MIN_CLUSTER_BITS || h->cluster_bits > QCOW2_MAX_CLUSTER_BITS)
        return corrupt(error, "cluster size 2^%u is out of range", h->cluster_bits);
    guint64 cluster = qcow2_cluster_size(h);
    if (h->version == 3 && (h->header_length < V3_LENGTH || h->header_length % 8 != 0 ||
                            h->header_length > cluster))
        return corrupt(error, "header length %u is out of range", h->header_length);
    if (h->refcount_order > 6)
        return corrupt(error, "refcount order %u is out of range", h->refcount_order);
    if (h->virtual_size > G_MAXINT64 - cluster || h->virtual_size % 512 != 0)
        return corrupt(error, "virtual size %" G_GUINT64_FORMAT " is out of range",
                       h->virtual_size);
    /* QEMU refuses a bad offset even if there are no snapshots. */
    if (h->snapshots_offset > G_MAXINT64 || (h->snapshots_offset & (cluster - 1)))
        return corrupt(error, "the snapshot table is misaligned");
    if (h->n_snapshots > QCOW2_MAX_SNAPSHOTS)
        return corrupt(error, "%u internal snapshots are too many", h->n_snapshots);
    if (h->n_snapshots && !placed(h, h->snapshots_offset, 40ull * h->n_snapshots, file_size))
        return corrupt(error, "the snapshot table lies outside of the file");
    return TRUE;
}

static gboolean check_tables(const Qcow2Header *h, guint64 file_size, GError **error)
{
    guint64 span = qcow2_l2_span(h);
    guint64 needed = h->virtual_size / span + (h->virtual_size % span != 0);

    if (h->n_l1 > QCOW2_MAX_L1_BYTES / 8 || h->n_l1 < needed)
        return corrupt(error, "an L1 table of %u entries does not fit the virtual size", h->n_l1);
    if (h->n_l1 && !placed(h, h->l1_offset, 8ull * h->n_l1, file_size))
        return corrupt(error, "the L1 table lies outside of the file");
    if (h->n_reftable_clusters == 0 ||
        h->n_reftable_clusters > QCOW2_MAX_REFTABLE_BYTES >> h->cluster_bits)
        return corrupt(error, "a refcount table of %u clusters is out of range",
                       h->n_reftable_clusters);
    /* Only its first bytes must lie in the file: QEMU itself may leave a short last cluster. */
    if (!placed(h, h->reftable_offset,
                ((guint64)h->n_reftable_clusters << h->cluster_bits) - qcow2_cluster_size(h) + 8,
                file_size))
        return corrupt(error, "the refcount table lies outside of the file");
    return TRUE;
}

static gboolean set_once(char **target, const guint8 *data, guint32 len, const char *what,
                         GError **error)
{
    if (*target)
        return corrupt(error, "the %s is given twice", what);
    *target = take_string(data, len);
    return *target ? TRUE : corrupt(error, "the %s contains a NUL byte", what);
}

static gboolean parse_bitmaps(const guint8 *data, guint32 len, Qcow2Header *h, GError **error)
{
    if (len != 24 || h->n_bitmaps)
        return corrupt(error, "the bitmaps extension is malformed");
    h->n_bitmaps = be32_at(data);
    h->bitmap_directory_size = be64_at(data + 8);
    h->bitmap_directory_offset = be64_at(data + 16);
    if (h->n_bitmaps == 0 || h->n_bitmaps > 65535 || h->bitmap_directory_size > (64u << 20) ||
        be32_at(data + 4) != 0)
        return corrupt(error, "the bitmaps extension is malformed");
    return TRUE;
}

static gboolean parse_extension(guint32 type, const guint8 *data, guint32 len, Qcow2Header *h,
                                GError **error)
{
    switch (type) {
    case QCOW2_EXT_BACKING_FORMAT:
        return len <= 15 ? set_once(&h->backing_format, data, len, "backing format", error)
                         : corrupt(error, "the backing format is too long");
    case QCOW2_EXT_DATA_FILE:
        return len <= 1023 ? set_once(&h->data_file, data, len, "data file", error)
                           : corrupt(error, "the data file's name is too long");
    case QCOW2_EXT_IDENTITY:
        return set_once(&h->identity, data, len, "identity", error);
    case QCOW2_EXT_BITMAPS:
        return parse_bitmaps(data, len, h, error);
    default:
        return TRUE; /* unknown ones are ignored, as the specification asks */
    }
}

/* The extensions lie between the header and the backing name (or the end of the cluster). */
static gboolean parse_extensions(const guint8 *data, gsize len, guint64 limit, Qcow2Header *h,
                                 gsize *ret_need, GError **error)
{
    guint64 at = h->header_length;

    for (;;) {
        if (limit - at < 8) /* ends without an end mark, which QEMU accepts too */
            return TRUE;
        if (at + 8 > len) {
            *ret_need = limit;
            return FALSE;
        }
        guint32 type = be32_at(data + at);
        guint32 ext_len = be32_at(data + at + 4);
        at += 8;
        /* Of the end mark, too: QEMU compares its length as well. */
        if (ext_len > limit - at)
            return corrupt(error, "header extension 0x%08x is too long", type);
        if (type == QCOW2_EXT_END)
            return TRUE;
        if (at + ext_len > len) {
            *ret_need = limit;
            return FALSE;
        }
        if (!parse_extension(type, data + at, ext_len, h, error))
            return FALSE;
        at += MIN(((guint64)ext_len + 7) & ~7ull, limit - at);
    }
}

static gboolean parse_variable(const guint8 *data, gsize len, guint64 file_size, Qcow2Header *h,
                               gsize *ret_need, GError **error)
{
    guint64 name_offset = be64_at(data + 8);
    guint32 name_len = be32_at(data + 16);
    guint64 limit = MIN(qcow2_cluster_size(h), file_size);

    if (name_offset) {
        if (name_len > MAX_BACKING_NAME || name_offset < h->header_length || name_offset > limit ||
            name_len > limit - name_offset)
            return corrupt(error, "the backing file's name lies outside of the header");
        if (name_offset + name_len > len) {
            *ret_need = limit;
            return FALSE;
        }
        if (name_len) {
            h->backing_name = take_string(data + name_offset, name_len);
            if (!h->backing_name)
                return corrupt(error, "the backing file's name contains a NUL byte");
        }
        limit = name_offset;
    }
    if (h->header_length > limit)
        return corrupt(error, "the header is longer than the file");
    if (!parse_extensions(data, len, limit, h, ret_need, error))
        return FALSE;
    if ((h->autoclear & QCOW2_AUTOCLEAR_BITMAPS) && !h->n_bitmaps)
        h->autoclear &= ~QCOW2_AUTOCLEAR_BITMAPS;
    return TRUE;
}

gboolean qcow2_header_parse(const guint8 *data, gsize len, guint64 file_size, Qcow2Header *header,
                            gsize *ret_need, GError **error)
{
    Qcow2Header h = { 0 };

    if (ret_need)
        *ret_need = 0;
    gsize need = 0;
    len = MIN(len, file_size);
    if (!parse_fixed(data, len, &h, error) || !check_numbers(&h, file_size, error) ||
        !check_features(data, len, &h, error) || !check_tables(&h, file_size, error) ||
        !parse_variable(data, len, file_size, &h, &need, error)) {
        qcow2_header_clear(&h);
        if (need && ret_need)
            *ret_need = need;
        return FALSE;
    }
    *header = h;
    return TRUE;
}

gboolean qcow2_header_check_foreign(const Qcow2Header *h, GError **error)
{
    ImagedError code = IMAGED_ERROR_UNSUPPORTED;
    const char *why = NULL, *hint = "";

    if (h->backing_name) {
        why = "it stands on a backing file";
        hint = "flatten it first: qemu-img convert -O qcow2 IMAGE NEW";
    } else if (h->data_file || (h->incompatible & QCOW2_INCOMPAT_DATA_FILE)) {
        why = "its data lies in an external data file";
        hint = "bring the data in first: qemu-img convert -O qcow2 IMAGE NEW";
    } else if (h->crypt_method) {
        why = "it is encrypted";
        hint = "decrypt it first: qemu-img convert with --object secret";
    } else if (h->incompatible & QCOW2_INCOMPAT_CORRUPT) {
        code = IMAGED_ERROR_CORRUPT;
        why = "it is marked corrupt";
        hint = "see what is left of it: qemu-img check IMAGE";
    }
    if (!why)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, code, "the image is refused: %s", why);
    imaged_error_hint(error, "%s", hint);
    return FALSE;
}
