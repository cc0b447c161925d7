/* same_machine.c: see same_machine.h.
 *
 * A machine without a UUID of its own gets a new one from each libvirtd that begins there.  So of
 * two that were one machine the second is not let up by another UUID alone: only while the first
 * one is up too, as another machine than that. */
#include "broker/host/same_machine.h"

#include "imaged/base/error.h"

/* A host, and whose machine it is. */
typedef struct {
    char *name, *machine_uuid;
    char *holder_id, *holder_name; /* the other host that is up, or was last up, as this machine */
    char *same_id, *same_name;     /* the other host that it was found to be */
} Found;

static void found_clear(Found *f)
{
    g_free(f->name);
    g_free(f->machine_uuid);
    g_free(f->holder_id);
    g_free(f->holder_name);
    g_free(f->same_id);
    g_free(f->same_name);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Found, found_clear)

static gboolean find(Catalog *catalog, const char *host_id, const char *uuid, Found *ret,
                     GError **error)
{
    Db *db = catalog_read_begin(catalog);
    Query *q = db_query(db,
                        "SELECT h.name, h.machine_uuid, o.id AS holder_id, o.name AS holder_name,"
                        " s.id AS same_id, s.name AS same_name FROM host h"
                        " LEFT JOIN host o ON o.machine_uuid = ?2 AND o.id <> h.id"
                        " LEFT JOIN host s ON s.id = h.same_as WHERE h.id = ?1",
                        "tt", host_id, uuid);
    gboolean is_there = query_next(q);

    if (is_there)
        *ret = (Found){ .name = g_strdup(query_text(q, "name")),
                        .machine_uuid = g_strdup(query_text(q, "machine_uuid")),
                        .holder_id = g_strdup(query_text(q, "holder_id")),
                        .holder_name = g_strdup(query_text(q, "holder_name")),
                        .same_id = g_strdup(query_text(q, "same_id")),
                        .same_name = g_strdup(query_text(q, "same_name")) };
    gboolean ok = query_end(q, error);
    catalog_read_end(catalog, db);
    if (ok && !is_there)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "the host was removed");
    return ok && is_there;
}

static gboolean note_same(Catalog *catalog, const char *host_id, const Found *f, GError **error)
{
    Changes *changes;

    if (g_strcmp0(f->same_id, f->holder_id) == 0)
        return TRUE;
    changes = changes_new();
    changes_sql(changes, "UPDATE host SET machine_uuid = NULL, same_as = ?2 WHERE id = ?1", "tt",
                host_id, f->holder_id);
    changes_event(changes, "host.same", "alarm", f->name, NULL,
                  "it is the same machine as the host '%s': remove one of the two; if they are two,"
                  " each libvirtd.conf needs its own host_uuid",
                  f->holder_name);
    return catalog_commit(catalog, changes, error);
}

static gboolean note_machine(Catalog *catalog, const char *host_id, const char *uuid,
                             GError **error)
{
    Changes *changes = changes_new();

    changes_sql(changes,
                "UPDATE host SET machine_uuid = ?2, same_as = NULL WHERE id = ?1 AND NOT EXISTS"
                " (SELECT 1 FROM host WHERE machine_uuid = ?2 AND id <> ?1)",
                "tt", host_id, uuid);
    return catalog_commit(catalog, changes, error);
}

static gboolean refuse(const char *name, const char *more, GError **error)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                "it is the same machine as the host '%s'%s", name, more);
    return FALSE;
}

gboolean same_machine_check(Catalog *catalog, const char *host_id, const char *uuid,
                            gboolean (*is_up)(gpointer user, const char *host_id), gpointer user,
                            GError **error)
{
    gboolean is_noted = FALSE;

    while (uuid) {
        g_auto(Found) f = { 0 };
        if (!find(catalog, host_id, uuid, &f, error))
            return FALSE;
        if (f.holder_id)
            return note_same(catalog, host_id, &f, error) && refuse(f.holder_name, "", error);
        if (f.same_id && !is_up(user, f.same_id))
            return refuse(f.same_name, ", or was when both were last reached", error);
        if (!f.same_id && g_strcmp0(f.machine_uuid, uuid) == 0)
            return TRUE;
        /* another one may have come first: looked at again, and it can't be missed twice */
        if (is_noted || !note_machine(catalog, host_id, uuid, error))
            break;
        is_noted = TRUE;
    }
    if (uuid && error && !*error)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "which machine it is changes");
    return !uuid;
}
