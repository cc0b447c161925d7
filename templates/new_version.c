/* new_version.c: see new_version.h. */
#include "templates/new_version.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

/* What its desktops are told and what machines they are stays from one version to the next, unless
 * the plan says otherwise. */
static void inherit(Db *db, const char *name, json_t *plan)
{
    g_auto(VersionRow) newest = { 0 };

    if (!lookup_version(db, name, FALSE, &newest, NULL))
        return;
    if (!json_object_get(plan, "identity") && newest.identity)
        json_object_set_new(plan, "identity", json_string(newest.identity));
    if (!json_object_get(plan, "machine") && newest.hardware)
        json_object_set_new(plan, "machine", json_string(newest.hardware));
}

/* The template's id and the version's number, for a new or an existing template. */
static gboolean plan_number(Db *db, const char *name, json_t *plan, GError **error)
{
    g_auto(TemplateRow) template = { 0 };
    Id fresh = id_new();

    if (lookup_template(db, name, &template, NULL)) {
        json_object_set_new(plan, "template_id", json_string(template.id));
        json_object_set_new(plan, "number", json_integer(template.last_version + 1));
        json_object_set_new(plan, "template_created", json_integer(template.created_at));
        inherit(db, name, plan);
        return TRUE;
    }
    if (!lookup_check_new_name(db, "template", name, error))
        return FALSE;
    json_object_set_new(plan, "template_id", json_string(fresh.s));
    json_object_set_new(plan, "number", json_integer(1));
    json_object_set_new(plan, "template_created", json_integer(units_now_ms()));
    return TRUE;
}

gboolean new_version_plan(Db *db, const char *name, json_t *plan, json_t *claims, GError **error)
{
    const char *store_id = json_string_value(json_object_get(plan, "store_id"));

    if (!plan_number(db, name, plan, error))
        return FALSE;
    claims_add(claims, 'x', "name", name);
    claims_add(claims, 'x', "template", json_string_value(json_object_get(plan, "template_id")));
    claims_add(claims, 's', "store", store_id);
    claims_add(claims, 's', "making", store_id);
    return TRUE;
}

static const char *plan_text(Job *job, const char *key)
{
    return json_string_value(json_object_get(job_plan(job), key));
}

static gint64 plan_int(Job *job, const char *key)
{
    return json_integer_value(json_object_get(job_plan(job), key));
}

static json_t *result(Job *job, const char *name)
{
    return json_pack("{s:s,s:s,s:s,s:I}", "id", plan_text(job, "version_id"), "name", name,
                     "template", plan_text(job, "name"), "version",
                     (json_int_t)plan_int(job, "number"));
}

static char *version_name(Job *job)
{
    return g_strdup_printf("%s:%" G_GINT64_FORMAT, plan_text(job, "name"), plan_int(job, "number"));
}

static gboolean is_known(Job *job, World *world)
{
    g_auto(LayerRow) layer = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean is = lookup_layer(db, plan_text(job, "layer_id"), &layer, NULL);

    catalog_read_end(world->catalog, db);
    return is;
}

gboolean new_version_was_committed(Job *job, World *world, GError **error)
{
    g_autofree char *name = version_name(job);

    return is_known(job, world) && job_commit_done(job, changes_new(), result(job, name), error);
}

gboolean new_version_find_layer(Job *job, Store *store, const char *slot, gboolean *ret_found,
                                guint64 *ret_size, char ret_checksum[33], GError **error)
{
    GError *local = NULL;
    g_autoptr(Layer) layer = store_open_layer(store, slot, NULL, &local);
    Digest digest;

    *ret_found = layer != NULL;
    if (!layer && g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND)) {
        g_error_free(local);
        return TRUE;
    }
    if (!layer) {
        g_propagate_error(error, local);
        return FALSE;
    }
    *ret_size = layer_virtual_size(layer);
    if (!store->ops->discard(store, STORE_LAYERS, NULL, 0, error) || /* flushes the folder */
        !digest_file(layer_fd(layer), job_cancel_flag(job), NULL, NULL, &digest, error))
        return FALSE;
    g_autofree char *text = digest_to_text(&digest);
    g_strlcpy(ret_checksum, text, 33);
    return TRUE;
}

void new_version_discard(Job *job, World *world)
{
    const char *slot = plan_text(job, "layer_id");
    g_autoptr(Store) store = store_set_get(world->stores, plan_text(job, "store_id"), NULL);

    if (store && !is_known(job, world))
        store->ops->discard(store, STORE_LAYERS, &slot, 1, NULL);
}

/* The notes of the plan and one line more.  Caller frees. */
static char *all_notes(Job *job, const char *more)
{
    const char *notes = plan_text(job, "notes");

    return more ? g_strconcat(notes, *notes ? "\n" : "", more, NULL) : g_strdup(notes);
}

gboolean new_version_commit(Job *job, const NewVersion *made, const char *event, const char *words,
                            Changes *more, GError **error)
{
    const char *store_id = plan_text(job, "store_id");
    char *layer_id = (char *)plan_text(job, "layer_id");
    g_autofree char *name = version_name(job), *notes = all_notes(job, made->more_notes);
    gint64 number = plan_int(job, "number"), now = units_now_ms();
    LayerRow layer = { .id = layer_id,
                       .slot = layer_id,
                       .store_id = (char *)store_id,
                       .parent_id = (char *)made->parent_id,
                       .owner_kind = "template",
                       .owner_id = (char *)plan_text(job, "version_id"),
                       .generation = number,
                       .state = "frozen",
                       .place = "layers",
                       .virtual_size = made->virtual_size,
                       .checksum = (char *)made->checksum,
                       .created_at = now };
    TemplateRow template = { .id = (char *)plan_text(job, "template_id"),
                             .name = (char *)plan_text(job, "name"),
                             .last_version = number,
                             .created_at = plan_int(job, "template_created"),
                             .changed_at = now };
    VersionRow version = { .id = layer.owner_id,
                           .template_id = template.id,
                           .version = number,
                           .state = (char *)plan_text(job, "state"),
                           .layer_id = layer_id,
                           .cpus = plan_int(job, "cpus"),
                           .memory_bytes = plan_int(job, "memory_bytes"),
                           .os = (char *)plan_text(job, "os"),
                           .description = (char *)plan_text(job, "description"),
                           .source = (char *)plan_text(job, "source_name"),
                           .notes = notes,
                           .created_at = now,
                           .changed_at = now,
                           .firmware = (char *)plan_text(job, "firmware"),
                           .sealed_at = made->sealed_at,
                           .recipe = (char *)plan_text(job, "recipe"),
                           .identity = (char *)plan_text(job, "identity"),
                           .video = (char *)plan_text(job, "video"),
                           .hardware = (char *)plan_text(job, "machine") };
    Changes *changes = more ? more : changes_new();
    json_t *out = result(job, name);

    if (made->report)
        json_object_set(out, "sealed", (json_t *)made->report);
    changes_put(changes, ROW_TEMPLATE, &template, store_id);
    changes_put(changes, ROW_LAYER, &layer, store_id);
    changes_put(changes, ROW_VERSION, &version, store_id);
    changes_event(changes, event, "info", name, job_owner(job), "%s", words);
    return job_commit_done(job, changes, out, error);
}
