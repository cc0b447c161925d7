/* driver_libvirt_acts.c: what is done to one domain, one of libvirt's calls each. */
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <stdlib.h>
#include <string.h>

#include "broker/host/driver_console.h"
#include "broker/host/driver_display.h"
#include "broker/host/driver_libvirt_private.h"
#include "imaged/base/error.h"

#define MAX_PICTURE (64u << 20) /* bytes */

gboolean libvirt_create(gpointer data, const char *xml, GError **error)
{
    virDomainPtr domain = virDomainCreateXML(((LibvirtLink *)data)->conn, xml, 0);

    if (!domain) {
        gboolean has_filter = virGetLastErrorCode() != VIR_ERR_NO_NWFILTER &&
                              !strstr(virGetLastErrorMessage(), "filter 'clean-traffic'");
        driver_libvirt_error(error, "the host did not start it");
        if (!has_filter)
            imaged_error_hint(error, "the host's libvirt has no filters of packets: its package"
                                     " libvirt-daemon-config-nwfilter is missing there");
        return FALSE;
    }
    virDomainFree(domain);
    return TRUE;
}

gboolean libvirt_make_network(gpointer data, const char *xml, GError **error)
{
    virNetworkPtr network = virNetworkCreateXML(((LibvirtLink *)data)->conn, xml);
    int code = virGetLastErrorCode();

    if (!network && code != VIR_ERR_NETWORK_EXIST && code != VIR_ERR_OPERATION_INVALID &&
        code != VIR_ERR_OPERATION_FAILED)
        return driver_libvirt_error(error, "the host did not make the network");
    if (network)
        virNetworkFree(network);
    return TRUE;
}

/* One of libvirt's calls on a domain. */
typedef int (*DomainCall)(virDomainPtr domain);

static gboolean call(gpointer data, const char *uuid, const char *what, DomainCall function,
                     GError **error)
{
    virDomainPtr domain = driver_libvirt_lookup(data, uuid, error);
    gboolean ok = domain && function(domain) == 0;

    if (domain && !ok)
        driver_libvirt_error(error, what);
    if (domain)
        virDomainFree(domain);
    return ok;
}

static int reboot(virDomainPtr domain)
{
    return virDomainReboot(domain, 0);
}

