/* placement.h: on which host a desktop starts: a pure function of what is written here.
 *
 * Memory first, because it is what runs out, then processors.  What is about to start counts as
 * load already: given_* are sums of what was promised, not of what is used. */
#pragma once

#include <glib.h>

typedef struct {
    const char *id, *name;
    gboolean is_up, is_maintenance;
    gboolean has_store;    /* it sees the store of the desktop's layers */
    gboolean has_networks; /* those of the desktop */
    gboolean is_unfit;     /* the desktop's saved memory would not go on there */
    guint64 memory_bytes, given_memory;
    guint n_cpus, given_cpus;
    double cpu_usage; /* measured, 0 to 1 */
} PlaceHost;

typedef struct {
    guint64 memory_bytes;
    guint n_cpus;
} PlaceNeed;

typedef enum {
    PLACE_SPREAD, /* as even as can be: the host with the most free memory */
    PLACE_PACK,   /* as few hosts as can be: the one with the least that suffices */
} PlacePolicy;

/* What of a host's memory is never given away: its own system and QEMU's own memory. */
guint64 placement_reserve(guint64 memory_bytes);

/* The index of the host, or -1; then *ret_why (caller frees) says what each of them lacks. */
gint placement_choose(const PlaceHost *hosts, guint n, const PlaceNeed *need, PlacePolicy policy,
                      char **ret_why);
