/* sandbox_build.c: where role build does its work: what packages and recipes bring runs in there.
 *
 *   outside -> keeper (owns the new namespaces, but is no part of the process one) -> the task
 *
 * The task is process 1 and root, over a range of user numbers that nobody on the host has, with no
 * network and no other process; what files it sees is sandbox_build_view.c's.  When the helper ends
 * or is killed, all that runs in there is killed with it.
 *
 * The keeper waits until its numbers are mapped from outside: by root, who writes the map, else by
 * newuidmap(1) from /etc/subuid.  0 to 65535 are the range, OUTSIDE is the helper's own user, so
 * that root in there may use the folder that belongs to it.  What lies in that folder may have been
 * put there by a hostile helper of another role: nothing in it is opened, made or given away out
 * here. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/guest/helper/program.h"
#include "imaged/guest/helper/sandbox.h"

#define RANGE_LEN 65536u
#define RANGE_START 1878982656u /* the last range that systemd leaves to containers */
#define OUTSIDE RANGE_LEN

typedef struct {
    const SandboxSpec *spec;
    uid_t uid; /* of the helper's user */
    gid_t gid;
    int ready[2], go[2];
} Stage;

gboolean sandbox_build_failed(GError **error, const char *what)
{
    imaged_error_set_errno(error, errno, "cannot set up the build's namespace: %s", what);
    return FALSE;
}

/* ---- The processes ---- */

/* Ends as the one below it ended. */
static G_GNUC_NORETURN void wait_and_end(pid_t pid)
{
    int status = 0;

    closefrom(3);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

/* Returns in process 1. */
static gboolean begin_inside(Stage *s, GError **error)
{
    char byte = 0;

    /* The keeper's end is ours; had it ended before that was said, nobody says go. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (read(s->go[0], &byte, 1) != 1)
        _exit(1);
    durable_close(&s->go[0]);
    durable_close(&s->ready[1]);
    return sandbox_build_view(s->spec, error);
}

/* In the keeper: returns in its child, or with an error. */
static gboolean keep(Stage *s, GError **error)
{
    char byte = 'm';

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(s->gid, s->gid, s->gid) < 0 ||
                           setresuid(s->uid, s->uid, s->uid) < 0))
        return sandbox_build_failed(error, "its user");
    prctl(PR_SET_DUMPABLE, 1);        /* else /proc/PID/uid_map would be root's */
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* which a change of user forgets */
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
                CLONE_NEWUTS | CLONE_NEWCGROUP) < 0) {
        sandbox_build_failed(error, "unshare");
        imaged_error_hint(error, "are user namespaces allowed? sysctl"
                                 " kernel.unprivileged_userns_clone user.max_user_namespaces");
        return FALSE;
    }
    if (write(s->ready[1], &byte, 1) != 1 || read(s->go[0], &byte, 1) != 1)
        _exit(1); /* whoever did not say go says why */
    const gid_t outside = OUTSIDE;
    if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0 || setgroups(1, &outside) < 0)
        return sandbox_build_failed(error, "its numbers");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pid_t pid = fork();
    if (pid < 0)
        return sandbox_build_failed(error, "fork");
    if (pid > 0)
        wait_and_end(pid);
    return begin_inside(s, error);
}

static gboolean write_map(pid_t pid, const char *name, guint outside, GError **error)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/%s", (int)pid, name);
    g_autofree char *text =
        g_strdup_printf("0 %u %u\n%u %u 1\n", RANGE_START, RANGE_LEN, OUTSIDE, outside);
    auto_fd fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text))
        return TRUE;
    return sandbox_build_failed(error, path);
}

