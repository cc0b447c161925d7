/* driver_libvirt_live.c: see driver_live.h. */
#include <libvirt/virterror.h>
#include <string.h>

#include "broker/host/driver_libvirt_private.h"
#include "imaged/base/error.h"

#define AGENT_LIMIT_S 10 /* for each answer of a guest's agent: a guest may hang */

/* Free the domain, and tell how it went. */
static gboolean finish(virDomainPtr domain, gboolean ok, const char *what, GError **error)
{
    if (!ok)
        driver_libvirt_error(error, what);
    virDomainFree(domain);
    return ok;
}

static char *live_xml(gpointer link, const char *uuid, gboolean with_secrets, GError **error)
{
    virDomainPtr domain = driver_libvirt_lookup(link, uuid, error);

    if (!domain)
        return NULL;
    char *text = virDomainGetXMLDesc(
        domain, with_secrets ? VIR_DOMAIN_XML_SECURE | VIR_DOMAIN_XML_MIGRATABLE : 0);
    char *out = g_strdup(text);
    free(text);
    finish(domain, out != NULL, "cannot ask for its XML", error);
    return out;
}

/* ---- Snapshot ---- */

static char *snapshot_xml(const LiveDisk *disks, guint n, const char *const *others)
{
    GString *out = g_string_new("<domainsnapshot><disks>");

    for (guint i = 0; i < n; i++) {
        g_autofree char *text = g_markup_printf_escaped(
            "<disk name='%s' snapshot='external' type='file'><driver type='qcow2'/>"
            "<source file='%s'><seclabel model='dac' relabel='no'/></source></disk>",
            disks[i].dev, disks[i].path);
        g_string_append(out, text);
    }
    for (guint i = 0; others[i]; i++) {
        g_autofree char *text =
            g_markup_printf_escaped("<disk name='%s' snapshot='no'/>", others[i]);
        g_string_append(out, text);
    }
    g_string_append(out, "</disks></domainsnapshot>");
    return g_string_free(out, FALSE);
}

static gboolean take(virDomainPtr domain, const char *xml, unsigned int more)
{
    const unsigned int flags =
        VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY | VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT |
        VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA | VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC;
    virDomainSnapshotPtr snapshot = virDomainSnapshotCreateXML(domain, xml, flags | more);

    if (snapshot)
        virDomainSnapshotFree(snapshot);
    return snapshot != NULL;
}

static gboolean live_snapshot(gpointer link, const char *uuid, const LiveDisk *disks, guint n,
                              const char *const *others, gboolean *ret_is_quiet, GError **error)
{
    g_autofree char *xml = snapshot_xml(disks, n, others);
    virDomainPtr domain = driver_libvirt_lookup(link, uuid, error);

    if (!domain)
        return FALSE;
    virDomainAgentSetResponseTimeout(domain, AGENT_LIMIT_S, 0);
    *ret_is_quiet = take(domain, xml, VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE);
    /* Without an agent, or with one that cannot: as if its power had failed in that moment. */
    gboolean ok = *ret_is_quiet || take(domain, xml, 0);
    /* What was at rest already (a libvirtd that died in the middle) goes on, whatever came of it:
     * nobody else would see to that. */
    if (!*ret_is_quiet)
        virDomainFSThaw(domain, NULL, 0, 0);
    return finish(domain, ok, "the host did not take the snapshot", error);
}

static gboolean live_thaw(gpointer link, const char *uuid, GError **error)
{
    virDomainPtr domain = driver_libvirt_lookup(link, uuid, error);

    if (!domain)
        return FALSE;
    virDomainAgentSetResponseTimeout(domain, AGENT_LIMIT_S, 0);
    return finish(domain, virDomainFSThaw(domain, NULL, 0, 0) >= 0,
                  "its agent does not let its file systems go on", error);
}

/* ---- Copy ---- */

