/* driver_libvirt_domains.c: what domains a host has, whose they are, what they use.
 *
 * All in one call, which waits for none of them; what that does not say, our mark and the guest's
 * addresses, is asked once for each run, or now and then. */
#include <libvirt/virterror.h>
#include <string.h>

#include "broker/host/driver_libvirt.h"
#include "broker/host/driver_libvirt_addresses.h"
#include "broker/host/driver_libvirt_private.h"
#include "imaged/base/error.h"

#define MAX_METADATA 4096
#define ASK_MS 200            /* at a look, for addresses of guests */
#define ADDRESSES_MS 120000   /* until one is asked again */
#define NO_ADDRESSES_MS 20000 /* the same, of one that has none yet */

/* What our metadata says of one domain. */
typedef struct {
    char *desktop_id, *incarnation;
    gint64 generation;
    char *addresses;    /* as it was told last, or NULL */
    gint64 next_ask_us; /* for them */
} Mark;

static void mark_free(gpointer data)
{
    Mark *mark = data;

    g_free(mark->desktop_id);
    g_free(mark->incarnation);
    g_free(mark->addresses);
    g_free(mark);
}

GHashTable *libvirt_marks_new(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, mark_free);
}

static DomainState state_of(int state, int reason)
{
    switch (state) {
    case VIR_DOMAIN_RUNNING:
    case VIR_DOMAIN_BLOCKED:
        return DOMAIN_RUNNING;
    case VIR_DOMAIN_PAUSED:
        return reason == VIR_DOMAIN_PAUSED_IOERROR ? DOMAIN_STUCK : DOMAIN_PAUSED;
    case VIR_DOMAIN_PMSUSPENDED:
        return DOMAIN_PAUSED;
    case VIR_DOMAIN_SHUTDOWN:
        return DOMAIN_ENDING;
    default:
        return DOMAIN_OFF;
    }
}

/* The value of one attribute of our element, which we wrote: ids and numbers alone. */
static char *attribute(const char *xml, const char *name)
{
    g_autofree char *begin = g_strdup_printf(" %s=", name);
    const char *at = strstr(xml, begin);

    if (!at)
        return NULL;
    at += strlen(begin);
    const char *end = *at == '\'' || *at == '"' ? strchr(at + 1, *at) : NULL;
    return end ? g_strndup(at + 1, (gsize)(end - at - 1)) : NULL;
}

/* Whose it is.  Each run has an id of its own on its host, so it is asked once. */
static Mark *mark_of(LibvirtLink *link, virDomainPtr domain, const char *uuid)
{
    g_autofree char *key = g_strdup_printf("%s/%u", uuid, virDomainGetID(domain));
    Mark *mark = g_hash_table_lookup(link->marks, key);

    if (mark)
        return mark;
    char *xml = virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, DRIVER_METADATA_URI, 0);
    if (!xml && virGetLastErrorCode() != VIR_ERR_NO_DOMAIN_METADATA)
        return NULL; /* not known, which is asked again */
    mark = g_new0(Mark, 1);
    if (xml && strlen(xml) <= MAX_METADATA) {
        g_autofree char *generation = attribute(xml, "generation");
        mark->desktop_id = attribute(xml, "desktop");
        mark->incarnation = attribute(xml, "incarnation");
        mark->generation = generation ? g_ascii_strtoll(generation, NULL, 10) : 0;
    }
    free(xml);
    g_hash_table_insert(link->marks, g_steal_pointer(&key), mark);
    return mark;
}

static guint64 number_of(const virTypedParameter *params, int n, const char *name)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(params[i].field, name) != 0)
            continue;
        switch (params[i].type) {
        case VIR_TYPED_PARAM_INT:
            return (guint64)MAX(params[i].value.i, 0);
        case VIR_TYPED_PARAM_UINT:
            return params[i].value.ui;
        case VIR_TYPED_PARAM_LLONG:
            return (guint64)MAX(params[i].value.l, 0);
        case VIR_TYPED_PARAM_ULLONG:
            return params[i].value.ul;
        default:
            return 0;
        }
    }
    return 0;
}

