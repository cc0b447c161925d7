/* export_address.c: see export_address.h. */
#include "cow/export_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"

#define BACKLOG 128
#define KEEPALIVE_S 60 /* a peer that is gone is noticed after about three times that */
#define MAX_PSK_LINE 2048

void export_address_clear(ExportAddress *a)
{
    g_free(a->host);
    *a = (ExportAddress){ 0 };
}

static gboolean parse_port(const char *text, guint16 *ret)
{
    char *end;
    guint64 n = g_ascii_strtoull(text, &end, 10);

    *ret = (guint16)n;
    return g_ascii_isdigit(*text) && !*end && n <= G_MAXUINT16;
}

gboolean export_address_parse(const char *text, ExportAddress *ret, GError **error)
{
    const char *colon = strrchr(text, ':');
    gsize len = colon ? (gsize)(colon - text) : 0;
    struct in6_addr scratch;

    *ret = (ExportAddress){ .is_v6 = *text == '[' };
    if (ret->is_v6 && len >= 2 && text[len - 1] == ']')
        ret->host = g_strndup(text + 1, len - 2);
    else if (!ret->is_v6)
        ret->host = g_strndup(text, len);
    if (g_strcmp0(ret->host, "localhost") == 0) {
        g_free(ret->host);
        ret->host = g_strdup("127.0.0.1");
    }
    if (colon && ret->host && parse_port(colon + 1, &ret->port) &&
        inet_pton(ret->is_v6 ? AF_INET6 : AF_INET, ret->host, &scratch) == 1)
        return TRUE;
    g_autofree char *shown = text_for_message(text, 60);
    export_address_clear(ret);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is not an address and a port",
                shown);
    imaged_error_hint(error, "write it like 192.0.2.7:10809 or [2001:db8::7]:10809");
    return FALSE;
}

char *export_address_text(const ExportAddress *a)
{
    return g_strdup_printf(a->is_v6 ? "[%s]:%u" : "%s:%u", a->host, a->port);
}

static socklen_t fill(const ExportAddress *a, struct sockaddr_storage *ret)
{
    memset(ret, 0, sizeof *ret);
    if (a->is_v6) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(a->port);
        inet_pton(AF_INET6, a->host, &v6->sin6_addr);
        return sizeof *v6;
    }
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
    v4->sin_family = AF_INET;
    v4->sin_port = htons(a->port);
    inet_pton(AF_INET, a->host, &v4->sin_addr);
    return sizeof *v4;
}

/* What accepted sockets inherit, and what lets a restarted daemon listen at once. */
static void set_options(int fd, gboolean is_v6)
{
    const int on = 1, idle = KEEPALIVE_S, interval = KEEPALIVE_S / 3, count = 6;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    if (is_v6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
}

int export_listen_tcp(ExportAddress *a, GError **error)
{
    struct sockaddr_storage address;
    socklen_t len = fill(a, &address);
    g_autofree char *text = export_address_text(a);
    auto_fd fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0)
        set_options(fd, a->is_v6);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, BACKLOG) < 0) {
        if (errno == EADDRNOTAVAIL)
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                        "cannot listen on %s: it is not an address of this machine", text);
        else if (errno == EADDRINUSE)
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                        "cannot listen on %s: something else listens there", text);
        else
            imaged_error_set_errno(error, errno, "cannot listen on %s", text);
        return -1;
    }
    len = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &len) == 0)
        a->port = ntohs(a->is_v6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                 : ((struct sockaddr_in *)&address)->sin_port);
    int result = fd;
    fd = -1;
    return result;
}

int export_listen_unix(const char *path, const char *group, GError **error)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct group *entry = group && *group ? getgrnam(group) : NULL;

    if (strlen(path) >= sizeof address.sun_path) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the socket's path is too long: %s",
                    path);
        imaged_error_hint(error, "choose a shorter state folder (a path has at most 107 bytes),"
                                 " or export over TCP");
        return -1;
    }
    strcpy(address.sun_path, path);
    if (!durable_unlink(-1, path, error))
        return -1;
    auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        chmod(path, 0660) < 0 || (entry && chown(path, (uid_t)-1, entry->gr_gid) < 0) ||
        listen(fd, BACKLOG) < 0) {
        imaged_error_set_errno(error, errno, "cannot listen on '%s'", path);
        return -1;
    }
    int result = fd;
    fd = -1;
    return result;
}

/* ---- Names for clients ---- */

static gboolean is_any(const ExportAddress *a)
{
    return g_str_equal(a->host, a->is_v6 ? "::" : "0.0.0.0");
}

char *export_uri(const char *name, const char *path, const ExportAddress *a, const char *user)
{
    /* What RFC 3986 lets stand in a path; '@' and ':' keep names readable. */
    g_autofree char *escaped = g_uri_escape_string(name, ":@", FALSE);

    if (path) {
        g_autofree char *where = g_uri_escape_string(path, "/", FALSE);
        return g_strdup_printf("nbd+unix:///%s?socket=%s", escaped, where);
    }
    g_autofree char *who = user ? g_uri_escape_string(user, NULL, FALSE) : NULL;
    const char *host = is_any(a) ? g_get_host_name() : a->host;
    gboolean has_colon = strchr(host, ':') != NULL;
    return g_strdup_printf("nbds://%s%s%s%s%s:%u/%s", who ? who : "", who ? "@" : "",
                           has_colon ? "[" : "", host, has_colon ? "]" : "", a->port, escaped);
}

static gboolean is_psk_line(const char *line, char **ret_user)
{
    const char *colon = strchr(line, ':');
    gsize n = colon ? strlen(colon + 1) : 0;

    if (!colon || colon == line || n < 32 || n % 2 || strlen(line) > MAX_PSK_LINE)
        return FALSE;
    for (const char *c = colon + 1; *c; c++) {
        if (!g_ascii_isxdigit(*c))
            return FALSE;
    }
    *ret_user = g_strndup(line, (gsize)(colon - line));
    return g_utf8_validate(*ret_user, -1, NULL);
}

gboolean export_psk_check(const char *text, char **ret_user, GError **error)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    guint n = 0;

    *ret_user = NULL;
    for (guint i = 0; lines[i]; i++) {
        char *line = g_strchomp(lines[i]), *user = NULL;
        if (!*line || *line == '#')
            continue;
        gboolean is_good = is_psk_line(line, &user);
        g_free(*ret_user);
        *ret_user = user;
        if (!is_good) {
            g_clear_pointer(ret_user, g_free);
            /* The line itself is a secret. */
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                        "line %u of the pre-shared keys is not USER:KEY with a key of at least 32"
                        " hexadecimal digits",
                        i + 1);
            imaged_error_hint(error, "make one with: psktool -u USER -p FILE");
            return FALSE;
        }
        n++;
    }
    if (n == 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "there are no pre-shared keys");
        imaged_error_hint(error, "make one with: psktool -u USER -p FILE");
        return FALSE;
    }
    if (n > 1)
        g_clear_pointer(ret_user, g_free);
    return TRUE;
}
