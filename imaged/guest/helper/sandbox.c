/* sandbox.c: the order matters: what needs rights comes before they are given away. */
#include "imaged/guest/helper/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define MEMORY_LIMIT (6 * GIB) /* of addresses: QEMU, its code cache, the guest's memory */
#define DATA_LIMIT (4 * GIB) /* of what each process of the other roles has written to */
#define FILE_LIMIT (8 * GIB)
#define MAX_FILES 4096
#define MAX_PROCESSES 1024 /* of the user, not of the process alone */

static gboolean fail(GError **error, const char *what)
{
    imaged_error_set_errno(error, errno, "the helper cannot lock itself in: %s", what);
    return FALSE;
}

/* ---- Namespaces ---- */

static int write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));

    if (fd >= 0)
        close(fd);
    return n == (ssize_t)strlen(text) ? 0 : -1;
}

/* A user namespace in which we are who we were. */
static gboolean enter_user_namespace(void)
{
    g_autofree char *uids = g_strdup_printf("%u %u 1", getuid(), getuid());
    g_autofree char *gids = g_strdup_printf("%u %u 1", getgid(), getgid());

    return unshare(CLONE_NEWUSER) == 0 && write_text("/proc/self/setgroups", "deny") == 0 &&
           write_text("/proc/self/uid_map", uids) == 0 &&
           write_text("/proc/self/gid_map", gids) == 0;
}

/* Wait for the helper and end as it ended. */
static void mirror(pid_t child)
{
    int status = 0;

    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
    }
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

static gboolean drop_rights(const SandboxSpec *spec, GError **error);

/* The first process of a pid namespace takes all others with it when it ends.  What stays outside
 * holds nothing, not even the socket, and is as unprivileged. */
static gboolean fork_into_namespace(const SandboxSpec *spec, GError **error)
{
    pid_t child = fork();

    if (child < 0)
        return fail(error, "fork");
    if (child > 0) {
        closefrom(3);
        if (!drop_rights(spec, NULL))
            _exit(1); /* its child then dies with it */
        mirror(child);
    }
    return TRUE;
}

/* *ret_has_any: there are namespaces.  Not to get them is no error: not every machine allows it. */
static gboolean enter_namespaces(const SandboxSpec *spec, gboolean *ret_has_any, GError **error)
{
    gboolean has_network = strcmp(spec->role, "fetch") == 0;
    int flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;

    *ret_has_any = FALSE;
    if (spec->is_service)
        return TRUE;
    if (!has_network)
        flags |= CLONE_NEWNET;
    if (geteuid() != 0 && !enter_user_namespace())
        return TRUE;
    if (unshare(flags) < 0)
        return TRUE;
    *ret_has_any = TRUE;
    return fork_into_namespace(spec, error);
}

/* ---- Limits and rights ---- */

static gboolean limit(int what, guint64 value, const char *name, GError **error)
{
    struct rlimit now, wanted = { value, value };

    if (getrlimit(what, &now) == 0 && now.rlim_max < value)
        wanted.rlim_cur = wanted.rlim_max = now.rlim_max;
    return setrlimit(what, &wanted) == 0 || fail(error, name);
}

static gboolean set_limits(const SandboxSpec *spec, GError **error)
{
    guint64 cpu_s = (guint64)spec->limit_ms / 1000 * g_get_num_processors() + 60;
    gboolean is_guest = strcmp(spec->role, "guest") == 0;

    umask(is_guest ? 0077 : 0007);
    return limit(RLIMIT_CORE, 0, "core size", error) &&
           limit(RLIMIT_CPU, cpu_s, "processor time", error) &&
           limit(RLIMIT_NOFILE, MAX_FILES, "files", error) &&
#ifndef __SANITIZE_ADDRESS__ /* it reserves terabytes of addresses */
           (is_guest ? limit(RLIMIT_AS, MEMORY_LIMIT, "memory", error)
                     : limit(RLIMIT_DATA, DATA_LIMIT, "memory", error)) &&
#endif
           (!is_guest || limit(RLIMIT_FSIZE, FILE_LIMIT, "file size", error)) &&
           limit(RLIMIT_NPROC, MAX_PROCESSES, "processes", error);
}

static gboolean drop_capabilities(GError **error)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct none[2] = { { 0 } };

    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); /* without CAP_SETPCAP there is nothing to drop */
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return syscall(SYS_capset, &header, none) == 0 || fail(error, "capabilities");
}

/* Without it there is no KVM: that is the task's to find out. */
static void set_groups_of_kvm(const SandboxSpec *spec, gid_t *ret_group, size_t *ret_n)
{
    struct stat st;

    *ret_n = spec->may_use_kvm && stat("/dev/kvm", &st) == 0 && st.st_gid != 0;
    *ret_group = *ret_n ? st.st_gid : 0;
}

static gboolean become(const SandboxSpec *spec, GError **error)
{
    const char *name = spec->user;
    gid_t group;
    size_t n;

    const struct passwd *user = name ? getpwnam(name) : NULL;

    if (!user || user->pw_uid == 0 || user->pw_gid == 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "the helper has no unprivileged user to become ('%s')", name ? name : "");
        return FALSE;
    }
    set_groups_of_kvm(spec, &group, &n);
    return (setgroups(n, &group) == 0 && setresgid(user->pw_gid, user->pw_gid, user->pw_gid) == 0 &&
            setresuid(user->pw_uid, user->pw_uid, user->pw_uid) == 0) ||
           fail(error, "its user");
}

static gboolean drop_rights(const SandboxSpec *spec, GError **error)
{
    /* The bounding set needs a capability to be dropped, which setresuid() takes away. */
    for (int cap = 0; geteuid() == 0 && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
    if ((geteuid() == 0 && !become(spec, error)) || !drop_capabilities(error))
        return FALSE;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return fail(error, "no new privileges");
    /* Changing the user has cleared it.  Under systemd the unit's end is the end of all. */
    if (!spec->is_service && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return fail(error, "the end of its parent");
    return TRUE;
}

gboolean sandbox_enter(const SandboxSpec *spec, gboolean *ret_has_view, GError **error)
{
    gboolean has_namespaces = FALSE;

    *ret_has_view = FALSE;
    if (strcmp(spec->role, "build") == 0 && spec->folder) {
        *ret_has_view = TRUE;
        return sandbox_enter_build(spec, error) && set_limits(spec, error) &&
               (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 || fail(error, "no new privileges")) &&
               sandbox_filter(spec->role, error);
    }
    if (!enter_namespaces(spec, &has_namespaces, error))
        return FALSE;
    if (has_namespaces && strcmp(spec->role, "build") != 0) {
        if (!sandbox_view(spec, error))
            return FALSE;
        *ret_has_view = TRUE;
    }
    return set_limits(spec, error) && drop_rights(spec, error) && sandbox_filter(spec->role, error);
}
