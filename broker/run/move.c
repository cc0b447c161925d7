/* move.c: see move.h.
 *
 * The client of a display is told where to go on by the source's QEMU, and logs in at the target
 * with the password that it has.  That has mostly ended long ago, as each password soon does: so it
 * goes along with a new term, which is ended once the move is over.  Nobody here needs to know it.
 */
#include "broker/run/move.h"

#include <string.h>

#include "broker/run/domain_edit.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define PASSWORD_TERM_S 3600 /* as long as a move may take; ended by live_end_password() */

typedef struct {
    char *uuid, *incarnation;
    char *uri, *address, *listen, *graphics_uri;
    GHashTable *chains;
    GPtrArray *folders;
} Box;

static void box_clear(gpointer data)
{
    Box *b = data;

    g_free(b->uuid);
    g_free(b->incarnation);
    g_free(b->uri);
    g_free(b->address);
    g_free(b->listen);
    g_free(b->graphics_uri);
    g_clear_pointer(&b->chains, g_hash_table_unref);
    g_clear_pointer(&b->folders, g_ptr_array_unref);
}

/* The host in an address of libvirt ("10.0.0.1", "[::1]"), or NULL: it is none that others reach.
 */
static char *host_of(const char *uri)
{
    g_autoptr(GUri) parsed = g_uri_parse(uri, G_URI_FLAGS_NON_DNS, NULL);
    const char *host = parsed ? g_uri_get_host(parsed) : NULL;
    const char *scheme = parsed ? g_uri_get_scheme(parsed) : "";

    if (!host || !*host || g_str_has_suffix(scheme, "+unix"))
        return NULL;
    return strchr(host, ':') ? g_strdup_printf("[%s]", host) : g_strdup(host);
}

gboolean move_check(const HostRow *from, const HostRow *to, GError **error)
{
    g_autofree char *host = host_of(to->uri);

    if (host)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                "the host '%s' cannot reach '%s' by its address %s", from->name, to->name, to->uri);
    imaged_error_hint(error, "add it by an address that other hosts reach, like"
                             " qemu+tls://HOST/system");
    return FALSE;
}

/* "spice://ADDRESS?tlsSubject=..." */
static char *graphics_uri(const HostRow *to, const char *host)
{
    const char *address = to->display_address ? to->display_address : host;
    gboolean is_bare = strchr(address, ':') && *address != '[';
    g_autofree char *subject =
        to->tls_subject ? g_uri_escape_string(to->tls_subject, NULL, FALSE) : NULL;

    return g_strdup_printf("spice://%s%s%s%s%s", is_bare ? "[" : "", address, is_bare ? "]" : "",
                           subject ? "?tlsSubject=" : "", subject ? subject : "");
}

static char *format_utc(gint64 at_s)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(at_s);

    return g_date_time_format(time, "%Y-%m-%dT%H:%M:%S");
}

/* A file beside the layers, as the target sees it; or the path as it is.  Caller frees. */
static char *moved_path(const Box *b, const char *path)
{
    for (guint i = 0; i + 1 < b->folders->len; i += 2) {
        const char *from = b->folders->pdata[i], *to = b->folders->pdata[i + 1];
        if (g_str_has_prefix(path, from) && path[strlen(from)] == '/')
            return g_strconcat(to, path + strlen(from), NULL);
    }
    return g_strdup(path);
}

/* Its XML for the target: each disk's chain as it is now, by the target's paths. */
static char *xml_there(const Box *b, const char *xml, const char *valid_to, GError **error)
{
    g_autoptr(GPtrArray) disks = domain_disks(xml, error);
    g_autoptr(GHashTable) by_dev =
        g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)g_strfreev);
    guint n_chains = 0;

    for (guint i = 0; disks && i < disks->len; i++) {
        const DomainDisk *disk = disks->pdata[i];
        char **chain = disk->path ? g_hash_table_lookup(b->chains, disk->path) : NULL;
        if (!disk->path)
            continue;
        n_chains += chain != NULL;
        char **paths = chain ? g_strdupv(chain) : g_new0(char *, 2);
        if (!chain)
            paths[0] = moved_path(b, disk->path);
        g_hash_table_insert(by_dev, disk->dev, paths);
    }
    if (disks && n_chains != g_hash_table_size(b->chains)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED,
                    "its host runs it on other files than the catalog knows");
        return NULL;
    }
    g_autofree char *nvram = disks ? domain_nvram(xml) : NULL;
    g_autofree char *nvram_there = nvram ? moved_path(b, nvram) : NULL;
    const DomainMove move = { by_dev, b->listen, valid_to, nvram_there };
    return disks ? domain_moved_xml(xml, &move, error) : NULL;
}

/* On a connection to the source of its own. */
static gboolean run_there(const HostDriver *driver, gpointer link, gpointer data, GError **error)
{
    const Box *b = data;
    HostDomain *d = driver->find(link, b->uuid, error);
    gboolean is_ours = d && g_strcmp0(d->incarnation, b->incarnation) == 0;

    host_domain_free(d);
    if (!is_ours) {
        if (error && !*error)
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                        "its host runs another incarnation of it, which is left alone");
        return FALSE;
    }
    g_autofree char *xml = driver->live->xml(link, b->uuid, TRUE, error);
    g_autofree char *password = xml ? domain_display_password(xml) : NULL;
    /* The first one, which is nobody's, stays closed. */
    gboolean has_user = password && !g_str_equal(password, b->incarnation);
    g_autofree char *term = format_utc(units_now_ms() / 1000 + PASSWORD_TERM_S);
    g_autofree char *there = xml ? xml_there(b, xml, has_user ? term : NULL, error) : NULL;
    LiveMove move = { b->uri, b->address, there, b->graphics_uri };

    return there && driver->live->move(link, b->uuid, &move, error);
}

static void add_chain(gpointer path, gpointer chain, gpointer chains)
{
    g_hash_table_insert(chains, g_strdup(path), g_strdupv(chain));
}

gboolean move_run(World *world, const RunRow *run, const Move *m, gint64 limit_ms, GError **error)
{
    g_autofree char *host = host_of(m->to->uri);
    Box *b = g_atomic_rc_box_new0(Box);

    *b = (Box){ .uuid = g_strdup(run->uuid),
                .incarnation = g_strdup(run->incarnation),
                .uri = g_strdup(m->to->uri),
                .address = g_strdup_printf("tcp://%s", host),
                .listen = g_strdup(host_listen(m->to)),
                .graphics_uri = graphics_uri(m->to, host),
                .folders = g_ptr_array_new_with_free_func(g_free) };
    b->chains = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_strfreev);
    g_hash_table_foreach(m->chains, add_chain, b->chains);
    for (guint i = 0; i < m->folders->len; i++)
        g_ptr_array_add(b->folders, g_strdup(m->folders->pdata[i]));
    gboolean ok =
        hosts_call_apart(world->hosts, m->from->id, run_there, b, box_clear, limit_ms, error);
    g_atomic_rc_box_release_full(b, box_clear);
    return ok;
}
