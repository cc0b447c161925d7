/* run_domain.c: see run_domain.h. */
#include "imaged/ops/run_domain.h"

#include <string.h>

#include "broker/config_disk.h"
#include "broker/host/networks.h"
#include "broker/run/domain_xml.h"
#include "cow/store_nvram.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/ops/channels.h"
#include "imaged/ops/hardware.h"
#include "imaged/ops/identity.h"
#include "snapshot/chain.h"

#define NETWORK_LIMIT_MS 30000
#define NVRAM_TEMPLATE "/usr/share/OVMF/OVMF_VARS_4M.fd"

void run_domain_clear(RunDomain *domain)
{
    g_clear_pointer(&domain->xml, g_free);
    g_clear_pointer(&domain->networks, g_ptr_array_unref);
}

gboolean run_hardware(Db *db, const DesktopRow *desktop, Hardware *ret, GError **error)
{
    g_auto(VersionRow) version = { 0 };

    if (!lookup_version_by_id(db, desktop->version_id, &version, error))
        return FALSE;
    g_autofree char *of_pool = hardware_of_pool(db, desktop->id);
    json_auto_t *merged = hardware_of(&version, desktop, of_pool);
    g_autofree char *os_type = identity_os_type(db, desktop);
    hardware_read(merged, os_type, ret);
    return channels_narrow(db, desktop->id, &ret->channels, NULL, error);
}

char *run_mac(const DesktopRow *desktop, guint n)
{
    g_autofree char *number = g_strdup_printf("nic-%u", n);
    Id id = id_derive(number, desktop->id, "mac");

    return n ? id_to_mac(id.s) : g_strdup(desktop->mac);
}

/* ---- Disks ---- */

char *run_layer_path(World *world, const HostRow *host, const LayerRow *layer, GError **error)
{
    g_autoptr(Store) store = store_set_get(world->stores, layer->store_id, error);
    g_autofree char *path = store ? host_store_path(host, store) : NULL;

    if (store && !path)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "the host '%s' does not see the store", host->name);
    return path ? g_build_filename(path, layer->place, layer->slot, NULL) : NULL;
}

GPtrArray *run_chain_paths(World *world, Db *db, const HostRow *host, const char *layer_id,
                           GError **error)
{
    g_auto(LookupRows) chain = { 0 };
    g_autoptr(GPtrArray) out = g_ptr_array_new_with_free_func(g_free);

    if (!chain_rows(db, layer_id, &chain, error))
        return NULL;
    for (guint i = chain.rows->len; i-- > 0;) {
        char *path = run_layer_path(world, host, chain.rows->pdata[i], error);
        if (!path)
            return NULL;
        g_ptr_array_add(out, path);
    }
    g_ptr_array_add(out, NULL);
    return g_steal_pointer(&out);
}

char *run_path_there(World *world, const HostRow *host, const char *store_id, const char *path)
{
    g_autoptr(Store) store = store_set_peek(world->stores, store_id);
    g_autofree char *there = store ? host_store_path(host, store) : NULL;

    if (!there || !g_str_has_prefix(path, store->location))
        return NULL;
    return g_strconcat(there, path + strlen(store->location), NULL);
}

/* ---- Networks ---- */

typedef struct {
    DomainNic nics[HARDWARE_MAX_NETWORKS + 1];
    char *macs[HARDWARE_MAX_NETWORKS + 1], *sources[HARDWARE_MAX_NETWORKS + 1];
    guint n;
} Nics;

static void nics_clear(Nics *nics)
{
    for (guint i = 0; i < nics->n; i++) {
        g_free(nics->macs[i]);
        g_free(nics->sources[i]);
    }
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Nics, nics_clear)

static void add_nic(Nics *nics, const DesktopRow *desktop, NicKind kind, char *source)
{
    guint i = nics->n++;

    nics->macs[i] = run_mac(desktop, i);
    nics->sources[i] = source;
    nics->nics[i] = (DomainNic){ kind, nics->macs[i], source };
}

