/* versions.c: changes to versions that touch no layer's bytes. */
#include "templates/template.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

void template_put_version(Db *db, Changes *changes, const TemplateRow *template,
                          const VersionRow *version)
{
    Query *q = db_query(db, "SELECT DISTINCT store_id FROM layer WHERE owner_id = ?1", "t",
                        version->id);

    while (query_next(q)) {
        changes_put(changes, ROW_TEMPLATE, template, query_text(q, "store_id"));
        changes_put(changes, ROW_VERSION, version, query_text(q, "store_id"));
    }
    query_end(q, NULL);
}

static json_t *claim_one(const char *what, const char *id)
{
    json_t *keys = json_array();

    claims_add(keys, 'x', what, id);
    return keys;
}

char *template_set_state(World *world, const char *ref, const char *state, const char *who,
                         GError **error)
{
    g_auto(VersionRow) version = { 0 };
    g_auto(TemplateRow) template = { 0 };
    char *name = NULL;
    Db *db = catalog_read_begin(world->catalog);

    if (lookup_version(db, ref, FALSE, &version, error) &&
        lookup_template_by_id(db, version.template_id, &template, error)) {
        json_t *keys = claim_one("template", template.id);
        if (claims_take(world->claims, keys, "template.change", error)) {
            Changes *changes = changes_new();
            name = lookup_version_name(db, version.id);
            g_free(version.state);
            version.state = g_strdup(state);
            version.changed_at = units_now_ms();
            template_put_version(db, changes, &template, &version);
            changes_event(changes, "template.change", "info", name, who, "is %s now", state);
            if (!catalog_commit(world->catalog, changes, error))
                g_clear_pointer(&name, g_free);
            claims_release(world->claims, keys);
        }
        json_decref(keys);
    }
    catalog_read_end(world->catalog, db);
    return name;
}

gboolean template_rename(World *world, const char *name, const char *new_name, const char *who,
                         GError **error)
{
    g_auto(TemplateRow) template = { 0 };
    g_auto(LookupRows) versions = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_template(db, name, &template, error) &&
                  lookup_check_new_name(db, "template", new_name, error) &&
                  lookup_rows(db, ROW_VERSION, &versions, error,
                              "SELECT * FROM version WHERE template_id = ?1", "t", template.id);
    json_t *keys = json_array();

    if (ok) {
        claims_add(keys, 'x', "template", template.id);
        claims_add(keys, 'x', "name", new_name);
        ok = claims_take(world->claims, keys, "template.rename", error);
    }
    if (ok) {
        Changes *changes = changes_new();
        g_free(template.name);
        template.name = g_strdup(new_name);
        template.changed_at = units_now_ms();
        for (guint i = 0; i < versions.rows->len; i++)
            template_put_version(db, changes, &template, versions.rows->pdata[i]);
        changes_event(changes, "template.rename", "info", new_name, who, "renamed from %s", name);
        ok = catalog_commit(world->catalog, changes, error);
        claims_release(world->claims, keys);
    }
    json_decref(keys);
    catalog_read_end(world->catalog, db);
    return ok;
}

/* What stands on a version's layers: desktops, snapshots, other versions. */
#define STANDING                                                                                   \
    "WITH RECURSIVE above(id) AS (SELECT id FROM layer WHERE owner_id = ?1 UNION SELECT l.id FROM" \
    " layer l JOIN above a ON l.parent_id = a.id), standing(name, kind) AS (SELECT d.name, 0 FROM" \
    " desktop d JOIN above a ON a.id = d.layer_id WHERE d.is_trashed = 0 UNION SELECT d.name ||"   \
    " '@' || s.name, 1 FROM snapshot s JOIN above a ON a.id = s.layer_id JOIN desktop d ON"        \
    " d.id = s.desktop_id WHERE s.is_trashed = 0 AND d.is_trashed = 0 UNION SELECT t.name || ':'"  \
    " || v.version, 2 FROM layer l JOIN above a ON a.id = l.id JOIN version v ON"                  \
    " v.id = l.owner_id JOIN template t ON t.id = v.template_id WHERE v.is_trashed = 0 AND"        \
    " v.id <> ?1)"

