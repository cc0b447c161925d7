/* advice.c: the advisor's verbs: the report, a stand-in base, a version proposed from a donor. */
#include "snapshot/advice.h"

#include "imaged/base/error.h"
#include "imaged/ops/args.h"
#include "imaged/ops/make_version.h"
#include "imaged/ops/submit.h"
#include "snapshot/stand_in.h"

json_t *ops_report_advice(OpsCall *call, GError **error)
{
    JobRequest request = { 0 };
    gint64 share;

    if (!args_check(call, "template share", error) || !args_are_texts(call, "template", error) ||
        !args_int(call, "share", ADVICE_SHARE, 1, 100, &share, error) ||
        submit_is_repeat(call, error) || (error && *error) ||
        !advice_plan(call->world, args_text(call, "template", FALSE, NULL), share, &request, error))
        return NULL;
    return submit_request(call, &request, error);
}

json_t *ops_template_stand_in(OpsCall *call, GError **error)
{
    g_auto(BatchPlan) plan = { 0 };
    const char *ref = args_text(call, "template", TRUE, error);
    gint64 share;

    if (!ref || !args_check(call, "template share store", error) ||
        !args_are_texts(call, "store", error) ||
        !args_int(call, "share", ADVICE_SHARE, 1, 100, &share, error) ||
        submit_is_repeat(call, error) || (error && *error) ||
        !stand_in_plan(call->world, ref, args_text(call, "store", FALSE, NULL), share, &plan,
                       error))
        return NULL;
    return submit_plan(call, &plan, error);
}

/* The donor must stand on this template: a version of another's bytes would be no next version. */
static gboolean check_donor(World *world, const char *name, const char *donor, GError **error)
{
    g_auto(TemplateRow) template = { 0 };
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(VersionRow) version = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_template(db, name, &template, error) &&
                  lookup_desktop(db, donor, &desktop, error) &&
                  lookup_version_by_id(db, desktop.version_id, &version, error);

    catalog_read_end(world->catalog, db);
    if (ok && !g_str_equal(version.template_id, template.id)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is no desktop of '%s'", donor,
                    name);
        return FALSE;
    }
    return ok;
}

json_t *ops_template_propose(OpsCall *call, GError **error)
{
    MakeVersion make = { .type = &create_from_job, .is_draft = TRUE };
    gboolean is_unsealed;

    make.name = args_text(call, "template", TRUE, error);
    make.ref = make.name ? args_text(call, "donor", TRUE, error) : NULL;
    if (!make.ref ||
        !args_check(call, "template donor unsealed flat root_password description", error) ||
        !args_are_texts(call, "description root_password", error) ||
        !args_bool(call, "flat", &make.is_flat, error) ||
        !args_bool(call, "unsealed", &is_unsealed, error) ||
        !check_donor(call->world, make.name, make.ref, error) || submit_is_repeat(call, error) ||
        (error && *error))
        return NULL;
    make.is_sealed = !is_unsealed;
    make.root_password = args_text(call, "root_password", FALSE, NULL);
    return make_version_submit(call, &make, error);
}
