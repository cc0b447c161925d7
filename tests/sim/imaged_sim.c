/* imaged_sim.c: imaged with simulated hosts: libvirt's test driver, and what that lacks.
 *
 * A host is test+unix:///FILE.xml?socket=PATH: each connection has a host of its own in a libvirtd
 * that is not our process.  Domains are made of the XML that real ones are made of, but for what
 * the test driver refuses.  Passwords and their ends, clients and figures are kept here.
 *
 * Everything else is the daemon's own: its catalog, its files, its jobs, its workers. */
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "broker/host/driver_libvirt.h"
#include "imaged/base/error.h"
#include "imaged/daemon.h"

/* ---- What the test driver lacks ---- */

static GMutex lock;
static GHashTable *passwords; /* uuid -> how many it was given */

static gboolean sim_facts(gpointer link, HostFacts *ret, GError **error)
{
    if (!driver_libvirt.facts(link, ret, error))
        return FALSE;
    ret->has_spice = TRUE;
    return TRUE;
}

/* Some load, the same for the same domain. */
static GPtrArray *sim_domains(gpointer link, GError **error)
{
    GPtrArray *out = driver_libvirt.domains(link, error);

    for (guint i = 0; out && i < out->len; i++) {
        HostDomain *d = out->pdata[i];
        d->n_cpus = 1;
        d->memory_bytes = 128 << 20;
        d->cpu_ns = (guint64)g_get_monotonic_time() * (g_str_hash(d->uuid) % 1000);
    }
    return out;
}

/* Its emulator and its devices are none of the test driver's. */
static gboolean sim_create(gpointer link, const char *xml, GError **error)
{
    const char *type = strchr(xml, '>'), *devices = strstr(xml, "<devices>");
    const char *os = strstr(xml, "<os>"), *features = strstr(xml, "<clock");

    if (!type || !devices || !os || !features || features > devices) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "no domain of ours");
        return FALSE;
    }
    g_autofree char *head = g_strndup(type + 1, (gsize)(os - type - 1));
    g_autofree char *mine = g_strdup_printf("<domain type='test'>%s<os><type arch='x86_64'>hvm"
                                            "</type></os></domain>",
                                            head);
    return driver_libvirt.create(link, mine, error);
}

static gboolean sim_set_ticket(gpointer link, const char *uuid, const HostTicket *ticket,
                               HostDisplay *ret, GError **error)
{
    g_mutex_lock(&lock);
    gpointer n = g_hash_table_lookup(passwords, uuid);
    g_hash_table_insert(passwords, g_strdup(uuid), GUINT_TO_POINTER(GPOINTER_TO_UINT(n) + 1));
    g_mutex_unlock(&lock);
    if (ret)
        *ret = (HostDisplay){ TRUE, 5900 + g_str_hash(uuid) % 10000, 0 };
    return TRUE;
}

static GPtrArray *sim_clients(gpointer link, const char *uuid, GError **error)
{
    return g_ptr_array_new_with_free_func(client_event_free);
}

static char *sim_agent(gpointer link, const char *uuid, const char *command, guint timeout_s,
                       GError **error)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "no guest, no agent");
    return NULL;
}

/* ---- The daemon ---- */

int main(int argc, char **argv)
{
    g_auto(Config) config = { 0 };
    g_autoptr(GError) error = NULL;
    gboolean is_over = FALSE;
    HostDriver driver = driver_libvirt;

    driver.facts = sim_facts;
    driver.domains = sim_domains;
    driver.create = sim_create;
    driver.set_ticket = sim_set_ticket;
    driver.clients = sim_clients;
    driver.agent = sim_agent;
    passwords = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    daemon_prepare();
    if (sodium_init() < 0 || !config_load(&argc, &argv, &config, &is_over, &error) ||
        (!is_over && !daemon_run(&config, &driver, &error))) {
        fprintf(stderr, "imaged-sim: %s\n", error ? error->message : "no random numbers");
        return 1;
    }
    return 0;
}
