/* iso9660.h: a small read-only disk of a few files, made in memory.
 *
 * ISO 9660 (ECMA-119, interchange level 2) with Joliet names: what Linux, cloud-init's NoCloud and
 * Windows' setup all read from a CD-ROM.  One folder, no more.  The same files give the same
 * bytes.  Any thread. */
#pragma once

#include <glib.h>

typedef struct {
    const char *name; /* 1 to 30 of [a-z0-9.-], at most one dot */
    const char *data;
    gsize len; /* bytes */
} IsoFile;

#define ISO9660_MAX_FILES 16

/* files in the order of their names (strcmp), no two equal.  label: at most 16 ASCII characters. */
GByteArray *iso9660_make(const char *label, const IsoFile *files, guint n);
