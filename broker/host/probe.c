/* probe.c: see probe.h.
 *
 * on_reboot makes the host end the domain when its firmware gives up looking for a disk: no file,
 * no payload of ours is needed on a host that may be anywhere. */
#include "broker/host/probe.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

#define CALL_LIMIT_MS 30000
#define LOOK_MS 50
#define TCG_LIMIT_MS 20000 /* a machine on which firmware takes longer is past helping */
#define SLACK_MS 1000

typedef struct {
    char *xml, *uuid;
} Payload;

static void payload_clear(gpointer data)
{
    Payload *payload = data;

    g_free(payload->xml);
    g_free(payload->uuid);
}

static Payload *payload_new(const char *id, const char *type)
{
    Payload *payload = g_atomic_rc_box_new0(Payload);

    payload->uuid = id_to_uuid(id);
    payload->xml = g_strdup_printf(
        "<domain type='%s'><name>imaged-probe-%s</name><uuid>%s</uuid><memory unit='MiB'>32"
        "</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type>"
        "<bios rebootTimeout='0'/></os><on_reboot>destroy</on_reboot><devices><controller"
        " type='usb' model='none'/><video><model type='none'/></video><memballoon model='none'/>"
        "</devices></domain>",
        type, id, payload->uuid);
    return payload;
}

/* ---- On the host's thread ---- */

static gboolean create(const HostDriver *driver, gpointer link, gpointer data, GError **error)
{
    const Payload *payload = data;

    return driver->destroy(link, payload->uuid, error) && driver->create(link, payload->xml, error);
}

/* NOT_FOUND: it has ended. */
static gboolean find(const HostDriver *driver, gpointer link, gpointer data, GError **error)
{
    HostDomain *domain = driver->find(link, ((Payload *)data)->uuid, error);

    host_domain_free(domain);
    return domain != NULL;
}

static gboolean destroy(const HostDriver *driver, gpointer link, gpointer data, GError **error)
{
    return driver->destroy(link, ((Payload *)data)->uuid, error);
}

static gboolean ask(World *world, const char *host_id, Payload *payload, HostCall call,
                    GError **error)
{
    return hosts_call(world->hosts, host_id, call, payload, payload_clear, CALL_LIMIT_MS, error);
}

/* ---- The job ---- */

/* How long the firmware took, in ms; -1: longer than the limit, or the host would not start it; -2
 * with an error: it is not known. */
static gint64 measure(Job *job, World *world, const char *host_id, const char *id, const char *type,
                      gint64 limit_ms, GError **error)
{
    gint64 begin_us = g_get_monotonic_time(), took = -1;
    g_autoptr(GError) local = NULL;
    Payload *payload = payload_new(id, type);
    gboolean is_on = ask(world, host_id, payload, create, &local);

    while (is_on && g_get_monotonic_time() < begin_us + limit_ms * 1000 && job_check(job, &local)) {
        is_on = ask(world, host_id, payload, find, &local);
        if (is_on)
            g_usleep(LOOK_MS * 1000);
        else if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND))
            took = (g_get_monotonic_time() - begin_us) / 1000;
    }
    ask(world, host_id, payload, destroy, NULL); /* the one that hangs */
    g_atomic_rc_box_release_full(payload, payload_clear);
    if (took < 0 && (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE) ||
                     g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_CANCELLED))) {
        g_propagate_error(error, g_steal_pointer(&local));
        return -2;
    }
    return took;
}

static void put_answer(Changes *changes, const char *host_id, const char *name, const char *found,
                       const char *why)
{
    changes_sql(changes,
                "UPDATE host SET found_accelerator = ?2 WHERE id = ?1 AND accelerator = 'auto'",
                "tt", host_id, found);
    changes_event(changes, "host.probe", "info", name, NULL, "%s: %s", found, why);
}

static gboolean run_probe(Job *job, gpointer data, GError **error)
{
    World *world = data;
    const char *host_id = NULL, *name = NULL, *id = NULL;

    json_unpack(job_plan(job), "{s:s,s:s,s:s}", "host", &host_id, "name", &name, "id", &id);
    if (!id)
        return FALSE;
    gint64 tcg = measure(job, world, host_id, id, "qemu", TCG_LIMIT_MS, error);
    if (tcg == -2)
        return FALSE;
    gint64 limit = (tcg < 0 ? TCG_LIMIT_MS : tcg) + SLACK_MS;
    gint64 kvm = measure(job, world, host_id, id, "kvm", limit, error);
    if (kvm == -2)
        return FALSE;
    g_autofree char *why =
        kvm < 0 ? g_strdup_printf("KVM's firmware did not end within %d ms, TCG's took %d ms",
                                  (int)limit, (int)tcg)
                : g_strdup_printf("KVM's firmware took %d ms, TCG's %d ms", (int)kvm, (int)tcg);
    Changes *changes = changes_new();
    put_answer(changes, host_id, name, kvm < 0 ? "tcg" : "kvm", why);
    return job_commit_done(job, changes,
                           json_pack("{s:s,s:s,s:s}", "id", host_id, "name", name, "accelerator",
                                     kvm < 0 ? "tcg" : "kvm"),
                           error);
}

const JobType host_probe_job = { "host.probe", JOB_LONG, "guests", run_probe };

/* ---- From outside ---- */

void probe_begin(World *world, const HostRow *host, gboolean has_kvm)
{
    Id id = id_new();

    if (!g_str_equal(host->accelerator, "auto") || host->found_accelerator)
        return;
    if (!has_kvm) {
        Changes *changes = changes_new();
        put_answer(changes, host->id, host->name, "tcg", "it has no KVM");
        catalog_commit(world->catalog, changes, NULL);
        return;
    }
    json_t *keys = json_array();
    claims_add(keys, 'x', "probe", host->id);
    if (!claims_take(world->claims, keys, "host.probe", NULL)) { /* at work already */
        json_decref(keys);
        return;
    }
    JobRequest request = { .type = &host_probe_job,
                           .plan = json_pack("{s:s,s:s,s:s}", "host", host->id, "name", host->name,
                                             "id", id.s),
                           .claims = keys,
                           .total = 1,
                           .owner = "imaged" };
    g_free(job_submit(world->jobs, &request, NULL));
}

void probe_wait(World *world, const char *host_id, gint64 limit_ms)
{
    gint64 until_us = g_get_monotonic_time() + limit_ms * 1000;

    for (;;) {
        g_auto(HostRow) host = { 0 };
        g_auto(HostView) view = { 0 };
        Db *db = catalog_read_begin(world->catalog);
        gboolean ok = host_lookup(db, host_id, &host, NULL);
        catalog_read_end(world->catalog, db);
        if (!ok || !g_str_equal(host.accelerator, "auto") || host.found_accelerator ||
            !hosts_view(world->hosts, host_id, &view) || view.state != HOST_UP ||
            g_get_monotonic_time() >= until_us)
            return;
        g_usleep(LOOK_MS * 1000);
    }
}
