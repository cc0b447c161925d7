/* build_on.c: see build_on.h.  The work is that of make_version.c: an empty layer on the base's (or
 * with flat a copy of its data), which the recipe then changes. */
#include "imaged/ops/build_on.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/job/plan.h"
#include "imaged/ops/make_version.h"
#include "snapshot/chain.h"
#include "templates/new_version.h"
#include "templates/template.h"

#define USUAL_CPUS 2 /* of an image's desktops, as with an import */
#define USUAL_MEMORY ((json_int_t)(2 * GIB))

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
    if (!json_is_string(json_object_get(hardware, "video")) && version->video)
        json_object_set_new(plan, "video", json_string(version->video));
    if (!json_is_string(json_object_get(recipe, "os")))
        json_object_set_new(plan, "os", json_string(version->os));
    if (!json_object_get(plan, "identity") && version->identity)
        json_object_set_new(plan, "identity", json_string(version->identity));
    if (version->hardware)
        json_object_set_new(plan, "machine", json_string(version->hardware));
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
    json_object_set_new(plan, "chain_depth", json_integer(rows.rows->len + 1));
    return TRUE;
}

/* On a version: an overlay, or with flat a copy. */
static json_t *plan_on_version(Db *db, const TemplateBuild *build, const BuildBase *base,
                               json_t *claims, GError **error)
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
    json_object_set_new(plan, "virtual_size", json_integer(layer.virtual_size));
    json_object_set_new(plan, "flat", json_boolean(base->is_flat));
    if (!base->is_flat && !note_depth(db, ref, layer.id, plan, error)) {
        json_decref(plan);
        return NULL;
    }
    claims_add(claims, 's', "version", version.id);
    return plan;
}

/* On an image, which imagectl serves: a copy. */
static json_t *plan_on_image(World *world, const TemplateBuild *build, const BuildBase *base,
                             GError **error)
{
    g_autofree char *store_id = store_set_find(world->stores, build->store, error);
    g_autofree char *name = g_path_get_basename(base_text(build, "image"));

    if (!store_id)
        return NULL;
    json_t *plan = template_build_plan(build, store_id);
    if (!json_is_integer(json_object_get(plan, "cpus")))
        json_object_set_new(plan, "cpus", json_integer(USUAL_CPUS));
    if (!json_is_integer(json_object_get(plan, "memory_bytes")))
        json_object_set_new(plan, "memory_bytes", json_integer(USUAL_MEMORY));
    json_object_set_new(plan, "source", json_string(base->source));
    json_object_set_new(plan, "source_name", json_string(name));
    return plan;
}

typedef struct {
    const TemplateBuild *build;
    const BuildBase *base;
} BuildOn;

static json_t *make_plan(World *world, Db *db, json_t *claims, gpointer data, GError **error)
{
    const TemplateBuild *build = ((const BuildOn *)data)->build;
    const BuildBase *base = ((const BuildOn *)data)->base;
    json_t *plan = base_text(build, "template") ? plan_on_version(db, build, base, claims, error)
                                                : plan_on_image(world, build, base, error);

    if (!plan)
        return NULL;
    if (json_is_true(json_object_get(build->recipe, "seal")))
        json_object_set_new(plan, "seal", json_pack("{s:s}", "root_password", "keep"));
    if (!new_version_plan(db, build->name, plan, claims, error))
        g_clear_pointer(&plan, json_decref);
    return plan;
}

gboolean build_on_plan(OpsCall *call, const TemplateBuild *build, const BuildBase *base,
                       JobRequest *ret_request, GError **error)
{
    gboolean is_image = !base_text(build, "template");
    BuildOn on = { build, base };

    if (is_image != (base->source != NULL)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    is_image ? "the base is an image, which has to be served: 'source' is missing"
                             : "'source' is for a base that is an image");
        return FALSE;
    }
    if (is_image && !template_check_source(base->source, error))
        return FALSE;
    if (build->store && !is_image) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a version built on another is made in that one's store%s",
                    base->is_flat ? ", a copy of it ('flat'), too" : "");
        return FALSE;
    }
    return name_check("template", build->name, error) &&
           (build->is_check ? plan_look : plan_make)(call->world, &build_on_job, make_plan, &on,
                                                     ret_request, error);
}
