/* export_command.c: QEMU gets the complete chain in JSON: formats named, backing nodes read-only,
 * nothing probed, and every file as a descriptor, so that no path is parsed or followed. */
#include "cow/export_command.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"

enum { LISTEN_FD = 3, READY_FD = 4, PSK_FD = 5, FIRST_LAYER_FD = 6 };

#define PLUGIN "imaged-nbd-plugin.so"
#define MAX_CONNECTIONS 256
/* Of one connection.  Each has a buffer of its own: too many, and large reads leave the processor's
 * caches; too few, and a disk has little to do at once. */
#define THREADS_PER_CPU 3u
#define THREADS_MIN 6u
#define THREADS_MAX 16u

static void add(ExportCommand *c, char *word)
{
    g_ptr_array_add(c->argv, word);
}

static void pass(ExportCommand *c, int fd, int as)
{
    g_array_append_val(c->sources, fd);
    g_array_append_val(c->targets, as);
}

static void add_json(ExportCommand *c, const char *option, json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT);

    add(c, g_strdup(option));
    add(c, g_strdup(text));
    free(text);
    json_decref(object);
}

/* ---- nbdkit ---- */

/* In the build folder it lies beside the daemon, installed in PREFIX/lib/imaged. */
static char *find_plugin(GError **error)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *dir = g_path_get_dirname(self ? self : "/");
    g_autofree char *beside = g_build_filename(dir, PLUGIN, NULL);
    g_autofree char *installed = g_build_filename(dir, "..", "lib", "imaged", PLUGIN, NULL);
    g_autofree char *above = g_build_filename(dir, "..", PLUGIN, NULL); /* of the tests' tools */

    if (access(beside, R_OK) == 0)
        return g_steal_pointer(&beside);
    if (access(above, R_OK) == 0)
        return g_steal_pointer(&above);
    if (access(installed, R_OK) == 0)
        return g_steal_pointer(&installed);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED,
                "cannot export: " PLUGIN " is neither in '%s' nor in '%s/../lib/imaged'", dir, dir);
    return NULL;
}

static gboolean use_psk(ExportCommand *c, const ExportChildSpec *spec, GError **error)
{
    char *path = g_build_filename(spec->tls_dir, "keys.psk", NULL);

    add(c, g_strconcat("--tls-psk=", path, NULL));
    c->psk_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (c->psk_fd < 0)
        imaged_error_set_errno(error, errno, "cannot read '%s'", path);
    g_free(path);
    pass(c, c->psk_fd, PSK_FD);
    return c->psk_fd >= 0;
}

static gboolean build_nbdkit(ExportCommand *c, const ExportChildSpec *spec, GError **error)
{
    char *plugin = find_plugin(error);
    GString *fds = g_string_new("fds=");

    for (guint i = 0; i < spec->n_fds; i++)
        g_string_append_printf(fds, "%s%d", i ? "," : "", FIRST_LAYER_FD + (int)i);
    add(c, g_strdup("nbdkit"));
    add(c, g_strdup("--foreground"));
    add(c, g_strdup("--readonly"));
    add(c, g_strdup("--log=stderr"));
    add(c, g_strdup_printf("--threads=%u", CLAMP(THREADS_PER_CPU * g_get_num_processors(),
                                                 THREADS_MIN, THREADS_MAX)));
    add(c, g_strdup(spec->tls == EXPORT_TLS_NONE ? "--tls=off" : "--tls=require"));
    gboolean ok = plugin && (spec->tls != EXPORT_TLS_PSK || use_psk(c, spec, error));
    if (spec->tls == EXPORT_TLS_CERTS) {
        add(c, g_strconcat("--tls-certificates=", spec->tls_dir, NULL));
        add(c, g_strdup("--tls-verify-peer"));
    }
    c->preload = g_strconcat("LD_PRELOAD=", plugin, NULL); /* see cow/nbdkit/hangup.c */
    add(c, plugin ? plugin : g_strdup(""));
    add(c, g_string_free(fds, FALSE));
    add(c, g_strdup_printf("ready=%d", READY_FD));
    if (spec->tls == EXPORT_TLS_PSK) {
        add(c, g_strdup_printf("psk_fd=%d", PSK_FD));
        add(c, g_strconcat("psk_path=", spec->tls_dir, "/keys.psk", NULL));
    }
    for (guint i = 0; spec->names[i]; i++)
        add(c, g_strconcat("name=", spec->names[i], NULL));
    return ok;
}

