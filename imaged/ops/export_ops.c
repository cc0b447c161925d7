/* export_ops.c: exports started, listed, shown, stopped, as the API has it. */
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/ops/args.h"
#include "imaged/ops/exports.h"
#include "imaged/ops/view.h"

#define MAX_REF 200
#define MAX_IDLE_S (365 * 86400)

#define EXPORT_COLUMNS                                                                             \
    "SELECT id, name, ref, kind, is_read_write AS read_write__bool, state, reason, uri, address,"  \
    " tls, idle_timeout_s, owner, created_at AS created_at__time FROM export WHERE "

/* What only the running server tells. */
static json_t *with_server(World *world, json_t *object)
{
    const char *id = json_string_value(json_object_get(object, "id"));
    guint n_clients = 0;
    gint pid = world->exports ? exports_look(world->exports, id, &n_clients) : 0;

    json_object_set_new(object, "n_clients", json_integer(n_clients));
    json_object_set_new(object, "pid", pid ? json_integer(pid) : json_null());
    return object;
}

json_t *ops_export_list(OpsCall *call, GError **error)
{
    ViewPage page;
    json_t *object;
    size_t i;

    if (!args_check(call, "search limit after", error) || !view_page(call, &page, error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    json_t *out = view_array(
        db_query(db, EXPORT_COLUMNS "id > coalesce(?1, '') ORDER BY id", "t", page.after),
        page.search, page.limit, error);
    catalog_read_end(call->world->catalog, db);
    json_array_foreach (out, i, object)
        with_server(call->world, object);
    return out;
}

/* By id, or by name if only one export has it. */
static json_t *find(OpsCall *call, GError **error)
{
    const char *name = args_text(call, "export", TRUE, error);
    json_t *first = NULL;
    guint n = 0;

    if (!name)
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    Query *q =
        db_query(db, EXPORT_COLUMNS "id = ?1 OR name = ?1 OR ref = ?1 ORDER BY id", "t", name);
    while (query_next(q) && ++n) {
        if (!first)
            first = view_object(q);
    }
    gboolean ok = query_end(q, error);
    catalog_read_end(call->world->catalog, db);
    if (ok && n == 1)
        return with_server(call->world, first);
    json_decref(first);
    if (!ok)
        return NULL;
    g_autofree char *shown = text_for_message(name, 100);
    g_set_error(error, IMAGED_ERROR, n ? IMAGED_ERROR_INVALID : IMAGED_ERROR_NOT_FOUND,
                n ? "'%s' is exported %u times" : "there is no export '%s'", shown, n);
    if (n)
        imaged_error_hint(error, "name it by its id: imagectl export list");
    return NULL;
}

json_t *ops_export_show(OpsCall *call, GError **error)
{
    return args_check(call, "export", error) ? find(call, error) : NULL;
}

json_t *ops_export_stop(OpsCall *call, GError **error)
{
    json_t *object = args_check(call, "export", error) ? find(call, error) : NULL;
    const char *id = json_string_value(json_object_get(object, "id"));

    if (!object || exports_stop(call->world->exports, id, call->who, error))
        return object;
    json_decref(object);
    return NULL;
}

/* ---- Starting ---- */

/* TCP comes with TLS, and TLS with TCP: there is no third way. */
static gboolean take_tls(OpsCall *call, ExportRequest *r, char **ret_user, GError **error)
{
    const json_t *psk = json_object_get(call->args, "tls_psk");
    const json_t *certs = json_object_get(call->args, "tls_certs");
    gboolean has_psk = psk && !json_is_null(psk), has_certs = certs && !json_is_null(certs);

    if ((has_psk && !json_is_string(psk)) || (has_certs && !json_is_object(certs)) ||
        (has_psk && has_certs)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "the TLS material is either a text of keys or an object of certificates");
        return FALSE;
    }
    if (r->address && !has_psk && !has_certs) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "over TCP there is only TLS");
        imaged_error_hint(error, "give --tls-psk FILE or --tls-certs DIR");
        return FALSE;
    }
    if (!r->address && (has_psk || has_certs)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "TLS is for TCP: the unix socket is guarded by its folder");
        imaged_error_hint(error, "give --tcp ADDR:PORT too");
        return FALSE;
    }
    r->tls = has_psk ? EXPORT_TLS_PSK : has_certs ? EXPORT_TLS_CERTS : EXPORT_TLS_NONE;
    r->material = has_psk ? psk : certs;
    if (!has_psk || !export_psk_check(json_string_value(psk), ret_user, error))
        return !has_psk;
    r->tls_user = *ret_user;
    return TRUE;
}

json_t *ops_export_start(OpsCall *call, GError **error)
{
    ExportRequest r = { .owner = call->who };
    g_auto(ExportAddress) address = { 0 };
    g_autofree char *user = NULL;
    const char *ref = args_text(call, "ref", TRUE, error);

    if (!ref || !args_check(call, "ref read_write tcp tls_psk tls_certs idle_timeout_s", error) ||
        !text_check("ref", ref, MAX_REF, error) || !args_are_texts(call, "tcp", error) ||
        !args_bool(call, "read_write", &r.is_read_write, error) ||
        !args_int(call, "idle_timeout_s", 0, 0, MAX_IDLE_S, &r.idle_timeout_s, error))
        return NULL;
    const char *tcp = args_text(call, "tcp", FALSE, NULL);
    if (tcp && !export_address_parse(tcp, &address, error))
        return NULL;
    r.ref = ref;
    r.address = tcp ? &address : NULL;
    if (!take_tls(call, &r, &user, error))
        return NULL;
    g_autofree char *id = exports_start(call->world->exports, &r, error);
    if (!id)
        return NULL;
    json_object_set_new(call->args, "export", json_string(id));
    return find(call, error);
}
