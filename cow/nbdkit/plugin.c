/* plugin.c: nbdkit serves a chain of layers, read-only, through the flat extent map.
 *
 * It is given open descriptors and nothing else: of the layers (fds, the base first), of a pipe
 * that hears one byte when it serves (ready), of the file with the pre-shared keys (psk_fd).  All
 * connections share one map and one cache of decoded clusters.  Before the first client is accepted
 * the process locks itself in (sandbox.h).
 *
 * Zero-copy ends at nbdkit: a plugin fills nbdkit's buffer, from which it is sent. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cow/chain_map.h"
#include "cow/chain_reader.h"
#include "cow/nbdkit/deadline.h"
#include "cow/nbdkit/sandbox.h"
#include "imaged/base/error.h"

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL
#define LISTEN_FD 3 /* of socket activation */
#define MAX_FDS 8192
#define MAX_LAYERS 4096u
#define MAX_CLIENTS 256
#define CACHE_BYTES (32ull << 20)
#define MAP_BYTES (128ull << 20)
#define PREFERRED_BLOCK (64u << 10)
#define MAX_BLOCK (32u << 20)

static struct {
    GArray *fds;          /* int, the base first */
    GPtrArray *names;     /* that a client may ask for; the first is the one that is listed */
    int ready_fd, psk_fd; /* -1: none */
    SandboxKeys keys;

    GPtrArray *layers;
    ChainMap *map;
    ChainReader *reader;
    gint n_clients; /* atomic: past their handshake */
} the = { .ready_fd = -1, .psk_fd = -1 };

/* ---- Starting ---- */

static void on_load(void)
{
    the.fds = g_array_new(FALSE, FALSE, sizeof(int));
    the.names = g_ptr_array_new_with_free_func(g_free);
    the.layers = g_ptr_array_new_with_free_func((GDestroyNotify)layer_free);
}

static void on_unload(void)
{
    chain_reader_free(the.reader);
    chain_map_free(the.map);
    g_ptr_array_unref(the.layers);
    g_ptr_array_unref(the.names);
    g_array_unref(the.fds);
}

static int config_fds(const char *text)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);

    for (guint i = 0; parts[i]; i++) {
        int fd;
        if (nbdkit_parse_int("fds", parts[i], &fd) < 0)
            return -1;
        if (fd < 0 || the.fds->len >= MAX_LAYERS) {
            nbdkit_error("fds: not a list of at most %u descriptors", MAX_LAYERS);
            return -1;
        }
        g_array_append_val(the.fds, fd);
    }
    return 0;
}

static int on_config(const char *key, const char *value)
{
    if (strcmp(key, "fds") == 0)
        return config_fds(value);
    if (strcmp(key, "name") == 0) {
        g_ptr_array_add(the.names, g_strdup(value));
        return 0;
    }
    if (strcmp(key, "ready") == 0)
        return nbdkit_parse_int(key, value, &the.ready_fd);
    if (strcmp(key, "psk_fd") == 0)
        return nbdkit_parse_int(key, value, &the.psk_fd);
    if (strcmp(key, "psk_path") == 0) {
        the.keys.psk_path = g_strdup(value);
        return 0;
    }
    nbdkit_error("unknown parameter '%s'", key);
    return -1;
}

static int on_config_complete(void)
{
    if (the.fds->len == 0 || the.names->len == 0) {
        nbdkit_error("fds and name are needed");
        return -1;
    }
    return 0;
}

static int read_keys(void)
{
    char *data = g_malloc0(SANDBOX_PSK_MAX + 1);
    gssize n = pread(the.psk_fd, data, SANDBOX_PSK_MAX + 1, 0);

    close(the.psk_fd);
    if (n <= 0 || n > (gssize)SANDBOX_PSK_MAX) {
        nbdkit_error("the keys cannot be read, or are more than %u bytes", SANDBOX_PSK_MAX);
        return -1;
    }
    the.keys.psk = data;
    the.keys.psk_len = (gsize)n;
    return 0;
}

static int fail(GError *error)
{
    g_autofree char *message = imaged_error_message(error);

    nbdkit_error("%s", message);
    g_error_free(error);
    return -1;
}

static int on_get_ready(void)
{
    GError *error = NULL;

    if (the.psk_fd >= 0 && read_keys() < 0)
        return -1;
    for (guint i = 0; i < the.fds->len; i++) {
        g_autofree char *label = g_strdup_printf("layer %u", i);
        int fd = g_array_index(the.fds, int, i);
        Layer *layer = layer_open_fd(fd, label, &error);
        if (!layer)
            return fail(error);
        g_ptr_array_add(the.layers, layer);
    }
    the.map = chain_map_new((Layer *const *)the.layers->pdata, the.layers->len, MAP_BYTES, &error);
    if (!the.map)
        return fail(error);
    the.reader = chain_reader_new(the.map, CACHE_BYTES);
    return 0;
}

/* If nbdkit did not take the socket that it was given, it listens where it likes, on all addresses:
 * rather none at all. */
static gboolean listens_elsewhere(void)
{
    for (int fd = 0; fd < MAX_FDS; fd++) {
        int is_listening = 0;
        socklen_t len = sizeof is_listening;
        if (fd != LISTEN_FD &&
            getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &len) == 0 && is_listening)
            return TRUE;
    }
    return FALSE;
}