static void add_count(GString *text, guint n, const char *noun)
{
    if (n)
        g_string_append_printf(text, "%s%u %s%s", text->len ? ", " : "", n, noun,
                               n == 1 ? "" : "s");
}

char *template_version_standing(Db *db, const char *version_id, gboolean with_all)
{
    g_autoptr(GString) list = g_string_new(NULL), counts = g_string_new(NULL);
    g_autofree char *name = lookup_version_name(db, version_id);
    const char *colon = strrchr(name, ':');
    g_autofree char *own = g_strndup(name, colon ? (gsize)(colon - name) + 1 : 0);
    guint n = 0, n_kind[3] = { 0 };
    Query *q = db_query(db, STANDING " SELECT name, kind FROM standing ORDER BY kind, name", "t",
                        version_id);

    while (query_next(q)) {
        const char *stands = query_text(q, "name");
        if (with_all && g_str_has_prefix(stands, own))
            continue;
        n_kind[query_int(q, "kind") % 3]++;
        if (++n <= 10)
            g_string_append_printf(list, "%s%s", list->len ? ", " : "", stands);
    }
    query_end(q, NULL);
    if (!n)
        return NULL;
    add_count(counts, n_kind[0], "desktop");
    add_count(counts, n_kind[1], "snapshot");
    add_count(counts, n_kind[2], "template version");
    return g_strdup_printf("%s stand%s on %s: %s%s", counts->str, n == 1 ? "s" : "", name,
                           list->str, n > 10 ? ", ..." : "");
}

/* BUSY with the list if something stands on the version. */
static gboolean check_unused(Db *db, const char *version_id, gboolean with_all, GError **error)
{
    g_autofree char *standing = template_version_standing(db, version_id, with_all);
    g_autofree char *name = lookup_version_name(db, version_id);

    if (!standing)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "%s", standing);
    imaged_error_hint(error,
                      "move desktops with 'imagectl desktop reset --template %s --to VERSION', or"
                      " delete them with 'imagectl desktop delete --template %s', and snapshots and"
                      " versions with their own verbs; to keep all but make no new desktops:"
                      " imagectl template retire %s",
                      name, name, name);
    return FALSE;
}

gboolean template_plan_delete(World *world, const char *ref, BatchPlan *plan, GError **error)
{
    g_auto(TemplateRow) template = { 0 };
    g_auto(VersionRow) one = { 0 };
    g_auto(LookupRows) versions = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean has_number = strchr(ref, ':') != NULL;
    gboolean ok = has_number ? lookup_version(db, ref, FALSE, &one, error) &&
                                   lookup_rows(db, ROW_VERSION, &versions, error,
                                               "SELECT * FROM version WHERE id = ?1", "t", one.id)
                             : lookup_template(db, ref, &template, error) &&
                                   lookup_rows(db, ROW_VERSION, &versions, error,
                                               "SELECT * FROM version WHERE template_id = ?1 AND"
                                               " is_trashed = 0",
                                               "t", template.id);

    batch_plan_init(plan, world, &template_delete_job);
    for (guint i = 0; ok && i < versions.rows->len; i++) {
        const VersionRow *row = versions.rows->pdata[i];
        g_autofree char *name = lookup_version_name(db, row->id);
        Id trash = id_new();
        if (!(ok = check_unused(db, row->id, !has_number, error)) ||
            !(ok = batch_plan_claim(plan, claim_one("version", row->id), error)))
            break;
        json_array_append_new(plan->items, json_pack("{s:s,s:s,s:s}", "id", row->id, "name", name,
                                                     "trash", trash.s));
    }
    if (ok && versions.rows->len) {
        const VersionRow *row = versions.rows->pdata[0];
        ok = batch_plan_claim(plan, claim_one("template", row->template_id), error);
    }
    catalog_read_end(world->catalog, db);
    return ok;
}

