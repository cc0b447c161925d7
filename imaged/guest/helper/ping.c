/* ping.c: is the helper there, and what is it allowed?  Waits delay_ms first, so that tests have
 * the time to look at it from outside. */
#include <errno.h>
#include <linux/netlink.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/guest/helper/tasks.h"

/* 0 or errno. */
static int try_socket(int domain, int type, int protocol)
{
    int fd = socket(domain, type | SOCK_CLOEXEC, protocol);

    if (fd < 0)
        return errno;
    close(fd);
    return 0;
}

/* Families, and kinds of netlink, that nobody has refused: the kernel may have said no to some. */
static int count_unusual(void)
{
    int n = 0;

    for (int family = 0; family < AF_MAX; family++) {
        gboolean is_usual = family == AF_UNIX || family == AF_INET || family == AF_INET6;
        if (!is_usual && family != AF_NETLINK)
            n += try_socket(family, SOCK_RAW, 0) != EAFNOSUPPORT;
    }
    for (int protocol = NETLINK_ROUTE + 1; protocol < MAX_LINKS; protocol++)
        n += try_socket(AF_NETLINK, SOCK_RAW, protocol) != EAFNOSUPPORT;
    return n;
}

json_t *task_ping(Task *task, GError **error)
{
    gint64 delay_ms = task_int(task, "delay_ms", 0);
    guint n_reached = 0;

    task_progress(task, 0, 1, "here");
    g_usleep((gulong)CLAMP(delay_ms, 0, 3600000) * 1000);
    for (guint i = 0; i < task_n_disks(task); i++)
        n_reached += access(task_disk_socket(task, i), R_OK | W_OK) == 0;
    task_progress(task, 1, 1, "there");
    return json_pack("{s:i, s:b, s:b, s:b, s:b, s:i, s:i, s:s}", "uid", (int)getuid(),
                     "no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "may_use_inet",
                     try_socket(AF_INET, SOCK_STREAM, 0) == 0, "may_use_unix",
                     try_socket(AF_UNIX, SOCK_STREAM, 0) == 0, "may_use_netlink",
                     try_socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE) == 0, "n_unusual_families",
                     count_unusual(), "n_disks_reached", (int)n_reached, "version", IMAGED_VERSION);
}
