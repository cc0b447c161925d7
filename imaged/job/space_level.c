/* space_level.c: see space_level.h. */
#include "imaged/job/space_level.h"

/* was_below: then it takes a tenth more. */
static gboolean is_below(guint64 now, guint64 limit, gboolean was_below)
{
    return now < (was_below ? limit + limit / 10 : limit);
}

SpaceLevel space_level(SpaceLevel was, const SpaceFigures *f)
{
    if (is_below(f->free_bytes, f->low_bytes, was == SPACE_LOW) ||
        is_below(f->free_inodes, f->low_inodes, was == SPACE_LOW))
        return SPACE_LOW;
    /* down from low the warning is reached by its own limit alone: it is nothing worse */
    return is_below(f->free_bytes, f->warn_bytes, was >= SPACE_WARNING) ? SPACE_WARNING : SPACE_OK;
}
