/* identity.c: what desktops are told at their first boot: set, and put on their config disk. */
#include <string.h>

#include "broker/config_disk.h"
#include "broker/identity_merge.h"
#include "broker/identity_secrets.h"
#include "broker/identity_settings.h"
#include "imaged/ops/hardware.h"
#include "imaged/ops/identity.h"

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/ops/args.h"
#include "imaged/ops/submit.h"
#include "templates/inspection.h"
#include "templates/template.h"

/* ---- A change ---- */

/* What is to be set; one of the two may be NULL. */
typedef struct {
    json_t *identity; /* owned; secrets are stored, and their ids stand here */
    const json_t *hardware;
} Change;

static void change_clear(Change *change)
{
    json_decref(change->identity);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Change, change_clear)

/* The change that a call asks for, checked; secrets are stored and replaced by their ids.  NULL
 * with an error.  Caller unrefs. */
static json_t *take_change(OpsCall *call, IdentityLevel level, GError **error)
{
    json_t *change = json_deep_copy(json_object_get(call->args, "identity")), *value;
    const char *key;
    void *next;

    if (!json_is_object(change) || !json_object_size(change)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "there is nothing to set");
        json_decref(change);
        return NULL;
    }
    gboolean ok = identity_settings_check(change, level, error);
    json_object_foreach_safe(change, next, key, value)
    {
        Id id;
        if (!ok || !identity_settings_is_secret(key) || !json_is_string(value))
            continue;
        ok = identity_secret_put(call->world, key, json_string_value(value), &id, error);
        if (ok)
            json_object_set_new(change, key, json_string(id.s));
    }
    if (ok)
        return change;
    json_decref(change);
    return NULL;
}

/* Both parts of what the call asks for. */
static gboolean take_both(OpsCall *call, IdentityLevel level, Change *ret, GError **error)
{
    if (!hardware_take(call, &ret->hardware, error))
        return FALSE;
    if (!ret->hardware || json_object_get(call->args, "identity"))
        ret->identity = take_change(call, level, error);
    return ret->identity || (ret->hardware && !json_object_get(call->args, "identity"));
}

/* "identity: user, user_password; hardware: cpus", for the event.  Caller frees. */
static char *keys_of(const Change *change)
{
    g_autofree char *identity = change->identity ? hardware_keys(change->identity) : NULL;
    g_autofree char *hardware = change->hardware ? hardware_keys(change->hardware) : NULL;

    return g_strconcat(identity ? "identity: " : "", identity ? identity : "",
                       identity && hardware ? "; " : "", hardware ? "hardware: " : "",
                       hardware ? hardware : "", NULL);
}

/* ---- Desktops ---- */

static gboolean check_selected(const LookupRows *desktops, const json_t *missing,
                               const json_t *change, GError **error)
{
    const char *hostname = json_string_value(json_object_get(change, "hostname"));

    if (json_array_size(missing)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no desktop '%s'",
                    json_string_value(json_array_get(missing, 0)));
        return FALSE;
    }
    if (hostname && *hostname && desktops->rows->len > 1) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "%u desktops cannot have one host name", desktops->rows->len);
        imaged_error_hint(error, "without one each gets its own name's");
        return FALSE;
    }
    return TRUE;
}

/* The change of one desktop, as the catalog has it now. */
static gboolean put_identity(const VersionRow *version, DesktopRow *row, const json_t *change,
                             json_t **warnings, GError **error)
{
    g_autofree char *before = g_steal_pointer(&row->identity);

    if (!identity_merge_apply(version->identity, before, change, &row->identity, error)) {
        g_prefix_error(error, "'%s': ", row->name);
        return FALSE;
    }
    json_decref(*warnings);
    *warnings = identity_merge_warnings(version->identity, before, row->identity, change);
    if (row->draft_of)
        json_array_append_new(*warnings, json_string("it is a draft, which is told no more than a"
                                                     " host name"));
    return TRUE;
}

static gboolean put_desktop(OpsCall *call, Db *db, DesktopRow *row, const Change *change,
                            Changes *changes, json_t *out, GError **error)
{
    g_auto(VersionRow) version = { 0 };
    g_autofree char *keys = keys_of(change);
    json_auto_t *warnings = json_array();

    lookup_version_by_id(db, row->version_id, &version, NULL);
    if (change->identity && !put_identity(&version, row, change->identity, &warnings, error))
        return FALSE;
    if (change->hardware) {
        g_autofree char *before = g_steal_pointer(&row->hardware);
        row->hardware = hardware_apply(before, change->hardware);
    }
    row->changed_at = units_now_ms();
    changes_put(changes, ROW_DESKTOP, row, row->store_id);
    changes_event(changes, "desktop.set", "info", row->name, call->who, "%s", keys);
    json_array_append_new(
        out, json_pack("{s:s,s:s,s:o?,s:o,s:O}", "id", row->id, "name", row->name, "identity",
                       identity_settings_shown(row->identity), "hardware",
                       hardware_shown(db, row->version_id, row), "warnings", warnings));
    return TRUE;
}

/* The desktops are claimed. */
static gboolean put_changed(OpsCall *call, const LookupRows *desktops, const Change *change,
                            Changes *changes, json_t *out, GError **error)
{
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = TRUE;

    for (guint i = 0; ok && i < desktops->rows->len; i++) {
        g_auto(DesktopRow) row = { 0 };
        ok = lookup_desktop_by_id(db, row_id(desktops->rows->pdata[i]), &row, error) &&
             put_desktop(call, db, &row, change, changes, out, error);
    }
    catalog_read_end(call->world->catalog, db);
    return ok;
}

