/* deadline.c: a plugin is not told the socket of its connection, so it is looked for: the one whose
 * peer is ours.  That is unambiguous for TCP.  Peers of a unix socket have no names; they are our
 * own group on this machine, and are not watched.
 *
 * The table goes by descriptor.  nbdkit closes the socket of a failed handshake without a word; the
 * next connection that gets its number replaces the entry. */
#include "cow/nbdkit/deadline.h"

#include <glib.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#define LIMIT_US (10 * G_USEC_PER_SEC)
#define STEP_US G_USEC_PER_SEC
#define MAX_FDS 4096

static GMutex lock;
static gint64 begun_us[MAX_FDS]; /* by descriptor; 0 = nothing to watch */
static __thread int my_fd = -1;

static gpointer watch(gpointer unused)
{
    for (;;) {
        g_usleep(STEP_US);
        gint64 now = g_get_monotonic_time();
        g_mutex_lock(&lock);
        for (int fd = 0; fd < MAX_FDS; fd++) {
            if (begun_us[fd] && now - begun_us[fd] > LIMIT_US) {
                shutdown(fd, SHUT_RDWR);
                begun_us[fd] = 0;
            }
        }
        g_mutex_unlock(&lock);
    }
    return NULL;
}

int deadline_start(void)
{
    GThread *thread = g_thread_try_new("deadline", watch, NULL, NULL);

    if (!thread)
        return EAGAIN;
    g_thread_unref(thread);
    return 0;
}

void deadline_begin(void)
{
    struct sockaddr_storage mine = { 0 }, peer;
    socklen_t my_len = sizeof mine;

    my_fd = -1;
    if (nbdkit_peer_name((struct sockaddr *)&mine, &my_len) < 0 ||
        (mine.ss_family != AF_INET && mine.ss_family != AF_INET6))
        return;
    for (int fd = 3; fd < MAX_FDS; fd++) {
        socklen_t len = sizeof peer;
        memset(&peer, 0, sizeof peer);
        if (getpeername(fd, (struct sockaddr *)&peer, &len) < 0 || len != my_len ||
            memcmp(&peer, &mine, len) != 0)
            continue;
        g_mutex_lock(&lock);
        begun_us[fd] = g_get_monotonic_time();
        g_mutex_unlock(&lock);
        my_fd = fd;
        return;
    }
}

void deadline_met(void)
{
    if (my_fd < 0)
        return;
    g_mutex_lock(&lock);
    begun_us[my_fd] = 0;
    g_mutex_unlock(&lock);
    my_fd = -1;
}
