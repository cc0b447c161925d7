/* slow.c: see slow.h. */
#include "broker/access/slow.h"

#include <arpa/inet.h>
#include <string.h>

#define FORGET_MS (15 * 60 * 1000)

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

/* The first four groups of "2001:db8::1", written out; others as they are.  Caller frees. */
static char *network_of(const char *address)
{
    struct in6_addr a;

    if (!strchr(address, ':') || inet_pton(AF_INET6, address, &a) != 1)
        return g_strdup(address);
    return g_strdup_printf("%02x%02x:%02x%02x:%02x%02x:%02x%02x::/64", a.s6_addr[0], a.s6_addr[1],
                           a.s6_addr[2], a.s6_addr[3], a.s6_addr[4], a.s6_addr[5], a.s6_addr[6],
                           a.s6_addr[7]);
}

static char *key_of(guint which, const char *account, const char *address)
{
    g_autofree char *network = network_of(address);

    return g_strdup_printf("%u\n%s\n%s", which, which == ADDRESS ? "" : account,
                           which == ACCOUNT ? "" : network);
}

static gint64 wait_of(guint which, const Count *c)
{
    if (!c || c->n < rules[which].free)
        return 0;
    guint doublings = MIN(c->n - rules[which].free, 16);
    return MIN((gint64)1000 << doublings, rules[which].most_ms);
}

typedef struct {
    gint64 now_ms, age_ms;
    gboolean spares_waiting;
} Age;

static gboolean is_old(gpointer key, gpointer value, gpointer data)
{
    const Age *age = data;
    const Count *c = value;
    gint64 wait = wait_of((guint)(*(const char *)key - '0'), c);

    return age->now_ms - c->last_ms >= age->age_ms &&
           !(age->spares_waiting && age->now_ms < c->last_ms + wait);
}

/* What failed long ago goes; in a flood, less long ago, and at the very last who has to wait. */
static void make_room(Slow *slow, gint64 now_ms)
{
    Age age = { now_ms, FORGET_MS, TRUE };

    if (g_hash_table_size(slow->counts) < SLOW_MAX)
        return;
    for (; age.age_ms > 0 && g_hash_table_size(slow->counts) > SLOW_MAX / 2; age.age_ms /= 4)
        g_hash_table_foreach_remove(slow->counts, is_old, &age);
    age = (Age){ now_ms, FORGET_MS, FALSE };
    for (; g_hash_table_size(slow->counts) >= SLOW_MAX; age.age_ms /= 4)
        g_hash_table_foreach_remove(slow->counts, is_old, &age);
}

static void count(Slow *slow, guint which, const char *account, const char *address, gint64 now_ms)
{
    g_autofree char *key = key_of(which, account, address);
    Count *c = g_hash_table_lookup(slow->counts, key);

    if (!c) {
        make_room(slow, now_ms);
        c = g_new0(Count, 1);
        g_hash_table_insert(slow->counts, g_steal_pointer(&key), c);
    }
    if (now_ms - c->last_ms >= FORGET_MS)
        c->n = 0;
    c->n++;
    c->last_ms = now_ms;
}

gint64 slow_begin(Slow *slow, const char *account, const char *address, gint64 now_ms)
{
    gint64 wait = 0;

    g_mutex_lock(&slow->lock);
    for (guint i = 0; i < N_COUNTS; i++) {
        g_autofree char *key = key_of(i, account, address);
        const Count *c = g_hash_table_lookup(slow->counts, key);
        if (c && now_ms - c->last_ms < FORGET_MS && now_ms >= c->last_ms)
            wait = MAX(wait, c->last_ms + wait_of(i, c) - now_ms);
    }
    if (wait <= 0)
        count(slow, PAIR, account, address, now_ms);
    g_mutex_unlock(&slow->lock);
    return MAX(wait, 0);
}

void slow_failed(Slow *slow, const char *account, const char *address, gint64 now_ms)
{
    g_autofree char *key = key_of(PAIR, account, address);

    g_mutex_lock(&slow->lock);
    Count *pair = g_hash_table_lookup(slow->counts, key);
    if (pair) /* counted when it began; the wait is from now on */
        pair->last_ms = now_ms;
    count(slow, ADDRESS, account, address, now_ms);
    count(slow, ACCOUNT, account, address, now_ms);
    g_mutex_unlock(&slow->lock);
}

void slow_untried(Slow *slow, const char *account, const char *address)
{
    g_autofree char *key = key_of(PAIR, account, address);

    g_mutex_lock(&slow->lock);
    Count *c = g_hash_table_lookup(slow->counts, key);
    if (c && c->n > 0)
        c->n--;
    g_mutex_unlock(&slow->lock);
}

guint slow_size(Slow *slow)
{
    g_mutex_lock(&slow->lock);
    guint n = g_hash_table_size(slow->counts);
    g_mutex_unlock(&slow->lock);
    return n;
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
