/* fs_probe.h: what file system a part of a disk holds, by its first blocks.  Nothing of it is
 * trusted but its name. */
#pragma once

#include "imaged/guest/helper/block.h"
#include "imaged/guest/helper/trace.h"

typedef struct {
    const char *type; /* as blkid calls it: "ext4", "vfat", "xfs", "LVM2_member"...; "unknown" */
    gboolean can_hide_system; /* an operating system may lie in it that we cannot read ourselves */
    char uuid[37], label[33]; /* "" if there is none, or it was not looked for */
} FsProbe;

/* trace (may be NULL) gets what was read. */
void fs_probe(Block *part, Trace *trace, FsProbe *ret);
