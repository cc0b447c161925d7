/* ping.c: is the helper there, and what is it allowed?  Waits delay_ms first, so that tests have
 * the time to look at it from outside. */
#include <errno.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/guest/helper/tasks.h"

/* 0 or errno. */
static int try_socket(int domain)
{
    int fd = socket(domain, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return errno;
    close(fd);
    return 0;
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
    return json_pack("{s:i, s:b, s:b, s:b, s:i, s:s}", "uid", (int)getuid(), "no_new_privs",
                     prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "may_use_inet",
                     try_socket(AF_INET) == 0, "may_use_unix", try_socket(AF_UNIX) == 0,
                     "n_disks_reached", (int)n_reached, "version", IMAGED_VERSION);
}
