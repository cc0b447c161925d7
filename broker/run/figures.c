/* figures.c: a table by desktop; each entry remembers which host told it, because a desktop that
 * moved is told of by two hosts for a moment. */
#include "broker/run/figures.h"

#include <string.h>

#include "broker/host/driver.h"
#include "imaged/base/units.h"

typedef struct {
    DesktopFigures now;
    char *host_id;
} Entry;

struct Figures {
    GMutex lock;
    GHashTable *entries; /* id of a desktop -> Entry */
};

/* Ids are made of random digits: eight of them are a hash. */
static guint hash_id(gconstpointer id)
{
    guint64 digits = 0;

    memcpy(&digits, id, strnlen(id, sizeof digits));
    return (guint)((digits * 0x9e3779b97f4a7c15) >> 32);
}

static void free_entry(gpointer data)
{
    Entry *e = data;

    g_free(e->host_id);
    g_free(e);
}

Figures *figures_new(void)
{
    Figures *figures = g_new0(Figures, 1);

    g_mutex_init(&figures->lock);
    figures->entries = g_hash_table_new_full(hash_id, g_str_equal, g_free, free_entry);
    return figures;
}

void figures_free(Figures *figures)
{
    if (!figures)
        return;
    g_hash_table_unref(figures->entries);
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

/* What this host told before, and does not tell now, is gone. */
static gboolean is_old(gpointer key, gpointer value, gpointer data)
{
    const Entry *e = value, *newest = data;

    (void)key;
    return e->now.seen_at != newest->now.seen_at && g_str_equal(e->host_id, newest->host_id);
}

void figures_seen(Figures *figures, const char *host_id, const GPtrArray *domains)
{
    Entry newest = { .now = { .seen_at = units_now_ms() }, .host_id = (char *)host_id };

    g_mutex_lock(&figures->lock);
    for (guint i = 0; i < domains->len; i++) {
        const HostDomain *d = domains->pdata[i];
        Entry *e;
        if (!d->desktop_id || d->state == DOMAIN_OFF)
            continue;
        e = g_hash_table_lookup(figures->entries, d->desktop_id);
        if (!e) {
            e = g_new0(Entry, 1);
            g_hash_table_insert(figures->entries, g_strdup(d->desktop_id), e);
        }
        if (g_strcmp0(e->host_id, host_id) != 0) {
            g_free(e->host_id);
            e->host_id = g_strdup(host_id);
            e->now = (DesktopFigures){ 0 };
        }
        note(e, d, newest.now.seen_at);
    }
    g_hash_table_foreach_remove(figures->entries, is_old, &newest);
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
