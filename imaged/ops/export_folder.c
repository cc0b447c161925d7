/* export_folder.c: see export_folder.h. */
#include "imaged/ops/export_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"

#define EXPORTS "exports"
#define NAME_LEN 8
#define MAX_PEM (256u << 10)
#define END_LIMIT_MS 10000

/* All there can be, with what a stop in durable_replace() leaves. */
static const char *const files[] = {
    "nbd",
    "server",
    ".server.new",
    "tls/keys.psk",
    "tls/.keys.psk.new",
    "tls/ca-cert.pem",
    "tls/.ca-cert.pem.new",
    "tls/server-cert.pem",
    "tls/.server-cert.pem.new",
    "tls/server-key.pem",
    "tls/.server-key.pem.new",
};

char *export_folder_path(const char *state_dir, const char *name, const char *file)
{
    return g_build_filename(state_dir, EXPORTS, name, file, NULL);
}

static int open_dir(const char *state_dir, const char *name, const char *inside, GError **error)
{
    g_autofree char *path = g_build_filename(state_dir, EXPORTS, name, inside, NULL);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        imaged_error_set_errno(error, errno, "cannot open '%s'", path);
    return fd;
}

static gboolean set_group(int fd, const char *group, mode_t mode, GError **error)
{
    struct group *entry = group && *group ? getgrnam(group) : NULL;

    if (entry && fchown(fd, (uid_t)-1, entry->gr_gid) < 0) {
        imaged_error_set_errno(error, errno, "cannot give a folder to the group '%s'", group);
        return FALSE;
    }
    return durable_chmod(fd, mode, error);
}

char *export_folder_make(const char *state_dir, const char *group, GError **error)
{
    auto_fd state_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    Id id = id_new();
    /* An id begins with the time; its end is random. */
    g_autofree char *name = g_strdup(id.s + ID_LEN - NAME_LEN);
    g_autofree char *below = g_build_filename(EXPORTS, name, NULL);

    if (state_fd < 0) {
        imaged_error_set_errno(error, errno, "cannot open '%s'", state_dir);
        return NULL;
    }
    if (faccessat(state_fd, below, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS, "'%s' exists already", below);
        return NULL;
    }
    if (!durable_mkdir(state_fd, EXPORTS, 0751, error) ||
        !durable_mkdir(state_fd, below, 0750, error))
        return NULL;
    auto_fd exports_fd = open_dir(state_dir, "", NULL, error);
    auto_fd fd = exports_fd < 0 ? -1 : open_dir(state_dir, name, NULL, error);
    if (fd >= 0 && durable_chmod(exports_fd, 0751, error) && set_group(fd, group, 0750, error))
        return g_steal_pointer(&name);
    export_folder_remove(state_dir, name);
    return NULL;
}

void export_folder_remove(const char *state_dir, const char *name)
{
    auto_fd fd = open_dir(state_dir, name, NULL, NULL);
    auto_fd above = open_dir(state_dir, "", NULL, NULL);

    for (guint i = 0; fd >= 0 && i < G_N_ELEMENTS(files); i++)
        durable_unlink(fd, files[i], NULL);
    if (fd >= 0)
        durable_rmdir(fd, "tls", NULL);
    if (above >= 0)
        durable_rmdir(above, name, NULL);
}

/* ---- What lies in it ---- */

static gboolean put(int dirfd, const char *name, const char *text, GError **error)
{
    if (text && *text && strlen(text) <= MAX_PEM)
        return durable_replace(dirfd, name, text, strlen(text), 0600, error);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "%s is missing, empty or too long",
                name);
    return FALSE;
}

static gboolean put_pem(int dirfd, const char *name, const json_t *material, const char *key,
                        GError **error)
{
    const char *text = json_string_value(json_object_get(material, key));

    if (text && strstr(text, "-----BEGIN "))
        return put(dirfd, name, text, error);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "%s is missing or not in PEM", name);
    imaged_error_hint(error, "the folder needs ca-cert.pem, server-cert.pem and server-key.pem");
    return FALSE;
}

gboolean export_folder_put_tls(const char *state_dir, const char *name, ExportTls tls,
                               const json_t *material, GError **error)
{
    auto_fd above = open_dir(state_dir, name, NULL, error);

    if (above < 0 || !durable_mkdir(above, "tls", 0700, error))
        return FALSE;
    auto_fd fd = open_dir(state_dir, name, "tls", error);
    if (fd < 0 || !durable_chmod(fd, 0700, error))
        return FALSE;
    if (tls == EXPORT_TLS_PSK)
        return put(fd, "keys.psk", json_string_value(material), error);
    return put_pem(fd, "ca-cert.pem", material, "ca_cert", error) &&
           put_pem(fd, "server-cert.pem", material, "server_cert", error) &&
           put_pem(fd, "server-key.pem", material, "server_key", error);
}

gboolean export_folder_put_mark(const char *state_dir, const char *name, const char *mark,
                                GError **error)
{
    auto_fd fd = open_dir(state_dir, name, NULL, error);

    return fd >= 0 && durable_replace(fd, "server", mark, strlen(mark), 0600, error);
}

/* ---- After a stop ---- */

static gboolean end_leftover(const char *state_dir, const char *name, GError **error)
{
    auto_fd fd = open_dir(state_dir, name, NULL, NULL);
    g_autofree char *mark = NULL;

    if (fd < 0 || !durable_read(fd, "server", 4096, &mark, NULL, NULL))
        return TRUE;
    return export_child_end_marked(mark, END_LIMIT_MS, error);
}

gboolean export_folder_clean(const char *state_dir, ExportFolderKeep keep, gpointer user,
                             GError **error)
{
    g_autofree char *path = g_build_filename(state_dir, EXPORTS, NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    const char *name;

    while (dir && (name = g_dir_read_name(dir)))
        g_ptr_array_add(names, g_strdup(name));
    for (guint i = 0; i < names->len; i++) {
        if (!end_leftover(state_dir, names->pdata[i], error))
            return FALSE;
        if (!keep(names->pdata[i], user))
            export_folder_remove(state_dir, names->pdata[i]);
    }
    return TRUE;
}
