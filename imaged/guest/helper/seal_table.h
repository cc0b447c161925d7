/* seal_table.h: what of a system belongs to one machine, so that no clone may have it.
 *
 * Both ways of sealing go by it: in the appliance (seal_ops.c, a disk that ran) and in a root that
 * is being built (customize_seal.c).  How a thing is removed is theirs. */
#pragma once

#include <glib.h>

#define SEAL_PATTERNS_MAX 12

/* What is done before the patterns go. */
typedef enum {
    SEAL_PATTERNS,   /* nothing */
    SEAL_MACHINE_ID, /* the machine's id is emptied, and D-Bus' own copy goes */
    SEAL_LOGS,       /* below /var/log: logs are emptied, rotated ones go */
    SEAL_HOMES,      /* seal_home_names go in the homes of root and of users */
} SealKind;

typedef struct {
    const char *name; /* as the report calls it */
    SealKind kind;
    const char *patterns[SEAL_PATTERNS_MAX]; /* as glob(7)'s, of files and folders; up to NULL */
} SealEntry;

extern const SealEntry seal_table[]; /* ends with a NULL name */

extern const char *const seal_home_names[]; /* patterns below a home, up to NULL */

/* Is this the name of a log that is written no more? */
gboolean seal_is_rotated(const char *name);
