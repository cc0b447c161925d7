/* kept_answers.c: see kept_answers.h. */
#include "imaged/http/kept_answers.h"

#define MAX_KEPT 256

typedef struct {
    char *hash; /* of the request */
    json_t *body;
} Kept;

struct KeptAnswers {
    GMutex lock;         /* guards the rest */
    GHashTable *answers; /* idempotency key -> Kept */
    GQueue keys;         /* of answers, the oldest first */
};

static void free_kept(gpointer data)
{
    Kept *kept = data;

    g_free(kept->hash);
    json_decref(kept->body);
    g_free(kept);
}

void kept_answers_put(KeptAnswers *s, const char *key, const char *hash, const json_t *body)
{
    Kept *kept = g_new0(Kept, 1);
    char *copy = g_strdup(key);

    kept->hash = g_strdup(hash);
    kept->body = json_deep_copy(body);
    g_mutex_lock(&s->lock);
    if (g_hash_table_contains(s->answers, key)) { /* it came twice at once: the first one stays */
        g_mutex_unlock(&s->lock);
        free_kept(kept);
        g_free(copy);
        return;
    }
    g_queue_push_tail(&s->keys, copy);
    g_hash_table_insert(s->answers, copy, kept);
    if (s->keys.length > MAX_KEPT)
        g_hash_table_remove(s->answers, g_queue_pop_head(&s->keys));
    g_mutex_unlock(&s->lock);
}

gboolean kept_answers_find(KeptAnswers *s, const char *key, const char *hash, json_t **ret_body)
{
    g_mutex_lock(&s->lock);
    const Kept *kept = g_hash_table_lookup(s->answers, key);
    *ret_body = kept && g_str_equal(kept->hash, hash) ? json_deep_copy(kept->body) : NULL;
    g_mutex_unlock(&s->lock);
    return kept != NULL;
}

KeptAnswers *kept_answers_new(void)
{
    KeptAnswers *s = g_new0(KeptAnswers, 1);

    g_mutex_init(&s->lock);
    g_queue_init(&s->keys);
    s->answers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_kept);
    return s;
}

void kept_answers_free(KeptAnswers *s)
{
    g_queue_clear(&s->keys);
    g_hash_table_unref(s->answers);
    g_mutex_clear(&s->lock);
    g_free(s);
}
