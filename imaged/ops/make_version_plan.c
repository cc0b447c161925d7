/* make_version_plan.c: what the new version is made of, and what it takes over from there. */
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/job/plan.h"
#include "imaged/ops/args.h"
#include "imaged/ops/make_version.h"
#include "imaged/ops/submit.h"
#include "templates/new_version.h"

/* Where the bytes come from. */
typedef struct {
    DesktopRow desktop;
    SnapshotRow snapshot; /* with an id if it is one of desktop */
    VersionRow version;   /* that the desktop stands on; or the source itself */
    LayerRow layer;       /* the topmost one */
} Source;

static void source_clear(Source *source)
{
    desktop_row_clear(&source->desktop);
    snapshot_row_clear(&source->snapshot);
    version_row_clear(&source->version);
    layer_row_clear(&source->layer);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Source, source_clear)

static gboolean find_desktop(Db *db, const char *ref, Source *ret, GError **error)
{
    const char *at = strchr(ref, '@');
    g_autofree char *name = at ? g_strndup(ref, (gsize)(at - ref)) : g_strdup(ref);

    if (!lookup_desktop(db, name, &ret->desktop, error) ||
        (at && !lookup_snapshot(db, ret->desktop.id, at + 1, &ret->snapshot, error)))
        return FALSE;
    return lookup_version_by_id(db, at ? ret->snapshot.version_id : ret->desktop.version_id,
                                &ret->version, error) &&
           lookup_layer(db, at ? ret->snapshot.layer_id : ret->desktop.layer_id, &ret->layer,
                        error);
}

static gboolean find_source(Db *db, const MakeVersion *spec, Source *ret, GError **error)
{
    if (spec->type != &seal_job)
        return find_desktop(db, spec->ref, ret, error);
    return lookup_version(db, spec->ref, FALSE, &ret->version, error) &&
           lookup_layer(db, ret->version.layer_id, &ret->layer, error);
}

static void put_text(json_t *plan, const char *key, const char *text)
{
    if (text)
        json_object_set_new(plan, key, json_string(text));
}

/* What the new version takes over from the one that the source stands on, unless told otherwise. */
static gboolean add_hardware(OpsCall *call, const VersionRow *version, json_t *plan, GError **error)
{
    gint64 cpus, memory;

    if (!args_int(call, "cpus", version->cpus, 1, 1024, &cpus, error) ||
        !args_int(call, "memory_bytes", version->memory_bytes, (gint64)MIB, (gint64)(64 * TIB),
                  &memory, error))
        return FALSE;
    const char *os = args_text(call, "os", FALSE, NULL);
    const char *description = args_text(call, "description", FALSE, NULL);
    if (!text_check("OS", os ? os : "", 256, error) ||
        !text_check("description", description ? description : "", 2000, error))
        return FALSE;
    json_object_set_new(plan, "cpus", json_integer(cpus));
    json_object_set_new(plan, "memory_bytes", json_integer(memory));
    put_text(plan, "os", os ? os : version->os);
    put_text(plan, "description", description ? description : version->description);
    put_text(plan, "firmware", version->firmware);
    put_text(plan, "video", version->video);
    put_text(plan, "identity", version->identity);
    put_text(plan, "machine", version->hardware);
    return TRUE;
}

/* The present disk must not change meanwhile; a snapshot's or a version's layers must only stay. */
static void add_claims(const Source *source, json_t *claims)
{
    if (source->snapshot.id)
        claims_add(claims, 's', "snapshot", source->snapshot.id);
    else if (source->desktop.id)
        claims_add(claims, 'x', "desktop", source->desktop.id);
    if (source->desktop.id)
        claims_add(claims, 's', "layers", source->desktop.id);
    claims_add(claims, 's', "version", source->version.id);
}

typedef struct {
    OpsCall *call;
    const MakeVersion *spec;
} Asked;

static json_t *make_plan(World *world G_GNUC_UNUSED, Db *db, json_t *claims, gpointer data,
                         GError **error)
{
    OpsCall *call = ((const Asked *)data)->call;
    const MakeVersion *spec = ((const Asked *)data)->spec;
    g_auto(Source) source = { 0 };
    Id version_id = id_new(), layer_id = id_new();
    json_t *plan = json_object();

    if (!find_source(db, spec, &source, error) ||
        !add_hardware(call, &source.version, plan, error)) {
        json_decref(plan);
        return NULL;
    }
    json_t *more = json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:b,s:b,s:s}", "name", spec->name, "source_name", spec->ref,
        "store_id", source.layer.store_id, "version_id", version_id.s, "layer_id", layer_id.s,
        "notes", "", "source_layer", source.layer.id, "flat", spec->is_flat, "is_active",
        source.desktop.id && !source.snapshot.id, "state", spec->is_draft ? "draft" : "published");
    json_object_update(plan, more);
    json_decref(more);
    if (spec->is_sealed)
        json_object_set_new(plan, "seal",
                            json_pack("{s:s}", "root_password",
                                      spec->root_password ? spec->root_password : "keep"));
    add_claims(&source, claims);
    if (!new_version_plan(db, spec->name, plan, claims, error))
        g_clear_pointer(&plan, json_decref);
    return plan;
}

json_t *make_version_submit(OpsCall *call, const MakeVersion *spec, GError **error)
{
    JobRequest request;
    Asked asked = { call, spec };

    if (spec->root_password && !g_str_equal(spec->root_password, "keep") &&
        !g_str_equal(spec->root_password, "lock")) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a root password can be kept or locked, not '%s'", spec->root_password);
        return NULL;
    }
    if (!name_check("template", spec->name, error) ||
        !plan_make(call->world, spec->type, make_plan, &asked, &request, error))
        return NULL;
    return submit_request(call, &request, error);
}