static json_t *change_desktops(OpsCall *call, const LookupRows *desktops, const Change *change,
                               GError **error)
{
    json_t *keys = json_array(), *out = json_array();
    gboolean ok = FALSE;

    /* Hardware is read at a start alone, so one that runs may be set too: nothing changes its row
     * without one of these two. */
    for (guint i = 0; i < desktops->rows->len; i++) {
        const char *id = row_id(desktops->rows->pdata[i]);
        claims_add(keys, change->identity ? 'x' : 's', "desktop", id);
        claims_add(keys, 'x', "run", id);
    }
    if (claims_take(call->world->claims, keys, "desktop.set", error)) {
        Changes *changes = changes_new();
        ok = put_changed(call, desktops, change, changes, out, error);
        if (ok)
            ok = catalog_commit(call->world->catalog, changes, error);
        else
            changes_free(changes);
        claims_release(call->world->claims, keys);
    }
    json_decref(keys);
    if (ok)
        return out;
    json_decref(out);
    return NULL;
}

json_t *ops_desktop_set(OpsCall *call, GError **error)
{
    g_auto(LookupRows) desktops = { 0 };
    json_t *missing = NULL, *out = NULL;

    if (!args_check(call, "names prefix template identity hardware", error) ||
        !args_are_texts(call, "prefix template", error))
        return NULL;
    const json_t *asked = json_object_get(call->args, "identity");
    if (submit_select(call, &desktops, &missing, error) &&
        check_selected(&desktops, missing, asked, error)) {
        g_auto(Change) change = { 0 };
        if (take_both(call, IDENTITY_OF_DESKTOP, &change, error))
            out = change_desktops(call, &desktops, &change, error);
    }
    json_decref(missing);
    return out;
}

char *identity_os_type(Db *db, const DesktopRow *desktop)
{
    g_auto(VersionRow) version = { 0 };
    json_t *found = inspection_of_layer(db, desktop->layer_id, NULL);

    if (!json_object_get(found, "type") &&
        lookup_version_by_id(db, desktop->version_id, &version, NULL)) {
        json_decref(found);
        found = inspection_of_layer(db, version.layer_id, NULL);
    }
    char *type = g_strdup(json_string_value(json_object_get(found, "type")));
    json_decref(found);
    return type;
}

json_t *ops_desktop_config_disk(OpsCall *call, GError **error)
{
    g_auto(DesktopRow) row = { 0 };
    const char *name = args_text(call, "desktop", TRUE, error);

    if (!name || !args_check(call, "desktop", error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = lookup_desktop(db, name, &row, error);
    g_autofree char *os_type = ok ? identity_os_type(db, &row) : NULL;
    catalog_read_end(call->world->catalog, db);
    g_autofree char *path = ok ? config_disk_make(call->world, name, os_type, error) : NULL;
    return path ? json_pack("{s:s,s:s,s:s}", "id", row.id, "name", row.name, "path", path) : NULL;
}

/* ---- Template versions ---- */

/* The template is claimed.  *ret_warnings: caller unrefs. */
static gboolean change_version(OpsCall *call, const VersionRow *found, const char *name,
                               const Change *change, json_t **ret_warnings, GError **error)
{
    g_auto(VersionRow) version = { 0 };
    g_auto(TemplateRow) template = { 0 };
    g_autoptr(Changes) changes = changes_new();
    g_autofree char *keys = keys_of(change);
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = lookup_version_by_id(db, found->id, &version, error) &&
                  lookup_template_by_id(db, found->template_id, &template, error);

    if (ok && change->identity) {
        g_autofree char *before = g_steal_pointer(&version.identity);
        ok = identity_merge_apply(NULL, before, change->identity, &version.identity, error);
        *ret_warnings = identity_merge_warnings(NULL, before, version.identity, change->identity);
    }
    ok = ok &&
         (!change->hardware || hardware_apply_version(&version, change->hardware, error));
    if (ok) {
        version.changed_at = units_now_ms();
        template_put_version(db, changes, &template, &version);
        changes_event(changes, "template.set", "info", name, call->who, "%s", keys);
    }
    catalog_read_end(call->world->catalog, db);
    return ok && catalog_commit(call->world->catalog, g_steal_pointer(&changes), error);
}

json_t *ops_template_set(OpsCall *call, GError **error)
{
    g_auto(VersionRow) found = { 0 };
    g_auto(Change) change = { 0 };
    g_autofree char *name = NULL;
    const char *ref = args_text(call, "template", TRUE, error);

    if (!ref || !args_check(call, "template identity hardware", error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    if (lookup_version(db, ref, FALSE, &found, error))
        name = lookup_version_name(db, found.id);
    catalog_read_end(call->world->catalog, db);
    if (!name || !take_both(call, IDENTITY_OF_VERSION, &change, error))
        return NULL;
    json_t *keys = json_array(), *warnings = NULL;
    claims_add(keys, 'x', "template", found.template_id);
    gboolean ok = claims_take(call->world->claims, keys, "template.set", error);
    if (ok) {
        ok = change_version(call, &found, name, &change, &warnings, error);
        claims_release(call->world->claims, keys);
    }
    json_decref(keys);
    json_t *out = ok ? ops_version_object(call, name, error) : NULL;
    if (out)
        json_object_set_new(out, "warnings", warnings ? json_incref(warnings) : json_array());
    json_decref(warnings);
    return out;
}