static gboolean find_networks(Db *db, const HostRow *host, const DesktopRow *desktop,
                              const Hardware *hardware, Nics *nics, GPtrArray *to_make,
                              GError **error)
{
    for (guint i = 0; hardware->networks[i]; i++) {
        g_auto(NetworkRow) network = { 0 };
        if (!network_lookup(db, hardware->networks[i], &network, error))
            return FALSE;
        if (!network_is_on(&network, host)) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                        "the host '%s' has no network '%s'", host->name, network.name);
            return FALSE;
        }
        gboolean is_isolated = g_str_equal(network.kind, "isolated");
        if (is_isolated)
            g_ptr_array_add(to_make, network_xml(&network));
        add_nic(nics, desktop, is_isolated ? NIC_NETWORK : NIC_BRIDGE, network_source(&network));
    }
    if (!nics->n)
        add_nic(nics, desktop, NIC_USER, NULL);
    return TRUE;
}

typedef struct {
    GPtrArray *networks; /* of char *: XML */
} ToMake;

static void to_make_clear(gpointer data)
{
    g_clear_pointer(&((ToMake *)data)->networks, g_ptr_array_unref);
}

/* On the host's thread. */
static gboolean make_networks(const HostDriver *driver, gpointer link, gpointer data,
                              GError **error)
{
    const GPtrArray *networks = ((ToMake *)data)->networks;

    for (guint i = 0; i < networks->len; i++) {
        if (!driver->make_network(link, networks->pdata[i], error))
            return FALSE;
    }
    return TRUE;
}

gboolean run_make_networks(World *world, const char *desktop_id, const char *host_id,
                           GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(HostRow) host = { 0 };
    g_auto(Hardware) hardware = { 0 };
    g_auto(Nics) nics = { 0 };
    ToMake *to_make = g_atomic_rc_box_new0(ToMake);
    Db *db = catalog_read_begin(world->catalog);

    to_make->networks = g_ptr_array_new_with_free_func(g_free);
    gboolean ok =
        lookup_desktop_by_id(db, desktop_id, &desktop, error) &&
        host_lookup(db, host_id, &host, error) && run_hardware(db, &desktop, &hardware, error) &&
        find_networks(db, &host, &desktop, &hardware, &nics, to_make->networks, error);
    catalog_read_end(world->catalog, db);
    ok = ok && (to_make->networks->len == 0 ||
                hosts_call(world->hosts, host.id, make_networks, to_make, to_make_clear,
                           NETWORK_LIMIT_MS, error));
    g_atomic_rc_box_release_full(to_make, to_make_clear);
    return ok;
}

/* ---- All of it ---- */

/* What is read in one go. */
typedef struct {
    DesktopRow desktop;
    HostRow host;
    Hardware hardware;
    GPtrArray *disk, *data;
    char *os_type;
    gint64 layer_generation; /* in which the active layer was last used */
    Nics nics;
} Read;

static void read_clear(Read *r)
{
    desktop_row_clear(&r->desktop);
    host_row_clear(&r->host);
    hardware_clear(&r->hardware);
    g_clear_pointer(&r->disk, g_ptr_array_unref);
    g_clear_pointer(&r->data, g_ptr_array_unref);
    g_free(r->os_type);
    nics_clear(&r->nics);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Read, read_clear)

static gboolean read_all(World *world, const char *desktop_id, const char *host_id, Read *r,
                         GPtrArray *networks, GError **error)
{
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok =
        lookup_desktop_by_id(db, desktop_id, &r->desktop, error) &&
        host_lookup(db, host_id, &r->host, error) &&
        run_hardware(db, &r->desktop, &r->hardware, error) &&
        (r->disk = run_chain_paths(world, db, &r->host, r->desktop.layer_id, error)) &&
        (!r->desktop.data_layer_id ||
         (r->data = run_chain_paths(world, db, &r->host, r->desktop.data_layer_id, error))) &&
        find_networks(db, &r->host, &r->desktop, &r->hardware, &r->nics, networks, error);

    if (ok) {
        r->os_type = identity_os_type(db, &r->desktop);
        r->layer_generation = lookup_int(db, "SELECT generation FROM layer WHERE id = ?1", "t",
                                         r->desktop.layer_id);
    }
    catalog_read_end(world->catalog, db);
    return ok;
}

