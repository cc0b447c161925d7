/* auth.c: see auth.h. */
#include "imaged/http/auth.h"

#include <string.h>
#include <sys/socket.h>

#include "broker/access/tokens.h"
#include "imaged/base/error.h"
#include "imaged/http/listen.h"

#define BEARER "Bearer "

static Caller *local_caller(World *world, int fd, GError **error)
{
    struct ucred peer = { .uid = (uid_t)-1 };
    socklen_t len = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.uid == (uid_t)-1) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED, "who asks is not known");
        return NULL;
    }
    Db *db = catalog_read_begin(world->catalog);
    Caller *caller = caller_new_local(db, peer.uid, error);
    catalog_read_end(world->catalog, db);
    return caller;
}

Caller *auth_caller(World *world, struct MHD_Connection *c, char **ret_address, GError **error)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    const char *given = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Authorization");

    *ret_address = info ? listen_peer_address(info->connect_fd) : NULL;
    if (info && !*ret_address)
        return local_caller(world, info->connect_fd, error);
    if (!info || !given || g_ascii_strncasecmp(given, BEARER, strlen(BEARER)) != 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED, "nobody has logged in");
        imaged_error_hint(error, "imagectl login NAME --url URL, or --token-file FILE");
        return NULL;
    }
    return token_caller(world->catalog, given + strlen(BEARER), *ret_address, error);
}
