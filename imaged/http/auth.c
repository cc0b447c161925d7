/* auth.c: see auth.h. */
#include "imaged/http/auth.h"

#include <sys/socket.h>
#include <unistd.h>

#include "imaged/base/error.h"

Caller *auth_caller(World *world, struct MHD_Connection *c, GError **error)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct ucred peer = { .uid = (uid_t)-1 };
    socklen_t len = sizeof peer;

    if (!info || getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED, "who asks is not known");
        return NULL;
    }
    Db *db = catalog_read_begin(world->catalog);
    Caller *caller = caller_new_local(db, peer.uid, error);
    catalog_read_end(world->catalog, db);
    return caller;
}
