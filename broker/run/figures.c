/* figures.c: a table by desktop; each entry remembers which host told it, because a desktop that
 * moved is told of by two hosts for a moment. */
#include "broker/run/figures.h"

#include <string.h>

#include "broker/host/driver.h"
#include "imaged/base/units.h"

/* A host that told of some. */
typedef struct {
    GPtrArray *told; /* ids of these desktops; all whose entries name it are among them */
} Host;

typedef struct {
    DesktopFigures now;
    const Host *host;
    guint64 round; /* in which it was told of */
} Entry;

struct Figures {
    GMutex lock;
    GHashTable *entries; /* id of a desktop -> Entry */
    GHashTable *hosts;   /* id -> Host */
    guint64 round;
};

/* Ids are made of random digits: eight of them are a hash. */
static guint hash_id(gconstpointer id)
{
    guint64 digits = 0;

    memcpy(&digits, id, strnlen(id, sizeof digits));
    return (guint)((digits * 0x9e3779b97f4a7c15) >> 32);
}

static void free_host(gpointer data)
{
    Host *host = data;

    g_ptr_array_unref(host->told);
    g_free(host);
}

Figures *figures_new(void)
{
    Figures *figures = g_new0(Figures, 1);

    g_mutex_init(&figures->lock);
    figures->entries = g_hash_table_new_full(hash_id, g_str_equal, g_free, g_free);
    figures->hosts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_host);
    return figures;
}

void figures_free(Figures *figures)
{
    if (!figures)
        return;
    g_hash_table_unref(figures->entries);
    g_hash_table_unref(figures->hosts);
    g_mutex_clear(&figures->lock);
    g_free(figures);
}

static void note(Entry *e, const HostDomain *d, gint64 now)
{
    gint64 passed_ms = now - e->now.seen_at;
    guint n_cpus = MAX(d->n_cpus, 1);

    if (e->now.seen_at && passed_ms > 0 && d->cpu_ns >= e->now.cpu_ns)
        e->now.cpu_usage =
            MIN(1.0, (double)(d->cpu_ns - e->now.cpu_ns) / 1e6 / (double)passed_ms / n_cpus);
    else
        e->now.cpu_usage = 0;
    e->now.seen_at = now;
    e->now.cpu_ns = d->cpu_ns;
    e->now.memory_bytes = d->memory_bytes;
    e->now.n_cpus = n_cpus;
    g_strlcpy(e->now.addresses, d->addresses ? d->addresses : "", sizeof e->now.addresses);
}

static Entry *entry_of(Figures *figures, const char *desktop_id, const Host *host)
{
    Entry *e = g_hash_table_lookup(figures->entries, desktop_id);

    if (!e) {
        e = g_new0(Entry, 1);
        g_hash_table_insert(figures->entries, g_strdup(desktop_id), e);
    }
    if (e->host != host)
        *e = (Entry){ .host = host };
    return e;
}

/* What this host told before, and does not tell now, is gone. */
static void forget(Figures *figures, const GPtrArray *before, const Host *host)
{
    for (guint i = 0; i < before->len; i++) {
        const Entry *e = g_hash_table_lookup(figures->entries, before->pdata[i]);
        if (e && e->host == host && e->round != figures->round)
            g_hash_table_remove(figures->entries, before->pdata[i]);
    }
}

/* Many hosts tell all the time: what it takes depends on what this one has, not on all there is. */
void figures_seen(Figures *figures, const char *host_id, const GPtrArray *domains)
{
    gint64 now = units_now_ms();

    g_mutex_lock(&figures->lock);
    Host *host = g_hash_table_lookup(figures->hosts, host_id);
    if (!host) {
        host = g_new0(Host, 1);
        host->told = g_ptr_array_new_with_free_func(g_free);
        g_hash_table_insert(figures->hosts, g_strdup(host_id), host);
    }
    g_autoptr(GPtrArray) before = host->told;
    host->told = g_ptr_array_new_full(domains->len, g_free);
    figures->round++;
    for (guint i = 0; i < domains->len; i++) {
        const HostDomain *d = domains->pdata[i];
        if (!d->desktop_id || d->state == DOMAIN_OFF)
            continue;
        Entry *e = entry_of(figures, d->desktop_id, host);
        e->round = figures->round;
        note(e, d, now);
        g_ptr_array_add(host->told, g_strdup(d->desktop_id));
    }
    forget(figures, before, host);
    if (!host->told->len)
        g_hash_table_remove(figures->hosts, host_id);
    g_mutex_unlock(&figures->lock);
}

gboolean figures_get(Figures *figures, const char *desktop_id, DesktopFigures *ret)
{
    g_mutex_lock(&figures->lock);
    const Entry *e = g_hash_table_lookup(figures->entries, desktop_id);
    if (e)
        *ret = e->now;
    g_mutex_unlock(&figures->lock);
    return e != NULL;
}

gboolean figures_usage(Figures *figures, const char *desktop_id, double *ret_cpu_usage,
                       guint64 *ret_memory_bytes)
{
    g_mutex_lock(&figures->lock);
    const Entry *e = g_hash_table_lookup(figures->entries, desktop_id);
    if (e) {
        *ret_cpu_usage = e->now.cpu_usage;
        *ret_memory_bytes = e->now.memory_bytes;
    }
    g_mutex_unlock(&figures->lock);
    return e != NULL;
}

void figures_each(Figures *figures, FiguresFunc func, gpointer user)
{
    GHashTableIter iter;
    gpointer id, entry;

    g_mutex_lock(&figures->lock);
    g_hash_table_iter_init(&iter, figures->entries);
    while (g_hash_table_iter_next(&iter, &id, &entry))
        func(id, &((const Entry *)entry)->now, user);
    g_mutex_unlock(&figures->lock);
}
