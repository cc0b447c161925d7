/* shadow.c: see shadow.h. */
#include "broker/session/shadow.h"

#include "imaged/base/error.h"

struct Shadows {
    Relays *relays;
    GMutex lock;          /* guards requests */
    GHashTable *requests; /* session's id -> Request */
};

typedef struct {
    char *who;
    gboolean may_control, is_answered, is_allowed;
} Request;

static void request_free(gpointer data)
{
    Request *r = data;

    g_free(r->who);
    g_free(r);
}

Shadows *shadows_new(Relays *relays)
{
    Shadows *s = g_new0(Shadows, 1);

    s->relays = relays;
    g_mutex_init(&s->lock);
    s->requests = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, request_free);
    return s;
}

void shadows_free(Shadows *s)
{
    if (!s)
        return;
    g_hash_table_unref(s->requests);
    g_mutex_clear(&s->lock);
    g_free(s);
}

/* ---- Asking and answering ---- */

gboolean shadow_ask(Shadows *s, const SessionRow *row, const RelayAsk *ask, ShadowState *ret_state,
                    RelayWay *ret_way, GError **error)
{
    gboolean is_refused = FALSE, is_allowed = FALSE;

    if (!relays_check(s->relays, row->host_id, ask, error)) /* before anybody is asked */
        return FALSE;
    g_mutex_lock(&s->lock);
    Request *r = g_hash_table_lookup(s->requests, row->id);
    if (r && r->is_answered && g_str_equal(r->who, ask->who) &&
        (r->may_control || !ask->may_control)) {
        is_allowed = r->is_allowed;
        is_refused = !is_allowed;
        g_hash_table_remove(s->requests, row->id); /* an answer is for once */
    } else {
        r = g_new0(Request, 1);
        *r = (Request){ .who = g_strdup(ask->who), .may_control = ask->may_control };
        g_hash_table_replace(s->requests, g_strdup(row->id), r);
    }
    g_mutex_unlock(&s->lock);
    *ret_state = is_allowed ? SHADOW_ALLOWED : SHADOW_ASKED;
    if (is_refused)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED, "its user does not want it");
    return !is_refused && (!is_allowed || relay_begin(s->relays, row, ask, ret_way, error));
}

gboolean shadow_answer(Shadows *s, const SessionRow *row, gboolean allows, char **ret_who,
                       gboolean *ret_control, GError **error)
{
    g_mutex_lock(&s->lock);
    Request *r = g_hash_table_lookup(s->requests, row->id);
    if (r) {
        r->is_answered = TRUE;
        r->is_allowed = allows;
        *ret_who = g_strdup(r->who);
        *ret_control = r->may_control;
    }
    g_mutex_unlock(&s->lock);
    if (!r)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "nobody has asked to look on");
    return r != NULL;
}