static gboolean live_copy(gpointer link, const char *uuid, const char *dev, const char *chain,
                          GError **error)
{
    virDomainPtr domain = driver_libvirt_lookup(link, uuid, error);
    g_autofree char *xml = g_strdup_printf(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>%s</disk>", chain);

    if (!domain)
        return FALSE;
    gboolean ok =
        virDomainBlockCopy(domain, dev, xml, NULL, 0,
                           VIR_DOMAIN_BLOCK_COPY_SHALLOW | VIR_DOMAIN_BLOCK_COPY_REUSE_EXT) == 0;
    return finish(domain, ok, "the host did not begin to copy the disk", error);
}

static gboolean live_copy_look(gpointer link, const char *uuid, const char *dev, LiveCopy *ret,
                               GError **error)
{
    virDomainPtr domain = driver_libvirt_lookup(link, uuid, error);
    virDomainBlockJobInfo info = { 0 };

    if (!domain)
        return FALSE;
    int n = virDomainGetBlockJobInfo(domain, dev, &info, VIR_DOMAIN_BLOCK_JOB_INFO_BANDWIDTH_BYTES);
    *ret = (LiveCopy){ n > 0, info.cur, info.end };
    return finish(domain, n >= 0, "cannot ask for the copy", error);
}

static gboolean live_copy_end(gpointer link, const char *uuid, const char *dev, gboolean take_copy,
                              GError **error)
{
    virDomainPtr domain = driver_libvirt_lookup(link, uuid, error);

    if (!domain)
        return FALSE;
    gboolean ok =
        virDomainBlockJobAbort(domain, dev, take_copy ? VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT : 0) == 0;
    return finish(domain, ok, "the host did not end the copy", error);
}

/* ---- Move ---- */

static gboolean live_move(gpointer link, const char *uuid, const LiveMove *move, GError **error)
{
    /* The files were found to be the same on both: libvirt only knows some kinds of share. */
    const unsigned int flags = VIR_MIGRATE_LIVE | VIR_MIGRATE_PEER2PEER | VIR_MIGRATE_UNSAFE |
                               VIR_MIGRATE_AUTO_CONVERGE | VIR_MIGRATE_ABORT_ON_ERROR;
    virDomainPtr domain = driver_libvirt_lookup(link, uuid, error);
    virTypedParameterPtr params = NULL;
    int n = 0, max = 0;

    if (!domain)
        return FALSE;
    gboolean ok =
        virTypedParamsAddString(&params, &n, &max, VIR_MIGRATE_PARAM_DEST_XML, move->xml) == 0 &&
        (!move->address ||
         virTypedParamsAddString(&params, &n, &max, VIR_MIGRATE_PARAM_URI, move->address) == 0) &&
        (!move->graphics_uri ||
         virTypedParamsAddString(&params, &n, &max, VIR_MIGRATE_PARAM_GRAPHICS_URI,
                                 move->graphics_uri) == 0) &&
        virDomainMigrateToURI3(domain, move->uri, params, (unsigned int)n, flags) == 0;
    virTypedParamsFree(params, n);
    return finish(domain, ok, "it was not moved", error);
}

static gboolean live_is_moving(gpointer link, const char *uuid, gboolean *ret_is, GError **error)
{
    virDomainPtr domain = driver_libvirt_lookup(link, uuid, error);
    virDomainJobInfo info = { 0 };

    if (!domain)
        return FALSE;
    gboolean ok = virDomainGetJobInfo(domain, &info) == 0;
    *ret_is = info.type == VIR_DOMAIN_JOB_BOUNDED || info.type == VIR_DOMAIN_JOB_UNBOUNDED;
    return finish(domain, ok, "cannot ask whether it is being moved", error);
}

static gboolean live_move_stop(gpointer link, const char *uuid, GError **error)
{
    virDomainPtr domain = driver_libvirt_lookup(link, uuid, error);
    virDomainJobInfo info = { 0 };

    if (!domain)
        return FALSE;
    gboolean ok = virDomainGetJobInfo(domain, &info) == 0 &&
                  (info.type == VIR_DOMAIN_JOB_NONE || virDomainAbortJob(domain) == 0);
    return finish(domain, ok, "the host did not give up the move", error);
}

/* ---- Guest and display ---- */

static gboolean live_ping(gpointer link, const char *uuid, GError **error)
{
    virDomainPtr domain = driver_libvirt_lookup(link, uuid, error);

    if (!domain)
        return FALSE;
    virDomainAgentSetResponseTimeout(domain, AGENT_LIMIT_S, 0);
    char *name = virDomainGetHostname(domain, VIR_DOMAIN_GET_HOSTNAME_AGENT);
    gboolean ok = name != NULL;
    free(name);
    return finish(domain, ok, "its agent does not answer", error);
}

/* The element of the first display, as the host wrote it, or NULL. */
static char *display_element(const char *xml)
{
    const char *begin = strstr(xml, "<graphics ");
    const char *end = begin ? strstr(begin, "</graphics>") : NULL;

    return end ? g_strndup(begin, (gsize)(end - begin) + strlen("</graphics>")) : NULL;
}

static gboolean live_hold_password(gpointer link, const char *uuid, const char *valid_to,
                                   GError **error)
{
    virDomainPtr domain = driver_libvirt_lookup(link, uuid, error);

    if (!domain)
        return FALSE;
    char *xml = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_SECURE);
    g_autofree char *element = xml ? display_element(xml) : NULL;
    free(xml);
    char *at = element ? strstr(element, " passwdValidTo='") : NULL;
    if (!at || strlen(valid_to) != strlen("2026-11-22T10:00:00"))
        return finish(domain, TRUE, "", error); /* it has no password, or no end */
    memcpy(at + strlen(" passwdValidTo='"), valid_to, strlen(valid_to));
    gboolean ok = virDomainUpdateDeviceFlags(domain, element, VIR_DOMAIN_AFFECT_LIVE) == 0;
    return finish(domain, ok, "the host did not change how long the password holds", error);
}

const HostLive driver_libvirt_live = {
    .xml = live_xml,
    .snapshot = live_snapshot,
    .thaw = live_thaw,
    .copy = live_copy,
    .copy_look = live_copy_look,
    .copy_end = live_copy_end,
    .move = live_move,
    .is_moving = live_is_moving,
    .move_stop = live_move_stop,
    .ping = live_ping,
    .hold_password = live_hold_password,
};