/* The first range of /etc/subuid or /etc/subgid that is ours. */
static gboolean find_range(const char *file, guint *ret_start, GError **error)
{
    const struct passwd *me = getpwuid(geteuid());
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    if (g_file_get_contents(file, &text, NULL, NULL))
        lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; me && lines && lines[i]; i++) {
        g_auto(GStrv) parts = g_strsplit(lines[i], ":", 3);
        guint n = g_strv_length(parts);
        if (n == 3 && g_str_equal(parts[0], me->pw_name) &&
            g_ascii_strtoull(parts[2], NULL, 10) >= RANGE_LEN) {
            *ret_start = (guint)g_ascii_strtoull(parts[1], NULL, 10);
            return TRUE;
        }
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                "'%s' has no %u numbers for the user '%s', whom builds run as", file, RANGE_LEN,
                me ? me->pw_name : "?");
    imaged_error_hint(error,
                      "usermod --add-subuids 1000000-1065535 --add-subgids 1000000-1065535"
                      " %s",
                      me ? me->pw_name : "USER");
    return FALSE;
}

static gboolean run_mapper(const char *program, pid_t pid, const char *file, guint outside,
                           GError **error)
{
    guint start;

    if (!find_range(file, &start, error))
        return FALSE;
    g_autofree char *process = g_strdup_printf("%d", (int)pid);
    g_autofree char *first = g_strdup_printf("%u", start);
    g_autofree char *own = g_strdup_printf("%u", outside);
    return program_run_args(NULL, error, program, process, "0", first, G_STRINGIFY(65536),
                            G_STRINGIFY(65536), own, "1", NULL);
}

static gboolean map_numbers(const Stage *s, pid_t pid, GError **error)
{
    if (geteuid() == 0)
        return write_map(pid, "uid_map", s->uid, error) && write_map(pid, "gid_map", s->gid, error);
    return run_mapper("newuidmap", pid, "/etc/subuid", s->uid, error) &&
           run_mapper("newgidmap", pid, "/etc/subgid", s->gid, error);
}

static gboolean find_user(Stage *s, GError **error)
{
    const struct passwd *user = s->spec->user ? getpwnam(s->spec->user) : NULL;
    struct stat st;

    s->uid = geteuid();
    s->gid = getegid();
    if (geteuid() != 0)
        return TRUE;
    if (!user || user->pw_uid == 0 || user->pw_gid == 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "a build needs an unprivileged user to become");
        return FALSE;
    }
    s->uid = user->pw_uid;
    /* The folder's group: under systemd it belongs to imaged, and its group is what lets us in. */
    s->gid = stat(s->spec->folder, &st) == 0 && st.st_gid != 0 ? st.st_gid : user->pw_gid;
    return TRUE;
}

/* Outside: map, then only wait. */
static gboolean look_after(Stage *s, pid_t keeper, GError **error)
{
    char byte;

    durable_close(&s->ready[1]);
    durable_close(&s->go[0]);
    /* Nothing to read: the keeper has failed, and has said so.  Two bytes: one is its own, the
     * other for process 1. */
    if (read(s->ready[0], &byte, 1) == 1 &&
        (!map_numbers(s, keeper, error) || write(s->go[1], "go", 2) != 2)) {
        kill(keeper, SIGKILL);
        return FALSE;
    }
    if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(s->gid, s->gid, s->gid) < 0 ||
                           setresuid(s->uid, s->uid, s->uid) < 0))
        _exit(1);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    wait_and_end(keeper);
}

gboolean sandbox_enter_build(const SandboxSpec *spec, GError **error)
{
    Stage s = { .spec = spec, .ready = { -1, -1 }, .go = { -1, -1 } };

    if (!spec->folder) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "a build needs a folder");
        return FALSE;
    }
    if (!find_user(&s, error))
        return FALSE;
    if (pipe2(s.ready, O_CLOEXEC) < 0 || pipe2(s.go, O_CLOEXEC) < 0)
        return sandbox_build_failed(error, "pipes");
    pid_t keeper = fork();
    if (keeper < 0)
        return sandbox_build_failed(error, "fork");
    if (keeper > 0)
        return look_after(&s, keeper, error);
    durable_close(&s.ready[0]);
    durable_close(&s.go[1]);
    return keep(&s, error);
}
