/* iso9660.c: the layout, in sectors of 2 KiB:
 *
 *   16 primary volume descriptor     19, 20 its path table (little, big endian)    23 its folder
 *   17 Joliet's volume descriptor    21, 22 Joliet's                               24 Joliet's
 *   18 end of the descriptors        25... the files, shared by both
 *
 * Numbers in fields that both hold are little endian first, then big.  Sources: ECMA-119; the
 * Joliet specification (names in big-endian UCS-2, marked by the escape sequence %/E). */
#include "broker/iso9660.h"

#include <string.h>

#define SECTOR 2048u
#define N_FIXED 25u        /* sectors before the files */
#define PATH_TABLE_LEN 10u /* of the root alone */

typedef struct {
    guint8 *at; /* the disk */
    gboolean is_joliet;
    const IsoFile *files;
    const guint32 *sectors; /* where each begins */
    guint n;
} Volume;

static void put_le(guint8 *at, guint32 value, guint n)
{
    for (guint i = 0; i < n; i++)
        at[i] = (guint8)(value >> (8 * i));
}

static void put_be(guint8 *at, guint32 value, guint n)
{
    for (guint i = 0; i < n; i++)
        at[i] = (guint8)(value >> (8 * (n - 1 - i)));
}

static void put_both(guint8 *at, guint32 value, guint n)
{
    put_le(at, value, n);
    put_be(at + n, value, n);
}

/* Text padded with blanks; of len bytes also in UCS-2. */
static void put_text(const Volume *v, guint8 *at, const char *text, guint len)
{
    guint n = (guint)strlen(text);

    for (guint i = 0; !v->is_joliet && i < len; i++)
        at[i] = i < n ? (guint8)text[i] : ' ';
    for (guint i = 0; v->is_joliet && i + 1 < len; i += 2)
        put_be(at + i, i / 2 < n ? (guint8)text[i / 2] : ' ', 2);
}

/* A name as the folder has it: "META_DATA.;1", or in UCS-2 "meta-data;1".  Returns its length. */
static guint name_of(const Volume *v, const char *name, guint8 *out)
{
    g_autofree char *full = v->is_joliet        ? g_strconcat(name, ";1", NULL)
                            : strchr(name, '.') ? g_strconcat(name, ";1", NULL)
                                                : g_strconcat(name, ".;1", NULL);
    guint len = (guint)strlen(full);

    for (guint i = 0; i < len; i++) {
        if (v->is_joliet)
            put_be(out + 2 * i, (guint8)full[i], 2);
        else
            out[i] = full[i] == '-' ? '_' : (guint8)g_ascii_toupper(full[i]);
    }
    return v->is_joliet ? 2 * len : len;
}

/* One record of a folder; returns its length. */
static guint put_record(guint8 *at, guint32 sector, guint32 bytes, gboolean is_folder,
                        const guint8 *name, guint name_len)
{
    guint len = 33 + name_len + (name_len % 2 == 0);

    at[0] = (guint8)len;
    put_both(at + 2, sector, 4);
    put_both(at + 10, bytes, 4);
    at[18] = 100; /* 2000-01-01 */
    at[19] = at[20] = 1;
    at[25] = is_folder ? 2 : 0;
    put_both(at + 28, 1, 2);
    at[32] = (guint8)name_len;
    memcpy(at + 33, name, name_len);
    return len;
}

static guint32 folder_sector(const Volume *v)
{
    return v->is_joliet ? 24 : 23;
}

/* At most ISO9660_MAX_FILES records of 33 + 66 bytes: they fit into a sector. */
static void put_folder(const Volume *v)
{
    guint8 *at = v->at + folder_sector(v) * SECTOR, name[64];

    at += put_record(at, folder_sector(v), SECTOR, TRUE, (const guint8 *)"\0", 1);
    at += put_record(at, folder_sector(v), SECTOR, TRUE, (const guint8 *)"\1", 1);
    for (guint i = 0; i < v->n; i++) {
        guint len = name_of(v, v->files[i].name, name);
        at += put_record(at, v->sectors[i], (guint32)v->files[i].len, FALSE, name, len);
    }
}

static void put_path_tables(const Volume *v)
{
    guint8 *little = v->at + (v->is_joliet ? 21 : 19) * SECTOR, *big = little + SECTOR;

    little[0] = big[0] = 1; /* length of the root's name */
    put_le(little + 2, folder_sector(v), 4);
    put_be(big + 2, folder_sector(v), 4);
    put_le(little + 6, 1, 2);
    put_be(big + 6, 1, 2);
}

static void put_descriptor(const Volume *v, const char *label, guint32 n_sectors)
{
    static const char *const date = "2000010100000000"; /* and a zero: UTC */
    guint8 *at = v->at + (v->is_joliet ? 17 : 16) * SECTOR;

    at[0] = v->is_joliet ? 2 : 1;
    memcpy(at + 1, "CD001", 5);
    at[6] = 1;
    put_text(v, at + 8, "", 32);
    put_text(v, at + 40, label, 32);
    put_both(at + 80, n_sectors, 4);
    if (v->is_joliet)
        memcpy(at + 88, "%/E", 3);
    put_both(at + 120, 1, 2); /* one volume */
    put_both(at + 124, 1, 2);
    put_both(at + 128, SECTOR, 2);
    put_both(at + 132, PATH_TABLE_LEN, 4);
    put_le(at + 140, v->is_joliet ? 21 : 19, 4);
    put_be(at + 148, v->is_joliet ? 22 : 20, 4);
    put_record(at + 156, folder_sector(v), SECTOR, TRUE, (const guint8 *)"\0", 1);
    put_text(v, at + 190, "", 128 * 4); /* set, publisher, preparer, application */
    for (guint i = 0; i < 3; i++)
        put_text(v, at + 702 + 37 * i, "", 37); /* names of files that there are not */
    memcpy(at + 813, date, 16);
    memcpy(at + 830, date, 16);
    memset(at + 847, '0', 16);
    memset(at + 864, '0', 16);
    at[881] = 1;
}

GByteArray *iso9660_make(const char *label, const IsoFile *files, guint n)
{
    guint32 sectors[ISO9660_MAX_FILES] = { 0 }, n_sectors = N_FIXED;

    g_assert(n <= ISO9660_MAX_FILES);
    for (guint i = 0; i < n; i++) {
        sectors[i] = n_sectors;
        n_sectors += (guint32)((files[i].len + SECTOR - 1) / SECTOR);
    }
    GByteArray *disk = g_byte_array_new();
    g_byte_array_set_size(disk, n_sectors * SECTOR);
    memset(disk->data, 0, disk->len);
    for (int is_joliet = 0; is_joliet < 2; is_joliet++) {
        Volume v = { disk->data, is_joliet, files, sectors, n };
        put_descriptor(&v, label, n_sectors);
        put_path_tables(&v);
        put_folder(&v);
    }
    guint8 *end = disk->data + 18 * SECTOR;
    end[0] = 255;
    memcpy(end + 1, "CD001", 5);
    end[6] = 1;
    for (guint i = 0; i < n; i++)
        memcpy(disk->data + sectors[i] * SECTOR, files[i].data, files[i].len);
    return disk;
}
