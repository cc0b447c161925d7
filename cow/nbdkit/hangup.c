/* hangup.c: a client that goes away in the middle of its requests ends its connection alone.
 *
 * nbdkit 1.32 (fixed in later versions) closes its side when one thread finds the client gone, and
 * when another thread of the connection then sends its reply, an assertion ends the whole server,
 * for all clients.  So this plugin is preloaded too (LD_PRELOAD, see cow/export_command.c), and
 * what is sent to a client that has gone counts as sent: nbdkit then learns of it by the end of
 * what it receives, and closes in order.  That end is told a moment later, so that replies under
 * way are over by then. */
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))
#define MOMENT_NS 100000000L

static int is_hangup(int err)
{
    return err == EPIPE || err == ECONNRESET;
}

EXPORTED ssize_t send(int fd, const void *buffer, size_t len, int flags)
{
    ssize_t n = syscall(SYS_sendto, fd, buffer, len, flags | MSG_NOSIGNAL, NULL, 0);

    return n < 0 && is_hangup(errno) ? (ssize_t)len : n;
}

EXPORTED ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    ssize_t n = syscall(SYS_sendmsg, fd, message, flags | MSG_NOSIGNAL), len = 0;

    if (n >= 0 || !is_hangup(errno))
        return n;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        len += (ssize_t)message->msg_iov[i].iov_len;
    return len;
}

/* n is what a read of fd gave. */
static ssize_t after_receiving(int fd, ssize_t n, size_t len)
{
    const struct timespec moment = { 0, MOMENT_NS };
    int is_listening, err = errno;
    socklen_t size = sizeof is_listening;

    if (n > 0 || len == 0 || (n < 0 && !is_hangup(err)) ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) < 0) {
        errno = err;
        return n;
    }
    nanosleep(&moment, NULL);
    return 0;
}

EXPORTED ssize_t read(int fd, void *buffer, size_t len)
{
    return after_receiving(fd, syscall(SYS_read, fd, buffer, len), len);
}

EXPORTED ssize_t recv(int fd, void *buffer, size_t len, int flags)
{
    return after_receiving(fd, syscall(SYS_recvfrom, fd, buffer, len, flags, NULL, NULL), len);
}
