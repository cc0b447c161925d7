/* trash_claims.c: see trash_claims.h.  The claim is a shared one, so that going back to a snapshot
 * at this moment is not refused; whoever reads the layers was there before, and is looked for. */
#include "snapshot/trash_claims.h"

GHashTable *trash_claims_table(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
}

gboolean trash_claims_take(TrashClaims *c, const char *desktop_id)
{
    g_autofree char *thing = g_strconcat("layers/", desktop_id, NULL);

    if (g_hash_table_contains(c->known, desktop_id))
        return FALSE;
    json_t *keys = json_array();
    claims_add(keys, 's', "layers", desktop_id);
    if (claims_has(c->claims, thing) || !claims_take(c->claims, keys, "trash.empty", NULL)) {
        json_decref(keys);
        keys = NULL;
    }
    g_hash_table_insert(c->known, g_strdup(desktop_id), keys);
    return keys != NULL;
}

gboolean trash_claims_has(const TrashClaims *c, const char *desktop_id)
{
    return g_hash_table_lookup(c->known, desktop_id) != NULL;
}

void trash_claims_clear(TrashClaims *c)
{
    GHashTableIter iter;
    gpointer keys;

    g_hash_table_iter_init(&iter, c->known);
    while (g_hash_table_iter_next(&iter, NULL, &keys)) {
        if (keys)
            claims_release(c->claims, keys);
        json_decref(keys);
    }
    g_hash_table_unref(c->known);
}