/* ---- qemu-storage-daemon ---- */

static json_t *blockdev(const ExportChildSpec *spec, guint i)
{
    gboolean is_top = i == spec->n_fds - 1;
    g_autofree char *node = g_strdup_printf("layer%u", i);
    g_autofree char *below = i ? g_strdup_printf("layer%u", i - 1) : NULL;
    g_autofree char *file = g_strdup_printf("/proc/self/fd/%d", FIRST_LAYER_FD + (int)i);

    /* The cache is not cleaned by a timer: what an idle server does tells of its clients. */
    json_t *out = json_pack("{s:s, s:s, s:b, s:s, s:i, s:{s:s, s:s, s:s, s:b, s:s}}", "driver",
                            "qcow2", "node-name", node, "read-only", !is_top, "discard", "unmap",
                            "cache-clean-interval", 0, "file", "driver", "file", "filename", file,
                            "locking", "on", "read-only", !is_top, "discard", "unmap");
    json_object_set_new(out, "backing", below ? json_string(below) : json_null());
    return out;
}

static void build_qemu(ExportCommand *c, const ExportChildSpec *spec)
{
    add(c, g_strdup("qemu-storage-daemon"));
    if (spec->tls == EXPORT_TLS_PSK)
        add_json(c, "--object",
                 json_pack("{s:s, s:s, s:s, s:s}", "qom-type", "tls-creds-psk", "id", "tls", "dir",
                           spec->tls_dir, "endpoint", "server"));
    if (spec->tls == EXPORT_TLS_CERTS)
        add_json(c, "--object",
                 json_pack("{s:s, s:s, s:s, s:s, s:b}", "qom-type", "tls-creds-x509", "id", "tls",
                           "dir", spec->tls_dir, "endpoint", "server", "verify-peer", 1));
    for (guint i = 0; i < spec->n_fds; i++)
        add_json(c, "--blockdev", blockdev(spec, i));
    g_autofree char *listen = g_strdup_printf("%d", LISTEN_FD);
    json_t *server = json_pack("{s:{s:s, s:s}, s:i}", "addr", "type", "fd", "str", listen,
                               "max-connections", MAX_CONNECTIONS);
    if (spec->tls != EXPORT_TLS_NONE)
        json_object_set_new(server, "tls-creds", json_string("tls"));
    add_json(c, "--nbd-server", server);
    for (guint i = 0; spec->names[i]; i++) {
        g_autofree char *node = g_strdup_printf("layer%u", spec->n_fds - 1);
        g_autofree char *id = g_strdup_printf("export%u", i);
        add_json(c, "--export",
                 json_pack("{s:s, s:s, s:s, s:s, s:b, s:b}", "type", "nbd", "id", id, "node-name",
                           node, "name", spec->names[i], "writable", 1, "allocation-depth", 1));
    }
    add(c, g_strdup("--chardev"));
    add(c, g_strdup_printf("socket,id=ready,fd=%d", READY_FD));
    add(c, g_strdup("--monitor"));
    add(c, g_strdup("chardev=ready"));
}

/* ---- The interface ---- */

ExportCommand *export_command_new(const ExportChildSpec *spec, GError **error)
{
    g_autoptr(ExportCommand) c = g_new0(ExportCommand, 1);

    c->argv = g_ptr_array_new_with_free_func(g_free);
    c->sources = g_array_new(FALSE, FALSE, sizeof(int));
    c->targets = g_array_new(FALSE, FALSE, sizeof(int));
    c->psk_fd = -1;
    pass(c, spec->listen_fd, LISTEN_FD);
    for (guint i = 0; i < spec->n_fds; i++)
        pass(c, spec->fds[i], FIRST_LAYER_FD + (int)i);
    if (spec->is_read_write)
        build_qemu(c, spec);
    else if (!build_nbdkit(c, spec, error))
        return NULL;
    g_ptr_array_add(c->argv, NULL);
    return g_steal_pointer(&c);
}

void export_command_set_ready(ExportCommand *c, int fd)
{
    pass(c, fd, READY_FD);
}

void export_command_free(ExportCommand *c)
{
    if (!c)
        return;
    g_ptr_array_unref(c->argv);
    g_array_unref(c->sources);
    g_array_unref(c->targets);
    durable_close(&c->psk_fd);
    g_free(c->preload);
    g_free(c);
}