gboolean libvirt_destroy(gpointer data, const char *uuid, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (call(data, uuid, "cannot switch it off", virDomainDestroy, &local) ||
        g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

gboolean libvirt_shut_down(gpointer data, const char *uuid, GError **error)
{
    return call(data, uuid, "cannot ask it to shut down", virDomainShutdown, error);
}

gboolean libvirt_reboot(gpointer data, const char *uuid, GError **error)
{
    return call(data, uuid, "cannot ask it to restart", reboot, error);
}

gboolean libvirt_pause(gpointer data, const char *uuid, GError **error)
{
    return call(data, uuid, "cannot pause it", virDomainSuspend, error);
}

gboolean libvirt_resume(gpointer data, const char *uuid, GError **error)
{
    return call(data, uuid, "cannot resume it", virDomainResume, error);
}

gboolean libvirt_set_ticket(gpointer data, const char *uuid, const HostTicket *ticket,
                            HostDisplay *ret, GError **error)
{
    virDomainPtr domain = driver_libvirt_lookup(data, uuid, error);
    gboolean ok = domain && display_set_ticket(domain, ticket, ret, error);

    if (domain && !ok && error && !*error)
        driver_libvirt_error(error, "cannot set the password of its display");
    if (domain)
        virDomainFree(domain);
    return ok;
}

GPtrArray *libvirt_clients(gpointer data, const char *uuid, GError **error)
{
    virDomainPtr domain = driver_libvirt_lookup(data, uuid, error);
    GPtrArray *out = domain ? display_clients(domain, uuid) : NULL;

    if (domain && !out)
        driver_libvirt_error(error, "cannot ask who sees its display");
    if (domain)
        virDomainFree(domain);
    return out;
}

int libvirt_open_vnc(gpointer data, const char *uuid, GError **error)
{
    virDomainPtr domain = driver_libvirt_lookup(data, uuid, error);
    int fd = domain ? display_open_vnc(domain) : -1;

    if (domain && fd < 0)
        driver_libvirt_error(error, "cannot open its VNC display");
    if (domain)
        virDomainFree(domain);
    return fd;
}

char *libvirt_vnc_socket(gpointer data, const char *uuid, GError **error)
{
    virDomainPtr domain = driver_libvirt_lookup(data, uuid, error);
    char *xml = domain ? virDomainGetXMLDesc(domain, 0) : NULL;
    char *path = xml ? display_vnc_socket(xml) : NULL;

    if (domain && !xml)
        driver_libvirt_error(error, "cannot ask for its VNC display");
    else if (xml && !path)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "it has no VNC display on a unix socket");
    free(xml);
    if (domain)
        virDomainFree(domain);
    return path;
}

int libvirt_open_console(gpointer data, const char *uuid, gboolean is_forced, GError **error)
{
    virDomainPtr domain = driver_libvirt_lookup(data, uuid, error);
    int fd = domain ? console_open(domain, is_forced, error) : -1;

    if (domain)
        virDomainFree(domain);
    return fd;
}

char *libvirt_agent(gpointer data, const char *uuid, const char *command, guint timeout_s,
                    GError **error)
{
    virDomainPtr domain = driver_libvirt_lookup(data, uuid, error);
    char *answer = domain ? virDomainQemuAgentCommand(domain, command, (int)timeout_s, 0) : NULL;

    if (domain && !answer) {
        g_autoptr(GError) local = NULL;
        driver_libvirt_error(&local, "its guest agent does not answer");
        g_set_error_literal(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, local->message);
    }
    if (domain)
        virDomainFree(domain);
    return answer;
}

#define MAX_DISKS 8

/* QEMU remembers for each disk why it stopped the guest, until that goes on. */
gboolean libvirt_is_full(gpointer data, const char *uuid, gboolean *ret, GError **error)
{
    virDomainDiskError errors[MAX_DISKS];
    virDomainPtr domain = driver_libvirt_lookup(data, uuid, error);
    int n = domain ? virDomainGetDiskErrors(domain, errors, MAX_DISKS, 0) : -1;

    if (domain && n < 0)
        driver_libvirt_error(error, "cannot ask what is wrong with its disks");
    *ret = n > 0;
    for (int i = 0; i < n; i++) {
        *ret = *ret && errors[i].error == VIR_DOMAIN_DISK_ERROR_NO_SPACE;
        free(errors[i].disk);
    }
    if (domain)
        virDomainFree(domain);
    return n >= 0;
}

gboolean libvirt_save(gpointer data, const char *uuid, const char *path, GError **error)
{
    virDomainPtr domain = driver_libvirt_lookup(data, uuid, error);
    gboolean ok = domain && virDomainSaveFlags(domain, path, NULL, 0) == 0;

    if (domain && !ok)
        driver_libvirt_error(error, "cannot save its memory");
    if (domain)
        virDomainFree(domain);
    return ok;
}

gboolean libvirt_is_at_work(gpointer data, const char *uuid)
{
    virDomainPtr domain = driver_libvirt_lookup(data, uuid, NULL);
    virDomainJobInfo info = { 0 };
    gboolean is =
        domain && virDomainGetJobInfo(domain, &info) == 0 && info.type != VIR_DOMAIN_JOB_NONE;

    if (domain)
        virDomainFree(domain);
    return is;
}

/* libvirt reads no file that it did not finish. */
gboolean libvirt_is_memory_of(gpointer data, const char *path, const char *incarnation,
                              gboolean *ret, GError **error)
{
    virConnectPtr conn = ((LibvirtLink *)data)->conn;
    char *text = virDomainSaveImageGetXMLDesc(conn, path, 0);
    gboolean is_answered = text || virConnectIsAlive(conn) == 1;

    if (!is_answered)
        driver_libvirt_error(error, "cannot ask what it had in its memory");
    *ret = text && strstr(text, incarnation) != NULL;
    free(text);
    return is_answered;
}

/* The guest goes on with the devices, down to their addresses, that it had: as the file tells. */
gboolean libvirt_restore(gpointer data, const char *path, const char *saved_incarnation,
                         const char *incarnation, GError **error)
{
    virConnectPtr conn = ((LibvirtLink *)data)->conn;
    char *text = virDomainSaveImageGetXMLDesc(conn, path, VIR_DOMAIN_SAVE_IMAGE_XML_SECURE);
    g_autoptr(GString) xml = g_string_new(text);
    gboolean ok = text != NULL;

    free(text);
    if (ok && g_string_replace(xml, saved_incarnation, incarnation, 0) == 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT, "its memory is of another run");
        return FALSE;
    }
    ok = ok && virDomainRestoreFlags(conn, path, xml->str, VIR_DOMAIN_SAVE_RUNNING) == 0;
    return ok || driver_libvirt_error(error, "the host did not go on with its memory");
}

/* All that the stream has, up to MAX_PICTURE. */
static GByteArray *receive(virStreamPtr stream)
{
    GByteArray *out = g_byte_array_new();
    char buffer[65536];
    int n = 1;

    while (n > 0 && out->len <= MAX_PICTURE) {
        n = virStreamRecv(stream, buffer, sizeof buffer);
        if (n > 0)
            g_byte_array_append(out, (guint8 *)buffer, (guint)n);
    }
    if (n == 0 && virStreamFinish(stream) == 0)
        return out;
    virStreamAbort(stream);
    g_byte_array_unref(out);
    return NULL;
}

GByteArray *libvirt_screenshot(gpointer data, const char *uuid, char **ret_type, GError **error)
{
    virDomainPtr domain = driver_libvirt_lookup(data, uuid, error);
    virStreamPtr stream = domain ? virStreamNew(((LibvirtLink *)data)->conn, 0) : NULL;
    char *type = stream ? virDomainScreenshot(domain, stream, 0, 0) : NULL;
    GByteArray *out = type ? receive(stream) : NULL;

    if (domain && !out)
        driver_libvirt_error(error, "cannot take a picture of it");
    *ret_type = out ? g_strdup(type) : NULL;
    free(type);
    if (stream)
        virStreamFree(stream);
    if (domain)
        virDomainFree(domain);
    return out;
}
