/* build_on.c: see build_on.h.  The work is that of make_version.c: an empty layer on the base's (or
 * with flat a copy of its data), which the recipe then changes. */
#include "imaged/ops/build_on.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/ops/make_version.h"
#include "snapshot/chain.h"
#include "templates/new_version.h"

static const char *base_text(const TemplateBuild *build, const char *key)
{
    return json_string_value(json_object_get(json_object_get(build->recipe, "base"), key));
}

/* What the recipe leaves out is as in the base. */
static void take_over(const VersionRow *version, const json_t *recipe, json_t *plan)
{
    const json_t *hardware = json_object_get(recipe, "hardware");

    if (!json_is_integer(json_object_get(hardware, "cpus")))
        json_object_set_new(plan, "cpus", json_integer(version->cpus));
    if (!json_is_integer(json_object_get(hardware, "memory_bytes")))
        json_object_set_new(plan, "memory_bytes", json_integer(version->memory_bytes));
    if (!json_is_string(json_object_get(hardware, "firmware")) && version->firmware)
        json_object_set_new(plan, "firmware", json_string(version->firmware));
    if (!json_is_string(json_object_get(recipe, "os")))
        json_object_set_new(plan, "os", json_string(version->os));
    if (!json_object_get(plan, "identity") && version->identity)
        json_object_set_new(plan, "identity", json_string(version->identity));
}

/* What standing on a base costs is told: each layer is one more to look through. */
static gboolean note_depth(Db *db, const char *ref, const char *layer_id, json_t *plan,
                           GError **error)
{
    g_auto(LookupRows) rows = { 0 };

    if (!chain_rows(db, layer_id, &rows, error))
        return FALSE;
    g_autofree char *words = g_strdup_printf("stands on %s: chains of its desktops begin with %u"
                                             " layers (1 with --flat)",
                                             ref, rows.rows->len + 1);
    json_object_set_new(plan, "notes", json_string(words));
    return TRUE;
}

static json_t *make_plan(Db *db, const TemplateBuild *build, gboolean is_flat, json_t *claims,
                         GError **error)
{
    g_auto(VersionRow) version = { 0 };
    g_auto(LayerRow) layer = { 0 };
    const char *ref = base_text(build, "template");

    if (!lookup_version(db, ref, FALSE, &version, error) ||
        !lookup_layer(db, version.layer_id, &layer, error))
        return NULL;
    json_t *plan = template_build_plan(build, layer.store_id);
    take_over(&version, build->recipe, plan);
    json_object_set_new(plan, "source_name", json_string(ref));
    json_object_set_new(plan, "source_layer", json_string(layer.id));
    json_object_set_new(plan, "flat", json_boolean(is_flat));
    if (!is_flat && !note_depth(db, ref, layer.id, plan, error)) {
        json_decref(plan);
        return NULL;
    }
    if (json_is_true(json_object_get(build->recipe, "seal")))
        json_object_set_new(plan, "seal", json_pack("{s:s}", "root_password", "keep"));
    claims_add(claims, 's', "version", version.id);
    if (!new_version_plan(db, build->name, plan, error)) {
        json_decref(plan);
        return NULL;
    }
    json_t *own = new_version_claims(plan);
    json_array_extend(claims, own);
    json_decref(own);
    return plan;
}

static gboolean plan_and_claim(World *world, const TemplateBuild *build, gboolean is_flat,
                               JobRequest *ret, gboolean *ret_is_old, GError **error)
{
    json_t *claims = json_array();
    guint64 planned_at = catalog_n_commits(world->catalog);
    Db *db = catalog_read_begin(world->catalog);
    json_t *plan = make_plan(db, build, is_flat, claims, error);

    catalog_read_end(world->catalog, db);
    *ret_is_old = FALSE;
    if (!plan ||
        !world_take_claims(world, planned_at, claims, build_on_job.kind, ret_is_old, error)) {
        json_decref(plan);
        json_decref(claims);
        return FALSE;
    }
    *ret = (JobRequest){ .type = &build_on_job, .plan = plan, .claims = claims };
    return TRUE;
}

gboolean build_on_plan(OpsCall *call, const TemplateBuild *build, gboolean is_flat,
                       JobRequest *ret_request, GError **error)
{
    gboolean ok, is_old = FALSE;
    guint tries = WORLD_PLAN_TRIES;

    if (!base_text(build, "template")) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "an image is not built on directly");
        imaged_error_hint(error, "first: imagectl template import NAME FILE --format ... --draft;"
                                 " then in the recipe: base: {template: NAME}");
        return FALSE;
    }
    if (build->store) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a version that stands on another is made in that one's store");
        return FALSE;
    }
    if (!name_check("template", build->name, error))
        return FALSE;
    do {
        g_clear_error(error);
        ok = plan_and_claim(call->world, build, is_flat, ret_request, &is_old, error);
    } while (!ok && is_old && --tries);
    return ok;
}
