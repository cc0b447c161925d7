/* figures.h: what desktops that run use at the moment: in memory, as their hosts last told.
 *
 * Nothing here is a fact of the catalog: after a restart there are none until hosts have been
 * asked.  Any thread. */
#pragma once

#include <glib.h>

typedef struct Figures Figures;

#define FIGURES_ADDRESSES 128

typedef struct {
    gint64 seen_at;       /* ms of the epoch */
    double cpu_usage;     /* of the desktop's own processors, 0 to 1, between the last two looks */
    guint64 memory_bytes; /* that its host gives it */
    guint64 cpu_ns;       /* processor time so far */
    guint n_cpus;
    char addresses[FIGURES_ADDRESSES]; /* the guest's IP addresses, spaces between them, or "" */
} DesktopFigures;

Figures *figures_new(void);
void figures_free(Figures *figures);

/* What a host says of its domains (of HostDomain): replaces what it said before. */
void figures_seen(Figures *figures, const char *host_id, const GPtrArray *domains);

/* FALSE: nothing is known of it. */
gboolean figures_get(Figures *figures, const char *desktop_id, DesktopFigures *ret);

/* The same of what changes all the time alone: quick enough to be asked of every desktop. */
gboolean figures_usage(Figures *figures, const char *desktop_id, double *ret_cpu_usage,
                       guint64 *ret_memory_bytes);

/* All of them, with the lock held: func is quick and calls nothing here. */
typedef void (*FiguresFunc)(const char *desktop_id, const DesktopFigures *figures, gpointer user);
void figures_each(Figures *figures, FiguresFunc func, gpointer user);
