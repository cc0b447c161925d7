/* listen.c: see listen.h. */
#include "imaged/http/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"

int listen_unix(const char *path, const char *group, GError **error)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct group *entry = group && *group ? getgrnam(group) : NULL;
    auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (strlen(path) >= sizeof address.sun_path) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the socket's path is too long: %s",
                    path);
        imaged_error_hint(error, "choose a shorter state folder (a path has at most 107 bytes)");
        return -1;
    }
    if (group && *group && !entry) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "there is no group '%s'", group);
        return -1;
    }
    strcpy(address.sun_path, path);
    unlink(path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        chmod(path, 0660) < 0 || (entry && chown(path, (uid_t)-1, entry->gr_gid) < 0) ||
        listen(fd, 128) < 0) {
        imaged_error_set_errno(error, errno, "cannot listen on '%s'", path);
        return -1;
    }
    int result = fd;
    fd = -1;
    return result;
}

/* "HOST:PORT" into its parts.  FALSE: it is none. */
static gboolean split(const char *text, char **ret_host, char **ret_port)
{
    const char *colon = strrchr(text, ':');
    gsize len = colon ? (gsize)(colon - text) : 0;

    if (len == 0 || !colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1))
        return FALSE;
    if (*text == '[' && text[len - 1] == ']' && len > 2)
        *ret_host = g_strndup(text + 1, len - 2);
    else if (!memchr(text, ':', len))
        *ret_host = g_strndup(text, len);
    else
        return FALSE;
    *ret_port = g_strdup(colon + 1);
    return TRUE;
}

static int listen_at(const struct addrinfo *at)
{
    auto_fd fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int yes = 1, no = 0;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0)
        return -1;
    if (at->ai_family == AF_INET6) /* "*": IPv4 too */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    if (bind(fd, at->ai_addr, at->ai_addrlen) < 0 || listen(fd, 1024) < 0)
        return -1;
    int result = fd;
    fd = -1;
    return result;
}

int listen_tcp(const char *address, GError **error)
{
    struct addrinfo want = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    struct addrinfo *found = NULL;
    g_autofree char *host = NULL;
    g_autofree char *port = NULL;
    int fd = -1;

    if (!split(address, &host, &port)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "'%.80s' is not HOST:PORT, [IPv6]:PORT or *:PORT", address);
        return -1;
    }
    gboolean is_any = g_str_equal(host, "*");
    int result = getaddrinfo(is_any ? "::" : host, port, &want, &found);
    if (result != 0 && is_any)
        result = getaddrinfo("0.0.0.0", port, &want, &found);
    if (result != 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "cannot listen on '%.80s': %s",
                    address, gai_strerror(result));
        return -1;
    }
    for (const struct addrinfo *at = found; at && fd < 0; at = at->ai_next)
        fd = listen_at(at);
    if (fd < 0)
        imaged_error_set_errno(error, errno, "cannot listen on '%s'", address);
    freeaddrinfo(found);
    return fd;
}

char *listen_peer_address(int fd)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;
    char text[INET6_ADDRSTRLEN] = "";

    if (getpeername(fd, (struct sockaddr *)&peer, &len) < 0)
        return NULL;
    if (peer.ss_family == AF_INET)
        inet_ntop(AF_INET, &((struct sockaddr_in *)&peer)->sin_addr, text, sizeof text);
    else if (peer.ss_family == AF_INET6)
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&peer)->sin6_addr, text, sizeof text);
    else
        return NULL;
    return g_strdup(g_str_has_prefix(text, "::ffff:") ? text + strlen("::ffff:") : text);
}
