/* publish.c: from a disk to the next version of a template: made from a desktop, edited as a draft,
 * sealed, published.
 *
 * What was not sealed is published only by somebody who says so ("unsealed"): its desktops would
 * share a machine-id, SSH host keys, logs and histories. */
#include <string.h>

#include "broker/desktop.h"
#include "imaged/base/error.h"
#include "imaged/ops/args.h"
#include "imaged/ops/jobs.h"
#include "imaged/ops/make_version.h"
#include "imaged/ops/submit.h"
#include "templates/template.h"

static gboolean check_sealed(const char *what, gboolean is_sealed, gboolean is_allowed,
                             GError **error)
{
    if (is_sealed || is_allowed)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                "%s is not sealed: desktops made from it would share its machine-id, SSH host keys"
                " and logs",
                what);
    imaged_error_hint(error, "seal it (imagectl template seal, or --seal where a version is made),"
                             " or say --unsealed");
    return FALSE;
}

/* ---- create-from ---- */

json_t *ops_template_create_from(OpsCall *call, GError **error)
{
    MakeVersion make = { .type = &create_from_job };
    gboolean is_unsealed;

    make.ref = args_text(call, "desktop", TRUE, error);
    make.name = make.ref ? args_text(call, "name", TRUE, error) : NULL;
    if (!make.name ||
        !args_check(call,
                    "desktop name flat draft seal unsealed root_password cpus memory_bytes os"
                    " description",
                    error) ||
        !args_are_texts(call, "os description root_password", error) ||
        !args_bool(call, "flat", &make.is_flat, error) ||
        !args_bool(call, "draft", &make.is_draft, error) ||
        !args_bool(call, "seal", &make.is_sealed, error) ||
        !args_bool(call, "unsealed", &is_unsealed, error) ||
        !check_sealed(make.ref, make.is_sealed, is_unsealed || make.is_draft, error) ||
        submit_is_repeat(call, error) || (error && *error))
        return NULL;
    make.root_password = args_text(call, "root_password", FALSE, NULL);
    return make_version_submit(call, &make, error);
}

/* ---- edit ---- */

/* The name of the template whose draft this desktop is, or NULL.  Caller frees. */
static char *template_of_draft(World *world, const char *name)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(TemplateRow) template = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean is = lookup_desktop(db, name, &desktop, NULL) && desktop.draft_of &&
                  lookup_template_by_id(db, desktop.draft_of, &template, NULL);

    catalog_read_end(world->catalog, db);
    return is ? g_strdup(template.name) : NULL;
}

/* The usual name of a draft is taken, mostly by a draft. */
static void explain_taken(World *world, const char *name, GError **error)
{
    if (!error || !g_error_matches(*error, IMAGED_ERROR, IMAGED_ERROR_EXISTS))
        return;
    g_autofree char *template = template_of_draft(world, name);
    if (template)
        imaged_error_hint(error,
                          "it is a draft of '%s': go on with it (imagectl template publish %s),"
                          " delete it, or give another name with --name",
                          template, name);
    else
        imaged_error_hint(error, "give the draft another name with --name");
}

json_t *ops_template_edit(OpsCall *call, GError **error)
{
    g_auto(BatchPlan) plan = { 0 };
    const char *ref = args_text(call, "template", TRUE, error);
    gsize length = ref ? strcspn(ref, ":") : 0;

    if (!ref || !args_check(call, "template name owner", error) ||
        !args_are_texts(call, "name owner", error) || submit_is_repeat(call, error) ||
        (error && *error))
        return NULL;
    g_autofree char *usual = g_strdup_printf("%.*s-draft", (int)length, ref);
    const char *name = args_text(call, "name", FALSE, NULL);
    const char *owner = args_text(call, "owner", FALSE, NULL);
    json_t *names = json_pack("[s]", name ? name : usual);
    DesktopSpec spec = {
        .names = names, .template = ref, .owner = owner, .is_draft = TRUE, .has_subclusters = TRUE
    };
    gboolean ok = desktop_plan_create(call->world, &spec, &plan, error);
    json_decref(names);
    if (!ok) {
        explain_taken(call->world, name ? name : usual, error);
        return NULL;
    }
    jobs_choose_create(call->world, &plan);
    return submit_plan(call, &plan, error);
}

/* ---- publish ---- */

static json_t *publish_draft(OpsCall *call, const char *draft, const char *template, GError **error)
{
    MakeVersion make = { .type = &publish_job, .ref = draft, .name = template };
    gboolean is_unsealed;

    if (!args_check(call, "template unsealed flat root_password cpus memory_bytes os description",
                    error) ||
        !args_are_texts(call, "os description root_password", error) ||
        !args_bool(call, "unsealed", &is_unsealed, error) ||
        !args_bool(call, "flat", &make.is_flat, error) || submit_is_repeat(call, error) ||
        (error && *error))
        return NULL;
    make.is_sealed = !is_unsealed;
    make.root_password = args_text(call, "root_password", FALSE, NULL);
    return make_version_submit(call, &make, error);
}

/* There is no such template, but a desktop, which is no draft. */
static void explain_desktop(World *world, const char *ref, GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };

    if (!error || !g_error_matches(*error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND))
        return;
    Db *db = catalog_read_begin(world->catalog);
    gboolean is = lookup_desktop(db, ref, &desktop, NULL);
    catalog_read_end(world->catalog, db);
    if (!is)
        return;
    g_clear_error(error);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the desktop '%s' is no draft", ref);
    imaged_error_hint(error, "imagectl template create-from %s NAME makes a version of its disk",
                      ref);
}

static json_t *publish_version(OpsCall *call, const char *ref, GError **error)
{
    g_auto(VersionRow) version = { 0 };
    gboolean is_unsealed;

    if (!args_check(call, "template unsealed", error) ||
        !args_bool(call, "unsealed", &is_unsealed, error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = lookup_version(db, ref, FALSE, &version, error);
    catalog_read_end(call->world->catalog, db);
    if (!ok)
        explain_desktop(call->world, ref, error);
    if (!ok || !check_sealed(ref, version.sealed_at || g_str_equal(version.state, "published"),
                             is_unsealed, error))
        return NULL;
    g_autofree char *name = template_set_state(call->world, ref, "published", call->who, error);
    return name ? ops_version_object(call, name, error) : NULL;
}

json_t *ops_template_publish(OpsCall *call, GError **error)
{
    const char *ref = args_text(call, "template", TRUE, error);

    if (!ref)
        return NULL;
    g_autofree char *template = template_of_draft(call->world, ref);
    return template ? publish_draft(call, ref, template, error) : publish_version(call, ref, error);
}

/* ---- seal ---- */

json_t *ops_template_seal(OpsCall *call, GError **error)
{
    const char *ref = args_text(call, "template", TRUE, error);
    MakeVersion make = { .type = &seal_job, .ref = ref, .is_sealed = TRUE };

    if (!ref ||
        !args_check(call, "template flat draft root_password cpus memory_bytes os description",
                    error) ||
        !args_are_texts(call, "os description root_password", error) ||
        !args_bool(call, "flat", &make.is_flat, error) ||
        !args_bool(call, "draft", &make.is_draft, error) || submit_is_repeat(call, error) ||
        (error && *error))
        return NULL;
    g_autofree char *name = g_strndup(ref, strcspn(ref, ":"));
    make.name = name;
    make.root_password = args_text(call, "root_password", FALSE, NULL);
    return make_version_submit(call, &make, error);
}