static int on_after_fork(void)
{
    if (the.ready_fd >= 0 && listens_elsewhere()) {
        nbdkit_error("nbdkit does not listen where it was told to");
        return -1;
    }
    if (deadline_start() != 0) {
        nbdkit_error("cannot start a thread");
        return -1;
    }
    const char *failed = sandbox_enter(&the.keys);
    if (failed) {
        nbdkit_error("cannot lock %s", failed);
        return -1;
    }
    if (the.ready_fd >= 0) {
        if (write(the.ready_fd, "r", 1) != 1) {
            nbdkit_error("nobody waits for this server");
            return -1;
        }
        close(the.ready_fd);
    }
    return 0;
}

/* ---- Clients ---- */

static int on_preconnect(int readonly)
{
    if (g_atomic_int_get(&the.n_clients) >= MAX_CLIENTS) {
        nbdkit_error("there are %d clients already", MAX_CLIENTS);
        return -1;
    }
    deadline_begin();
    return 0;
}

static int on_list_exports(int readonly, int is_tls, struct nbdkit_exports *exports)
{
    return nbdkit_add_export(exports, the.names->pdata[0], NULL);
}

static const char *on_default_export(int readonly, int is_tls)
{
    return the.names->pdata[0];
}

static void *on_open(int readonly)
{
    const char *name = nbdkit_export_name();

    for (guint i = 0; name && *name && i < the.names->len; i++) {
        if (strcmp(name, the.names->pdata[i]) == 0)
            name = "";
    }
    if (!name || *name) {
        nbdkit_error("there is no export of that name");
        nbdkit_set_error(ENOENT);
        return NULL;
    }
    deadline_met();
    g_atomic_int_inc(&the.n_clients);
    return NBDKIT_HANDLE_NOT_NEEDED;
}

static void on_close(void *handle)
{
    g_atomic_int_add(&the.n_clients, -1);
}

static int64_t on_get_size(void *handle)
{
    return (int64_t)chain_map_size(the.map);
}

static int yes(void *handle)
{
    return 1;
}

static int no(void *handle)
{
    return 0;
}

static int on_can_cache(void *handle)
{
    return NBDKIT_CACHE_NATIVE;
}

static int on_block_size(void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum)
{
    *minimum = 1;
    *preferred = PREFERRED_BLOCK;
    *maximum = MAX_BLOCK;
    return 0;
}

/* ---- Data ---- */

static int fail_io(GError *error)
{
    nbdkit_set_error(error->code == IMAGED_ERROR_INVALID ? EINVAL : EIO);
    return fail(error);
}

static int on_pread(void *handle, void *buffer, uint32_t count, uint64_t offset, uint32_t flags)
{
    GError *error = NULL;

    return chain_reader_pread(the.reader, buffer, count, offset, &error) ? 0 : fail_io(error);
}

typedef struct {
    struct nbdkit_extents *extents;
    gboolean req_one, has_kind, is_full;
    guint32 kind;
} Listing;

static gboolean add_extent(const MapExtent *e, gpointer data, GError **error)
{
    Listing *l = data;
    guint32 kind = e->kind == EXTENT_ZERO ? NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO : 0;

    l->is_full |= l->req_one && l->has_kind && kind != l->kind;
    l->is_full = l->is_full || nbdkit_add_extent(l->extents, e->start, e->length, kind) < 0;
    l->has_kind = TRUE;
    l->kind = kind;
    return !l->is_full;
}

static int on_extents(void *handle, uint32_t count, uint64_t offset, uint32_t flags,
                      struct nbdkit_extents *extents)
{
    Listing l = { .extents = extents, .req_one = (flags & NBDKIT_FLAG_REQ_ONE) != 0 };
    GError *error = NULL;

    if (chain_map_walk(the.map, offset, offset + count, add_extent, &l, &error) || !error)
        return 0;
    return fail_io(error);
}

static gboolean prefetch(const MapExtent *e, gpointer data, GError **error)
{
    guint64 length = e->kind == EXTENT_COMPRESSED ? e->host_length : e->length;

    if (e->kind != EXTENT_ZERO)
        posix_fadvise(layer_fd(chain_map_layer(the.map, e->layer)), (off_t)e->host_offset,
                      (off_t)length, POSIX_FADV_WILLNEED);
    return TRUE;
}

static int on_cache(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
    GError *error = NULL;

    return chain_map_walk(the.map, offset, offset + count, prefetch, NULL, &error) ? 0
                                                                                   : fail_io(error);
}

static struct nbdkit_plugin plugin = {
    .name = "imaged",
    .longname = "imaged: a chain of layers, read-only",
    .version = IMAGED_VERSION,
    .load = on_load,
    .unload = on_unload,
    .config = on_config,
    .config_complete = on_config_complete,
    .config_help = "fds=N,N,...     (required) open layers, the base first\n"
                   "name=NAME       (required) of the export\n"
                   "ready=N         descriptor that hears when it serves\n"
                   "psk_fd=N        open file of pre-shared keys, and\n"
                   "psk_path=PATH   the name that --tls-psk gives it",
    .get_ready = on_get_ready,
    .after_fork = on_after_fork,
    .preconnect = on_preconnect,
    .list_exports = on_list_exports,
    .default_export = on_default_export,
    .open = on_open,
    .close = on_close,
    .get_size = on_get_size,
    .can_write = no,
    .is_rotational = no,
    .can_multi_conn = yes,
    .can_extents = yes,
    .can_cache = on_can_cache,
    .block_size = on_block_size,
    .pread = on_pread,
    .extents = on_extents,
    .cache = on_cache,
};

NBDKIT_REGISTER_PLUGIN(plugin)
