/* export_entry.c: see export_entry.h. */
#include "imaged/ops/export_entry.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/ops/export_folder.h"

static const char *const tls_names[] = { "none", "psk", "certs" };

void export_entry_free(ExportEntry *e)
{
    if (!e)
        return;
    g_free(e->id);
    g_free(e->name);
    g_free(e->ref);
    g_free(e->kind);
    g_free(e->object_id);
    g_free(e->folder);
    g_free(e->uri);
    g_free(e->tls_user);
    g_free(e->owner);
    export_address_clear(&e->address);
    json_decref(e->claims);
    export_child_free(e->child);
    g_free(e);
}

/* ---- Rows ---- */

ExportEntry *export_entry_from_row(Query *row)
{
    ExportEntry *e = g_new0(ExportEntry, 1);
    const char *address = query_text(row, "address"), *tls = query_text(row, "tls");

    e->id = g_strdup(query_text(row, "id"));
    e->name = g_strdup(query_text(row, "name"));
    e->ref = g_strdup(query_text(row, "ref"));
    e->kind = g_strdup(query_text(row, "kind"));
    e->object_id = g_strdup(query_text(row, "object_id"));
    e->folder = g_strdup(query_text(row, "folder"));
    e->uri = g_strdup(query_text(row, "uri"));
    e->tls_user = g_strdup(query_text(row, "tls_user"));
    e->owner = g_strdup(query_text(row, "owner"));
    e->is_read_write = query_int(row, "is_read_write") != 0;
    e->idle_timeout_s = query_int(row, "idle_timeout_s");
    e->state = strcmp(query_text(row, "state"), "failed") == 0 ? ENTRY_FAILED : ENTRY_STARTING;
    for (guint i = 0; i < G_N_ELEMENTS(tls_names); i++) {
        if (g_strcmp0(tls, tls_names[i]) == 0)
            e->tls = (ExportTls)i;
    }
    if (address)
        export_address_parse(address, &e->address, NULL);
    return e;
}

/* The row and, for a writer, the lease: what is there before anything is started. */
gboolean export_entry_put(World *world, const ExportEntry *e, const ExportRef *ref, GError **error)
{
    Changes *changes = changes_new();
    g_autofree char *address = e->address.host ? export_address_text(&e->address) : NULL;
    g_autofree char *holder = g_strconcat("export/", e->id, NULL);
    Id incarnation = id_new();
    gint64 now = units_now_ms();

    if (e->is_read_write)
        changes_sql(changes,
                    "INSERT INTO lease (desktop_id, generation, holder, host, incarnation,"
                    " created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (desktop_id) DO"
                    " UPDATE SET generation = ?2, incarnation = ?5, created_at = ?6 WHERE holder ="
                    " excluded.holder",
                    "tittti", e->object_id, ref->generation, holder, g_get_host_name(),
                    incarnation.s, now);
    changes_sql(changes,
                "INSERT INTO export (id, name, ref, kind, object_id, is_read_write, address, tls,"
                " tls_user, folder, uri, idle_timeout_s, state, owner, created_at) VALUES (?1, ?2,"
                " ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 'starting', ?13, ?14) ON CONFLICT (id)"
                " DO UPDATE SET address = ?7, uri = ?11",
                "tttttitttttiti", e->id, e->name, e->ref, e->kind, e->object_id,
                (gint64)e->is_read_write, address, tls_names[e->tls], e->tls_user, e->folder,
                e->uri, e->idle_timeout_s, e->owner, now);
    return catalog_commit(world->catalog, changes, error);
}

gboolean export_entry_set_running(World *world, const ExportEntry *e, gboolean is_restored,
                                  GError **error)
{
    Changes *changes = changes_new();

    changes_sql(changes, "UPDATE export SET state = 'running', reason = NULL WHERE id = ?1", "t",
                e->id);
    changes_event(changes, is_restored ? "export.restore" : "export.start",
                  is_restored ? "warning" : "info", e->name, is_restored ? NULL : e->owner,
                  "%s%s, %s", is_restored ? "served again after a stop: " : "",
                  e->is_read_write ? "read-write" : "read-only", e->uri);
    return catalog_commit(world->catalog, changes, error);
}

static void delete_lease(Changes *changes, const ExportEntry *e)
{
    g_autofree char *holder = g_strconcat("export/", e->id, NULL);

    if (e->is_read_write)
        changes_sql(changes, "DELETE FROM lease WHERE desktop_id = ?1 AND holder = ?2", "tt",
                    e->object_id, holder);
}

gboolean export_entry_set_failed(World *world, const ExportEntry *e, const char *reason,
                                 GError **error)
{
    Changes *changes = changes_new();

    changes_sql(changes, "UPDATE export SET state = 'failed', reason = ?2 WHERE id = ?1", "tt",
                e->id, reason);
    delete_lease(changes, e);
    changes_event(changes, "export.fail", "alarm", e->name, NULL, "%s", reason);
    return catalog_commit(world->catalog, changes, error);
}

gboolean export_entry_delete(World *world, const ExportEntry *e, const char *who, const char *why,
                             GError **error)
{
    Changes *changes = changes_new();

    changes_sql(changes, "DELETE FROM export WHERE id = ?1", "t", e->id);
    delete_lease(changes, e);
    if (why)
        changes_event(changes, "export.end", "info", e->name, who, "%s", why);
    return catalog_commit(world->catalog, changes, error);
}

/* ---- Claims ---- */

gboolean export_entry_take_claims(World *world, ExportEntry *e, const ExportRef *ref,
                                  GError **error)
{
    g_autofree char *holder = g_strconcat("export ", e->name, NULL);
    json_t *keys = export_ref_claims(world, ref);

    if (claims_take(world->claims, keys, holder, error)) {
        e->claims = keys;
        return TRUE;
    }
    json_decref(keys);
    return FALSE;
}

void export_entry_release_claims(World *world, ExportEntry *e)
{
    if (!e->claims)
        return;
    claims_release(world->claims, e->claims);
    g_clear_pointer(&e->claims, json_decref);
}

/* ---- The socket ---- */

int export_entry_listen(World *world, ExportEntry *e, const char *group, GError **error)
{
    g_autofree char *path =
        e->address.host ? NULL : export_folder_path(world->state_dir, e->folder, "nbd");
    int fd = path ? export_listen_unix(path, group, error) : export_listen_tcp(&e->address, error);

    if (fd >= 0 && !e->uri)
        e->uri = export_uri(e->name, path, &e->address, e->tls_user);
    return fd;
}