/* A layer that something in the trash stands on stays where it is until that has gone. */
static void trash_layers(Db *db, BatchChunk *chunk, guint i, LookupRows *layers)
{
    for (guint k = 0; k < layers->rows->len; k++) {
        LayerRow *layer = layers->rows->pdata[k];
        gboolean has_child = lookup_int(
            db, "SELECT EXISTS (SELECT 1 FROM layer WHERE parent_id = ?1)", "t", layer->id);
        g_free(layer->state);
        g_free(layer->place);
        layer->state = g_strdup("trashed");
        layer->place = g_strdup(has_child ? "layers" : "trash");
        changes_put(chunk->changes, ROW_LAYER, layer, layer->store_id);
        if (!has_child)
            batch_move_later(chunk, i, layer->store_id, layer->slot);
    }
}

static gint64 disk_bytes(World *world, const LookupRows *layers)
{
    gint64 sum = 0;

    for (guint k = 0; k < layers->rows->len; k++) {
        const LayerRow *layer = layers->rows->pdata[k];
        g_autoptr(Store) store = store_set_peek(world->stores, layer->store_id);
        StoreStat stat;
        if (store && store_stat_layer(store, layer->slot, &stat, NULL))
            sum += (gint64)stat.disk_bytes;
    }
    return sum;
}

static gboolean delete_one(BatchChunk *chunk, guint i, Db *db, GHashTable *gone, GError **error)
{
    g_auto(VersionRow) version = { 0 };
    g_auto(TemplateRow) template = { 0 };
    g_auto(LayerRow) home = { 0 };
    g_auto(LookupRows) layers = { 0 };
    gint64 now = units_now_ms();

    if (!lookup_version_by_id(db, batch_text(chunk, i, "id"), &version, error) ||
        !lookup_template_by_id(db, version.template_id, &template, error) ||
        !lookup_layer(db, version.layer_id, &home, error) ||
        !check_unused(db, version.id, json_array_size(chunk->items) > 1, error) ||
        !lookup_rows(db, ROW_LAYER, &layers, error, "SELECT * FROM layer WHERE owner_id = ?1", "t",
                     version.id))
        return FALSE;
    if (version.is_trashed)
        return TRUE; /* committed to the journal just before a stop */
    g_hash_table_add(gone, g_strdup(version.id));
    version.is_trashed = TRUE;
    version.changed_at = template.changed_at = now;
    gint64 n_left = lookup_int(db, "SELECT count(*) FROM version WHERE template_id = ?1 AND"
                                   " is_trashed = 0", "t", template.id);
    template.is_trashed = n_left <= g_hash_table_size(gone);
    template_put_version(db, chunk->changes, &template, &version);
    trash_layers(db, chunk, i, &layers);
    TrashRow trash = { .id = (char *)batch_text(chunk, i, "trash"), .kind = "template_version",
                       .reason = "deleted", .name = (char *)batch_text(chunk, i, "name"),
                       .version_id = version.id, .layer_id = version.layer_id,
                       .store_id = home.store_id, .generation = version.version,
                       .disk_bytes = disk_bytes(chunk->world, &layers), .trashed_at = now,
                       .expires_at = now + chunk->world->settings.trash_keep_ms };
    changes_put(chunk->changes, ROW_TRASH, &trash, trash.store_id);
    changes_event(chunk->changes, "template.delete", "info", trash.name, job_owner(chunk->job),
                  "moved to the trash");
    return TRUE;
}

static gboolean prepare_delete(BatchChunk *chunk, GError **error)
{
    g_autoptr(GHashTable) gone = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    Db *db = catalog_read_begin(chunk->world->catalog);

    for (guint i = 0; i < chunk->n; i++)
        delete_one(chunk, i, db, gone, &chunk->errors[i]);
    catalog_read_end(chunk->world->catalog, db);
    return TRUE;
}

static gboolean run_delete(Job *job, gpointer world, GError **error)
{
    static const BatchType type = { prepare_delete, NULL, batch_move_now };

    return batch_run(job, world, &type, error);
}

const JobType template_delete_job = { "template.delete", JOB_INTERACTIVE, "versions", run_delete };
