/* claims.c: see claims.h. */
#include "imaged/job/claims.h"

#include <string.h>

#include "imaged/base/error.h"

#define BRIEF_WAIT_US (5 * G_USEC_PER_SEC)

typedef struct {
    guint n_shared;
    gboolean is_exclusive;
    gboolean is_brief;  /* given back at once: worth waiting for */
    const char *holder; /* static: a job kind's name */
} Held;

struct Claims {
    GMutex lock;
    GCond released;   /* something that was held for a moment */
    GHashTable *held; /* thing -> Held */
};

Claims *claims_new(void)
{
    Claims *claims = g_new0(Claims, 1);

    g_mutex_init(&claims->lock);
    g_cond_init(&claims->released);
    claims->held = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return claims;
}

void claims_free(Claims *claims)
{
    if (!claims)
        return;
    g_hash_table_unref(claims->held);
    g_cond_clear(&claims->released);
    g_mutex_clear(&claims->lock);
    g_free(claims);
}

/* What the thing of a key is called in a message.  Caller frees. */
static char *word_of(const char *thing)
{
    static const char *const words[][2] = {
        { "rollout", "roll-out" },         { "trash", "trash entry" },
        { "version", "template version" }, { "making", "store" },
        { "layers", "chain of layers" },   { "snapshots", "list of snapshots" },
        { "run", "desktop" },
    };
    const char *slash = strchr(thing, '/');
    char *word = g_strndup(thing, slash ? (gsize)(slash - thing) : 0);

    for (guint i = 0; i < G_N_ELEMENTS(words); i++) {
        if (g_str_equal(word, words[i][0])) {
            g_free(word);
            return g_strdup(words[i][1]);
        }
    }
    return word;
}

static void set_busy(const char *thing, const Held *held, GError **error)
{
    g_autofree char *word = word_of(thing);

    if (g_str_has_prefix(held->holder, "export ")) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "the %s is in use: it is exported (%s)",
                    word, held->holder);
        imaged_error_hint(error, "end that with: imagectl export stop %s",
                          held->holder + strlen("export "));
    } else if (g_str_equal(held->holder, CLAIMS_RUN)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "the %s is busy: it runs", word);
        imaged_error_hint(error, "stop it first, with: imagectl desktop stop NAME");
    } else {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                    "the %s is busy: a job (%s) is at work on it", word, held->holder);
        imaged_error_hint(error, "see it with: imagectl job list");
    }
}

static gboolean conflicts(const Held *held, const char *key)
{
    return held && (held->is_exclusive || key[0] == 'x');
}

static gboolean take_one(Claims *c, const char *key, const char *holder, GError **error)
{
    const char *thing = key + 2;
    Held *held = g_hash_table_lookup(c->held, thing);

    if (conflicts(held, key)) {
        set_busy(thing, held, error);
        return FALSE;
    }
    if (!held) {
        held = g_new0(Held, 1);
        held->holder = g_intern_string(holder);
        g_hash_table_insert(c->held, g_strdup(thing), held);
    }
    if (g_str_equal(holder, CLAIMS_RUN)) /* it stays, when the job that began it has ended */
        held->holder = CLAIMS_RUN;
    if (key[0] == 'x')
        held->is_exclusive = TRUE;
    else
        held->n_shared++;
    return TRUE;
}

static void release_one(Claims *c, const char *key)
{
    Held *held = g_hash_table_lookup(c->held, key + 2);

    if (!held)
        return;
    if (key[0] == 'x')
        held->is_exclusive = held->is_brief = FALSE;
    else if (held->n_shared)
        held->n_shared--;
    if (!held->is_exclusive && !held->n_shared)
        g_hash_table_remove(c->held, key + 2);
}

/* Is one of these in the way that is given back at once? */
static gboolean is_brief_in_the_way(Claims *c, const json_t *keys)
{
    for (size_t i = 0; i < json_array_size(keys); i++) {
        const char *key = json_string_value(json_array_get(keys, i));
        const Held *held = g_hash_table_lookup(c->held, key + 2);
        if (conflicts(held, key) && held->is_brief)
            return TRUE;
    }
    return FALSE;
}

static gboolean take_all(Claims *c, const json_t *keys, const char *holder, GError **error)
{
    size_t n = json_array_size(keys), taken = 0;

    while (taken < n && take_one(c, json_string_value(json_array_get(keys, taken)), holder, error))
        taken++;
    for (size_t i = 0; taken < n && i < taken; i++)
        release_one(c, json_string_value(json_array_get(keys, i)));
    return taken == n;
}

gboolean claims_take(Claims *c, const json_t *keys, const char *holder, GError **error)
{
    gint64 until_us = g_get_monotonic_time() + BRIEF_WAIT_US;

    g_mutex_lock(&c->lock);
    while (is_brief_in_the_way(c, keys) && g_cond_wait_until(&c->released, &c->lock, until_us))
        ;
    gboolean ok = take_all(c, keys, holder, error);
    g_mutex_unlock(&c->lock);
    return ok;
}

gboolean claims_take_briefly(Claims *c, const json_t *keys, const char *holder, GError **error)
{
    g_mutex_lock(&c->lock);
    gboolean ok = take_all(c, keys, holder, error);
    for (size_t i = 0; ok && i < json_array_size(keys); i++) {
        const char *key = json_string_value(json_array_get(keys, i));
        if (key[0] == 'x')
            ((Held *)g_hash_table_lookup(c->held, key + 2))->is_brief = TRUE;
    }
    g_mutex_unlock(&c->lock);
    return ok;
}

void claims_release(Claims *c, const json_t *keys)
{
    g_mutex_lock(&c->lock);
    for (size_t i = 0; i < json_array_size(keys); i++)
        release_one(c, json_string_value(json_array_get(keys, i)));
    g_cond_broadcast(&c->released);
    g_mutex_unlock(&c->lock);
}

gboolean claims_has(Claims *c, const char *thing)
{
    g_mutex_lock(&c->lock);
    gboolean has = g_hash_table_contains(c->held, thing);
    g_mutex_unlock(&c->lock);
    return has;
}

void claims_add(json_t *keys, char mode, const char *what, const char *id)
{
    g_autofree char *key = g_strdup_printf("%c:%s/%s", mode, what, id);

    json_array_append_new(keys, json_string(key));
}