/* NULL if it went away meanwhile (NO_DOMAIN), or cannot be asked. */
static HostDomain *read_domain(LibvirtLink *link, virDomainPtr domain)
{
    HostDomain *out = g_new0(HostDomain, 1);
    const char *name = virDomainGetName(domain);
    const Mark *mark = NULL;

    if (!name || virDomainGetUUIDString(domain, out->uuid) < 0 ||
        !(mark = mark_of(link, domain, out->uuid))) {
        g_free(out);
        return NULL;
    }
    out->name = g_strdup(name);
    out->desktop_id = g_strdup(mark->desktop_id);
    out->incarnation = g_strdup(mark->incarnation);
    out->generation = mark->generation;
    return out;
}

/* Each is asked now and then, as many at a look as go quickly: the others come at the next one. */
static void note_addresses(LibvirtLink *link, virDomainPtr domain, HostDomain *out, gint64 until_us)
{
    Mark *mark = mark_of(link, domain, out->uuid);
    gint64 now_us = g_get_monotonic_time();

    if (!mark || !mark->desktop_id)
        return;
    if (out->state == DOMAIN_RUNNING && mark->next_ask_us <= now_us && now_us < until_us) {
        g_free(mark->addresses);
        mark->addresses = libvirt_addresses(domain);
        mark->next_ask_us =
            g_get_monotonic_time() + (mark->addresses ? ADDRESSES_MS : NO_ADDRESSES_MS) * 1000;
    }
    out->addresses = g_strdup(mark->addresses);
}

static HostDomain *read_record(LibvirtLink *link, const virDomainStatsRecord *record)
{
    HostDomain *out = read_domain(link, record->dom);
    const virTypedParameter *p = record->params;

    if (!out)
        return NULL;
    out->state = state_of((int)number_of(p, record->nparams, "state.state"),
                          (int)number_of(p, record->nparams, "state.reason"));
    out->cpu_ns = number_of(p, record->nparams, "cpu.time");
    out->n_cpus = (guint)number_of(p, record->nparams, "vcpu.current");
    out->memory_bytes = number_of(p, record->nparams, "balloon.current") * 1024;
    return out;
}

GPtrArray *libvirt_domains(gpointer data, GError **error)
{
    const unsigned int wanted = VIR_DOMAIN_STATS_STATE | VIR_DOMAIN_STATS_CPU_TOTAL |
                                VIR_DOMAIN_STATS_VCPU | VIR_DOMAIN_STATS_BALLOON;
    LibvirtLink *link = data;
    virDomainStatsRecordPtr *records = NULL;
    int n = virConnectGetAllDomainStats(link->conn, wanted, &records,
                                        VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT);

    if (n < 0) {
        driver_libvirt_error(error, "cannot ask for the host's domains");
        return NULL;
    }
    GPtrArray *out = g_ptr_array_new_with_free_func(host_domain_free);
    gint64 until_us = g_get_monotonic_time() + ASK_MS * 1000;
    for (int i = 0; out && i < n; i++) {
        HostDomain *domain = read_record(link, records[i]);
        if (domain) {
            g_ptr_array_add(out, domain);
            note_addresses(link, records[i]->dom, domain, until_us);
        } else if (virGetLastErrorCode() != VIR_ERR_NO_DOMAIN) { /* what is missing is not gone */
            driver_libvirt_error(error, "cannot ask for the host's domains");
            g_clear_pointer(&out, g_ptr_array_unref);
        }
    }
    virDomainStatsRecordListFree(records);
    if (g_hash_table_size(link->marks) > 4 * (guint)n + 100)
        g_hash_table_remove_all(link->marks); /* of runs that have ended, mostly */
    return out;
}

HostDomain *libvirt_find(gpointer data, const char *uuid, GError **error)
{
    LibvirtLink *link = data;
    virDomainPtr domain = driver_libvirt_lookup(link, uuid, error);
    int state, reason;

    if (!domain)
        return NULL;
    HostDomain *out = read_domain(link, domain);
    if (out && virDomainGetState(domain, &state, &reason, 0) == 0)
        out->state = state_of(state, reason);
    else
        g_clear_pointer(&out, host_domain_free);
    if (!out)
        driver_libvirt_error(error, "cannot ask for the domain");
    virDomainFree(domain);
    return out;
}
