/* space_level.h: how near a store is to being full: a pure function with a memory of one word.
 *
 * A level is left only when a tenth more than what it begins at is free, so that a store on the
 * edge does not come and go.  Any thread. */
#pragma once

#include <glib.h>

typedef enum {
    SPACE_OK,
    SPACE_WARNING, /* it will be short soon */
    SPACE_LOW,     /* no new work starts there */
} SpaceLevel;

typedef struct {
    guint64 free_bytes, free_inodes;
    guint64 warn_bytes, low_bytes, low_inodes; /* below these a level begins */
} SpaceFigures;

SpaceLevel space_level(SpaceLevel was, const SpaceFigures *figures);