static gboolean has_direct_io(World *world, const char *store_id)
{
    g_autoptr(Store) store = store_set_peek(world->stores, store_id);

    return store && store->features.has_direct_io;
}

static gboolean check_drivers(const Read *r, GError **error)
{
    if (!r->hardware.has_driver_iso || r->host.driver_iso)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "the host '%s' has no CD of drivers",
                r->host.name);
    imaged_error_hint(error, "say where it lies there: imagectl host set %s --driver-iso PATH",
                      r->host.name);
    return FALSE;
}

/* The file of what UEFI keeps, as the host sees it; NULL without an error: it keeps nothing. */
static char *make_nvram(World *world, const Read *r, GError **error)
{
    if (!r->hardware.keeps_nvram)
        return NULL;
    g_autoptr(Store) store = store_set_get(world->stores, r->desktop.store_id, error);
    g_autofree char *path =
        store ? store_nvram_make(store, r->desktop.id, r->desktop.generation, r->layer_generation,
                                 NVRAM_TEMPLATE, error)
              : NULL;
    char *there = path ? run_path_there(world, &r->host, r->desktop.store_id, path) : NULL;
    if (path && !there)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "the host '%s' does not see the store", r->host.name);
    return there;
}

gboolean run_domain_make(World *world, const char *desktop_id, const char *host_id,
                         const char *incarnation, RunDomain *ret, GError **error)
{
    g_auto(Read) r = { 0 };
    g_auto(HostView) view = { 0 };
    g_auto(RunDomain) out = { .networks = g_ptr_array_new_with_free_func(g_free) };

    if (!read_all(world, desktop_id, host_id, &r, out.networks, error) || !check_drivers(&r, error))
        return FALSE;
    g_autofree char *config = config_disk_make(world, r.desktop.name, r.os_type, error);
    if (!config)
        return FALSE;
    if (!hosts_view(world->hosts, r.host.id, &view)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "the host '%s' was removed",
                    r.host.name);
        return FALSE;
    }
    g_autofree char *config_there = run_path_there(world, &r.host, r.desktop.store_id, config);
    g_autofree char *nvram_there = make_nvram(world, &r, error);
    if (r.hardware.keeps_nvram && !nvram_there)
        return FALSE;
    gboolean is_direct = has_direct_io(world, r.desktop.store_id);
    DomainSpec spec = { .name = r.desktop.name,
                        .uuid = r.desktop.uuid,
                        .desktop_id = r.desktop.id,
                        .incarnation = incarnation,
                        .generation = r.desktop.generation,
                        .hardware = &r.hardware,
                        .is_kvm = host_is_kvm(&r.host),
                        .cpu_model = r.host.cpu_model,
                        .machine = r.host.machine,
                        .disk = { (const char *const *)r.disk->pdata, is_direct },
                        .data = { r.data ? (const char *const *)r.data->pdata : NULL, is_direct },
                        .config_path = config_there,
                        .nvram_path = nvram_there,
                        .driver_path = r.hardware.has_driver_iso ? r.host.driver_iso : NULL,
                        .nics = r.nics.nics,
                        .n_nics = r.nics.n,
                        .has_spice = view.facts.has_spice,
                        .listen = host_listen(&r.host),
                        .has_tls = r.host.tls_subject != NULL };
    out.xml = domain_xml(&spec);
    *ret = out;
    out = (RunDomain){ 0 };
    return TRUE;
}
