/* slow.c: see slow.h. */
#include "broker/access/slow.h"

#define FORGET_MS (15 * 60 * 1000)
#define MAX_KEYS 20000

enum { PAIR, ADDRESS, ACCOUNT, N_COUNTS };

/* After free failures each one more doubles the wait, from 1 s up to most. */
static const struct {
    guint free;
    gint64 most_ms;
} rules[N_COUNTS] = { { 3, 60000 }, { 20, 60000 }, { 50, 2000 } };

typedef struct {
    guint n;
    gint64 last_ms;
} Count;

struct Slow {
    GMutex lock;
    GHashTable *counts; /* "0\naccount\naddress" ... -> Count */
};

Slow *slow_new(void)
{
    Slow *slow = g_new0(Slow, 1);

    g_mutex_init(&slow->lock);
    slow->counts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return slow;
}

void slow_free(Slow *slow)
{
    if (!slow)
        return;
    g_hash_table_unref(slow->counts);
    g_mutex_clear(&slow->lock);
    g_free(slow);
}

static char *key_of(guint which, const char *account, const char *address)
{
    return g_strdup_printf("%u\n%s\n%s", which, which == ADDRESS ? "" : account,
                           which == ACCOUNT ? "" : address);
}

static gint64 wait_of(guint which, const Count *c)
{
    if (!c || c->n < rules[which].free)
        return 0;
    guint doublings = MIN(c->n - rules[which].free, 16);
    return MIN((gint64)1000 << doublings, rules[which].most_ms);
}

gint64 slow_wait_ms(Slow *slow, const char *account, const char *address, gint64 now_ms)
{
    gint64 wait = 0;

    g_mutex_lock(&slow->lock);
    for (guint i = 0; i < N_COUNTS; i++) {
        g_autofree char *key = key_of(i, account, address);
        const Count *c = g_hash_table_lookup(slow->counts, key);
        if (c && now_ms - c->last_ms < FORGET_MS && now_ms >= c->last_ms)
            wait = MAX(wait, c->last_ms + wait_of(i, c) - now_ms);
    }
    g_mutex_unlock(&slow->lock);
    return wait;
}

static gboolean is_old(gpointer key, gpointer value, gpointer now_ms)
{
    return *(gint64 *)now_ms - ((Count *)value)->last_ms >= FORGET_MS;
}

void slow_failed(Slow *slow, const char *account, const char *address, gint64 now_ms)
{
    g_mutex_lock(&slow->lock);
    if (g_hash_table_size(slow->counts) > MAX_KEYS)
        g_hash_table_foreach_remove(slow->counts, is_old, &now_ms);
    if (g_hash_table_size(slow->counts) > MAX_KEYS) /* a flood: begin anew rather than grow */
        g_hash_table_remove_all(slow->counts);
    for (guint i = 0; i < N_COUNTS; i++) {
        char *key = key_of(i, account, address);
        Count *c = g_hash_table_lookup(slow->counts, key);
        if (!c) {
            c = g_new0(Count, 1);
            g_hash_table_insert(slow->counts, key, c);
        } else {
            g_free(key);
        }
        if (now_ms - c->last_ms >= FORGET_MS)
            c->n = 0;
        c->n++;
        c->last_ms = now_ms;
    }
    g_mutex_unlock(&slow->lock);
}

void slow_worked(Slow *slow, const char *account, const char *address)
{
    g_mutex_lock(&slow->lock);
    for (guint i = 0; i < N_COUNTS; i++) {
        g_autofree char *key = key_of(i, account, address);
        if (i != ADDRESS) /* one right password does not excuse the others tried from there */
            g_hash_table_remove(slow->counts, key);
    }
    g_mutex_unlock(&slow->lock);
}
