/* block_digest_file.h: the file of a layer's digest, as block_digest.c writes it and
 * block_digest_file.c reads it.  For those two alone. */
#pragma once

#include "cow/block_digest.h"

#define DIGEST_MAGIC "IMGDBLK1"

typedef struct {
    char magic[8];
    guint32 version, block;
    char id[33], pad[7];
    BlockStamp stamp;
    BlockCounts counts;
    guint64 length;     /* bytes of the file */
    guint64 records[2]; /* XXH3-128 of what follows the header */
    guint64 header;     /* XXH3-64 of the header up to here */
} DigestHeader;

typedef struct {
    guint64 first;
    guint32 n, kind;
} DigestRecord;

/* All records are written: sum them up and write the header. */
gboolean digest_file_finish(int fd, const char *id, const BlockStamp *stamp,
                            const BlockCounts *counts, guint64 length, GError **error);
