/* partitions.h: the partition table of a disk: GPT, MBR, or none.
 *
 * Sources: the UEFI specification, chapter 5 (GPT); the MBR as Linux reads it. */
#pragma once

#include "imaged/guest/helper/block.h"

typedef struct {
    guint number;          /* as Linux numbers them, from 1; 0: the bare disk */
    guint64 start, length; /* bytes */
    char uuid[37];         /* of the partition; "" if it has none */
    gboolean is_esp, is_bios_boot;
} Partition;

typedef struct {
    const char *kind;       /* "gpt", "mbr", "none"; static */
    gboolean has_boot_code; /* in the first sector */
    GArray *parts;          /* of Partition */
    GArray *read;           /* of PartitionRange: which bytes of the disk said so */
} PartitionTable;

typedef struct {
    guint64 offset, length;
} PartitionRange;

#define PARTITIONS_MAX 128u

/* What makes no sense in a table is left out.  UNAVAILABLE, or CORRUPT if a GPT cannot be used. */
PartitionTable *partitions_read(Block *disk, GError **error);
void partitions_free(PartitionTable *table);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PartitionTable, partitions_free)
