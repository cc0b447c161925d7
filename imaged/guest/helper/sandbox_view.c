/* sandbox_view.c: a small file system in memory becomes the root; what the helper needs is bound
 * into it, read-only but for what it may write.  Sources are opened first, because what is mounted
 * on the way may hide them. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/guest/helper/sandbox.h"

#define BASE "/tmp" /* where the new root is put together */
#define TMP_OPTIONS "mode=1777,size=1g,nr_inodes=10k"
#define ROOT_OPTIONS "mode=755,size=16m,nr_inodes=1k"

typedef struct {
    const char *source; /* NULL: not wanted */
    const char *target; /* below the new root */
    unsigned long flags;
    gboolean may_lack;
    int fd;
} Bind;

#define LOCKED (MS_NOSUID | MS_RDONLY)

static gboolean fail(GError **error, const char *what, const char *name)
{
    imaged_error_set_errno(error, errno, "the helper cannot make its view of the files: %s %s",
                           what, name);
    return FALSE;
}

static gboolean make_target(const char *path, gboolean is_dir, GError **error)
{
    g_autofree char *above = g_path_get_dirname(path);

    if (g_mkdir_with_parents(is_dir ? path : above, 0755) < 0)
        return fail(error, "make", path);
    if (is_dir)
        return TRUE;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return fail(error, "make", path);
    close(fd);
    return TRUE;
}

static gboolean bind_one(const Bind *b, GError **error)
{
    g_autofree char *target = g_strconcat(BASE, b->target, NULL);
    g_autofree char *source = g_strdup_printf("/proc/self/fd/%d", b->fd);
    struct stat st;

    if (b->fd < 0)
        return TRUE;
    if (fstat(b->fd, &st) < 0)
        return fail(error, "look at", b->target);
    /* In a user namespace some flags of the source cannot be taken off, but none needs to be. */
    if (!make_target(target, S_ISDIR(st.st_mode), error) ||
        mount(source, target, NULL, MS_BIND | MS_REC, NULL) < 0)
        return error && *error ? FALSE : fail(error, "bind", b->target);
    if (b->flags &&
        mount(NULL, target, NULL, MS_BIND | MS_REMOUNT | MS_NODEV | b->flags, NULL) < 0 &&
        mount(NULL, target, NULL, MS_BIND | MS_REMOUNT | MS_NODEV | MS_NOATIME | b->flags, NULL) <
            0 &&
        mount(NULL, target, NULL, MS_BIND | MS_REMOUNT | MS_NODEV | MS_RELATIME | b->flags, NULL) <
            0)
        return fail(error, "lock", b->target);
    return TRUE;
}

/* /bin and its like are links into /usr. */
static gboolean copy_links(GError **error)
{
    static const char *const names[] = { "bin", "sbin", "lib", "lib32", "lib64", "libx32" };

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *from = g_strconcat("/", names[i], NULL);
        g_autofree char *to = g_strconcat(BASE "/", names[i], NULL);
        char text[256];
        ssize_t n = readlink(from, text, sizeof text - 1);
        if (n <= 0)
            continue;
        text[n] = '\0';
        if (symlink(text, to) < 0)
            return fail(error, "link", from);
    }
    return TRUE;
}

static gboolean mount_special(GError **error)
{
    if (!make_target(BASE "/tmp", TRUE, error) || !make_target(BASE "/proc", TRUE, error) ||
        !make_target(BASE "/var", TRUE, error))
        return FALSE;
    if (mount("tmpfs", BASE "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, TMP_OPTIONS) < 0)
        return fail(error, "mount", "/tmp");
    /* Where a fresh one is refused the old one serves. */
    if (mount("proc", BASE "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0 &&
        mount("/proc", BASE "/proc", NULL, MS_BIND | MS_REC, NULL) < 0)
        return fail(error, "mount", "/proc");
    /* QEMU takes /var/tmp where it is told /tmp. */
    return (symlink("/proc/self/fd", BASE "/dev/fd") == 0 &&
            symlink("/tmp", BASE "/var/tmp") == 0) ||
           fail(error, "link", "/dev/fd, /var/tmp");
}

static gboolean change_root(GError **error)
{
    if (chdir(BASE) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 ||
        chdir("/") < 0)
        return fail(error, "enter", "the new root");
    if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0)
        return fail(error, "lock", "the new root");
    return TRUE;
}

gboolean sandbox_view(const SandboxSpec *spec, GError **error)
{
    Bind binds[] = {
        { "/usr", "/usr", LOCKED, FALSE, -1 },
        { "/etc/ld.so.cache", "/etc/ld.so.cache", LOCKED, TRUE, -1 },
        { "/etc/alternatives", "/etc/alternatives", LOCKED, TRUE, -1 },
        { "/etc/passwd", "/etc/passwd", LOCKED, FALSE, -1 },
        { "/etc/group", "/etc/group", LOCKED, FALSE, -1 },
        { "/etc/nsswitch.conf", "/etc/nsswitch.conf", LOCKED, TRUE, -1 },
        { "/dev/null", "/dev/null", 0, FALSE, -1 },
        { "/dev/zero", "/dev/zero", 0, FALSE, -1 },
        { "/dev/full", "/dev/full", 0, TRUE, -1 },
        { "/dev/random", "/dev/random", 0, FALSE, -1 },
        { "/dev/urandom", "/dev/urandom", 0, FALSE, -1 },
        { "/dev/kvm", "/dev/kvm", 0, TRUE, -1 },
        { spec->disks, SANDBOX_DISKS, 0, FALSE, -1 },
        { spec->appliance, SANDBOX_APPLIANCE, LOCKED, FALSE, -1 },
        { spec->folder, SANDBOX_FOLDER, MS_NOSUID, FALSE, -1 },
    };
    gboolean ok = TRUE;

    umask(022); /* the helper's user has to get through; set_limits() sets its own */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return fail(error, "detach", "/");
    for (guint i = 0; ok && i < G_N_ELEMENTS(binds); i++) {
        if (!binds[i].source)
            continue;
        binds[i].fd = open(binds[i].source, O_PATH | O_CLOEXEC);
        if (binds[i].fd < 0 && !binds[i].may_lack)
            ok = fail(error, "open", binds[i].source);
    }
    if (ok && mount("tmpfs", BASE, "tmpfs", MS_NOSUID | MS_NODEV, ROOT_OPTIONS) < 0)
        ok = fail(error, "mount", "the new root");
    ok = ok && copy_links(error);
    for (guint i = 0; ok && i < G_N_ELEMENTS(binds); i++)
        ok = bind_one(&binds[i], error);
    for (guint i = 0; i < G_N_ELEMENTS(binds); i++) {
        if (binds[i].fd >= 0)
            close(binds[i].fd);
    }
    return ok && mount_special(error) && change_root(error);
}
