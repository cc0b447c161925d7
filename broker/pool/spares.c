/* spares.c: see spares.h. */
#include "broker/pool/spares.h"

#define MEMORY_FULL 0.90
#define MEMORY_EASY 0.70

gint64 spares_wanted(const SparesNeed *need)
{
    /* rounded up: one that comes every ten minutes is worth a spare */
    gint64 demand = (need->n_picks * SPARES_START_MS + SPARES_WINDOW_MS - 1) / SPARES_WINDOW_MS;
    gint64 more = MAX(demand - need->asked, 0);

    if (need->asked == 0) /* nobody wants spares here */
        return 0;
    if (need->memory_given >= MEMORY_FULL)
        more = 0;
    else if (need->memory_given > MEMORY_EASY)
        more = (gint64)((double)more * (MEMORY_FULL - need->memory_given) /
                            (MEMORY_FULL - MEMORY_EASY) +
                        0.5);
    return MIN(need->asked + more, need->n_free);
}
