/* placement.c: see placement.h. */
#include "broker/host/placement.h"

#include <string.h>

#include "imaged/base/units.h"

#define RESERVE_MIN (512 * MIB)
#define RESERVE_SHARE 32     /* of the host's memory */
#define OVERHEAD (128 * MIB) /* of QEMU, for each desktop */
#define CPUS_PER_CPU 8       /* virtual ones that are promised for a real one */
#define NAMED 3              /* hosts that a reason names */

guint64 placement_reserve(guint64 memory_bytes)
{
    return MAX(RESERVE_MIN, memory_bytes / RESERVE_SHARE);
}

static guint64 free_memory(const PlaceHost *h)
{
    guint64 taken = h->given_memory + placement_reserve(h->memory_bytes);

    return h->memory_bytes > taken ? h->memory_bytes - taken : 0;
}

/* Why it can't be this one, or NULL.  Static. */
static const char *lack(const PlaceHost *h, const PlaceNeed *need)
{
    if (!h->is_up)
        return "is not up";
    if (h->is_maintenance)
        return "is in maintenance";
    if (!h->has_store)
        return "does not see the desktop's store";
    if (!h->has_networks)
        return "has not the desktop's networks";
    if (h->is_unfit)
        return "is not the one on which it was suspended";
    if (free_memory(h) < need->memory_bytes + OVERHEAD)
        return "has too little free memory";
    if (need->n_cpus > h->n_cpus)
        return "has fewer processors";
    if ((guint64)h->given_cpus + need->n_cpus > (guint64)h->n_cpus * CPUS_PER_CPU)
        return "has promised all its processors";
    return NULL;
}

/* Below 0: a is better.  Free memory in steps of an eighth of what the desktop needs, so that among
 * hosts that are about as empty the processors decide. */
static gint compare(const PlaceHost *a, const PlaceHost *b, const PlaceNeed *need,
                    PlacePolicy policy)
{
    guint64 step = MAX(need->memory_bytes / 8, 1);
    guint64 left = free_memory(a) / step, right = free_memory(b) / step;
    double a_load = MAX(a->cpu_usage, (double)a->given_cpus / a->n_cpus / CPUS_PER_CPU);
    double b_load = MAX(b->cpu_usage, (double)b->given_cpus / b->n_cpus / CPUS_PER_CPU);

    if (left != right)
        return (left > right) == (policy == PLACE_SPREAD) ? -1 : 1;
    if (a_load != b_load)
        return a_load < b_load ? -1 : 1;
    return strcmp(a->name, b->name);
}

static char *reasons(const PlaceHost *hosts, guint n, const PlaceNeed *need)
{
    GString *out = g_string_new(NULL);

    for (guint i = 0; i < MIN(n, NAMED); i++)
        g_string_append_printf(out, "%s%s %s", i ? "; " : "", hosts[i].name, lack(&hosts[i], need));
    if (n > NAMED)
        g_string_append_printf(out, "; and %u more", n - NAMED);
    if (n == 0)
        g_string_append(out, "there is no host");
    return g_string_free(out, FALSE);
}

gint placement_choose(const PlaceHost *hosts, guint n, const PlaceNeed *need, PlacePolicy policy,
                      char **ret_why)
{
    gint best = -1;

    for (guint i = 0; i < n; i++) {
        if (!lack(&hosts[i], need) &&
            (best < 0 || compare(&hosts[i], &hosts[best], need, policy) < 0))
            best = (gint)i;
    }
    *ret_why = best < 0 ? reasons(hosts, n, need) : NULL;
    return best;
}
