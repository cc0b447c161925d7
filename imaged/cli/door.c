/* door.c: see door.h.  A random name alone protects little, since the kernel lists the paths of
 * unix sockets to everybody (/proc/net/unix): so the folder lets only the daemon's user in, by an
 * ACL. */
#include "imaged/cli/door.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"

#define SOCKET_NAME_ROOM 8 /* "/nbd" and the NUL */

/* The user that listens at path; FALSE if that cannot be told. */
static gboolean user_behind(const char *path, uid_t *ret_uid)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct ucred peer;
    socklen_t len = sizeof peer;
    auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || !path || strlen(path) >= sizeof address.sun_path)
        return FALSE;
    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return FALSE;
    *ret_uid = peer.uid;
    return TRUE;
}

/* Let one more user pass.  The attribute's layout is the kernel's ABI:
 * include/uapi/linux/posix_acl_xattr.h, little endian, entries in the order of their tags. */
static gboolean let_user_pass(const char *folder, uid_t uid)
{
    struct {
        guint32 version;
        struct {
            guint16 tag, perm;
            guint32 id;
        } entries[5];
    } acl = {
        GUINT32_TO_LE(2),
        {
            { GUINT16_TO_LE(0x01), GUINT16_TO_LE(7), G_MAXUINT32 },        /* owner: rwx */
            { GUINT16_TO_LE(0x02), GUINT16_TO_LE(1), GUINT32_TO_LE(uid) }, /* that user: x */
            { GUINT16_TO_LE(0x04), GUINT16_TO_LE(0), G_MAXUINT32 },        /* group: nothing */
            { GUINT16_TO_LE(0x10), GUINT16_TO_LE(1), G_MAXUINT32 },        /* mask: x */
            { GUINT16_TO_LE(0x20), GUINT16_TO_LE(0), G_MAXUINT32 },        /* others: nothing */
        },
    };

    return setxattr(folder, "system.posix_acl_access", &acl, sizeof acl, 0) == 0;
}

char *door_make(const char *daemon_socket, GError **error)
{
    const char *parent = g_getenv("TMPDIR");
    Id id = id_new();
    uid_t uid = 0;
    struct sockaddr_un address;

    if (!parent || !g_path_is_absolute(parent) ||
        strlen(parent) + strlen("/imagectl-") + ID_LEN + SOCKET_NAME_ROOM > sizeof address.sun_path)
        parent = "/tmp";
    g_autofree char *folder = g_strdup_printf("%s/imagectl-%s", parent, id.s);
    if (mkdir(folder, 0700) < 0) {
        imaged_error_set_errno(error, errno, "cannot make a folder below '%s'", parent);
        return NULL;
    }
    /* Root is not told from a service manager that listens on a daemon's behalf. */
    gboolean is_known = user_behind(daemon_socket, &uid);
    gboolean is_closed = is_known && (uid == geteuid() || (uid != 0 && let_user_pass(folder, uid)));
    if (!is_closed && chmod(folder, 0711) < 0) {
        imaged_error_set_errno(error, errno, "cannot set the mode of '%s'", folder);
        rmdir(folder);
        return NULL;
    }
    return g_steal_pointer(&folder);
}
