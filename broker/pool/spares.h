/* spares.h: how many desktops of a pool wait switched on: a pure function. */
#pragma once

#include <glib.h>

#define SPARES_WINDOW_MS (gint64)(10 * 60 * 1000) /* in which demand is measured */
#define SPARES_START_MS (gint64)(90 * 1000)       /* what a desktop needs to be ready */

typedef struct {
    gint64 asked;        /* that the pool is to have at least (--spares) */
    gint64 n_picks;      /* new ones given within SPARES_WINDOW_MS */
    gint64 n_free;       /* of which it can have some on */
    double memory_given; /* of all hosts that take desktops: 0 to 1 */
} SparesNeed;

/* At least what is asked for; and as many as are taken while another one starts.  What goes beyond
 * the asked is given up as memory gets short: none beyond 90%. */
gint64 spares_wanted(const SparesNeed *need);
