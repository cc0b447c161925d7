/* sandbox_build_view.c: what files a build sees: /usr of the host (read only, without /usr/local),
 * an /etc, a /proc and a /dev of its own, and the run's folder; nothing else of the host's file
 * system.
 *
 * The view grows on top of the host's /tmp, in a mount namespace that nobody else sees.  The folder
 * is bound as it is: what lies in it may be hostile, and nothing in it is opened or made here. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/guest/helper/sandbox.h"

#define VIEW "/tmp" /* covered, in a mount namespace of our own; as in sandbox_view.c */

static char *below(const char *path)
{
    return g_build_filename(VIEW, path, NULL);
}

static gboolean bind(const char *from, const char *to, gboolean is_writable, GError **error)
{
    g_autofree char *target = below(to);
    unsigned long flags = MS_NOSUID | MS_NODEV;
    struct stat st;

    if (stat(from, &st) < 0)
        return sandbox_build_failed(error, from);
    if (S_ISDIR(st.st_mode)) {
        mkdir(target, 0755);
    } else {
        int fd = open(target, O_CREAT | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0644);
        durable_close(&fd);
    }
    if (mount(from, target, NULL, MS_BIND, NULL) < 0)
        return sandbox_build_failed(error, from);
    /* What the outer mount forbids cannot be allowed; what we forbid is added to that. */
    if (is_writable)
        return TRUE;
    if (mount(NULL, target, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | flags, NULL) == 0 ||
        mount(NULL, target, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | flags | MS_NOEXEC, NULL) ==
            0 ||
        mount(NULL, target, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | flags | MS_RELATIME, NULL) ==
            0)
        return TRUE;
    return sandbox_build_failed(error, "a read-only mount");
}

static gboolean make_text(const char *path, const char *text, GError **error)
{
    g_autofree char *target = below(path);
    auto_fd fd = open(target, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

    return fd >= 0 ? durable_write(fd, text, strlen(text), 0, error)
                   : sandbox_build_failed(error, path);
}

static gboolean make_usr(GError **error)
{
    static const char *const tops[] = { "bin", "sbin", "lib", "lib32", "lib64", "libx32" };
    g_autofree char *local = below("usr/local");

    if (!bind("/usr", "usr", FALSE, error))
        return FALSE;
    for (guint i = 0; i < G_N_ELEMENTS(tops); i++) {
        g_autofree char *host = g_strconcat("/", tops[i], NULL);
        g_autofree char *link = g_file_read_link(host, NULL);
        g_autofree char *path = below(tops[i]);
        if (link && symlink(link, path) < 0)
            return sandbox_build_failed(error, path);
        if (!link && g_file_test(host, G_FILE_TEST_IS_DIR) && !bind(host, tops[i], FALSE, error))
            return FALSE;
    }
    if (mount("none", local, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV, "size=4k") < 0)
        return sandbox_build_failed(error, "/usr/local");
    return TRUE;
}

static gboolean make_etc(GError **error)
{
    static const char *const files[] = { "/etc/ld.so.cache", "/etc/mke2fs.conf",
                                         "/etc/alternatives", "/etc/debian_version" };
    static const char *const folders[] = { "etc",
                                           "etc/apt",
                                           "etc/apt/apt.conf.d",
                                           "etc/apt/preferences.d",
                                           "etc/apt/trusted.gpg.d",
                                           "etc/dpkg",
                                           "etc/dpkg/dpkg.cfg.d" };

    for (guint i = 0; i < G_N_ELEMENTS(folders); i++) {
        g_autofree char *path = below(folders[i]);
        if (mkdir(path, 0755) < 0)
            return sandbox_build_failed(error, folders[i]);
    }
    for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
        if (g_file_test(files[i], G_FILE_TEST_EXISTS) &&
            !bind(files[i], files[i] + 1, FALSE, error))
            return FALSE;
    }
    return make_text("etc/passwd",
                     "root:x:0:0:root:/root:/bin/sh\n_apt:x:42:65534::/nonexistent:/bin/false\n"
                     "nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
                     error) &&
           make_text("etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n", error) &&
           make_text("etc/hosts", "127.0.0.1 localhost\n", error);
}

static gboolean make_dev(GError **error)
{
    static const char *const devices[] = { "null", "zero", "full", "random", "urandom", "tty" };
    static const char *const links[][2] = { { "/proc/self/fd", "dev/fd" },
                                            { "/proc/self/fd/0", "dev/stdin" },
                                            { "/proc/self/fd/1", "dev/stdout" },
                                            { "/proc/self/fd/2", "dev/stderr" },
                                            { "pts/ptmx", "dev/ptmx" } };
    g_autofree char *dev = below("dev"), *pts = below("dev/pts"), *shm = below("dev/shm");
    g_autofree char *console = below("dev/console");

    if (mkdir(dev, 0755) < 0 || mount("none", dev, "tmpfs", MS_NOSUID, "size=64k,mode=755") < 0)
        return sandbox_build_failed(error, "/dev");
    for (guint i = 0; i < G_N_ELEMENTS(devices); i++) {
        g_autofree char *from = g_strconcat("/dev/", devices[i], NULL);
        g_autofree char *to = g_strconcat("dev/", devices[i], NULL), *path = below(to);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
        durable_close(&fd);
        if (mount(from, path, NULL, MS_BIND, NULL) < 0)
            return sandbox_build_failed(error, from);
    }
    for (guint i = 0; i < G_N_ELEMENTS(links); i++) {
        g_autofree char *path = below(links[i][1]);
        if (symlink(links[i][0], path) < 0)
            return sandbox_build_failed(error, path);
    }
    int fd = open(console, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    durable_close(&fd);
    if (mkdir(pts, 0755) < 0 || mkdir(shm, 01777) < 0 ||
        mount("devpts", pts, "devpts", MS_NOSUID | MS_NOEXEC,
              "newinstance,ptmxmode=0666,mode=620") < 0 ||
        mount("none", shm, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=256m") < 0)
        return sandbox_build_failed(error, "/dev/pts");
    return TRUE;
}

static gboolean make_folders(GError **error)
{
    static const char *const plain[] = { "proc", "sys", "root", "var", "run", "old" };
    g_autofree char *proc = below("proc"), *sys = below("sys"), *tmp = below("tmp");

    for (guint i = 0; i < G_N_ELEMENTS(plain); i++) {
        g_autofree char *path = below(plain[i]);
        if (mkdir(path, 0755) < 0)
            return sandbox_build_failed(error, plain[i]);
    }
    if (mkdir(tmp, 0755) < 0 || chmod(tmp, 01777) < 0)
        return sandbox_build_failed(error, "/tmp");
    if (mount("proc", proc, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) {
        sandbox_build_failed(error, "/proc");
        imaged_error_hint(error, "this machine does not let namespaces have a /proc; is it a"
                                 " container that hides parts of its own?");
        return FALSE;
    }
    if (mount("sysfs", sys, "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL) < 0)
        errno = 0; /* nothing needs it */
    return TRUE;
}

gboolean sandbox_build_view(const SandboxSpec *spec, GError **error)
{
    /* Held as the working folder, because what is mounted may hide its name. */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || chdir(spec->folder) < 0 ||
        mount("none", VIEW, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1g") < 0)
        return sandbox_build_failed(error, "mounts");
    if (!make_folders(error) || !make_usr(error) || !make_etc(error) || !make_dev(error) ||
        !bind(".", SANDBOX_FOLDER + 1, TRUE, error))
        return FALSE;
    g_autofree char *old = below("old");
    if (syscall(SYS_pivot_root, VIEW, old) < 0 || chdir("/") < 0 ||
        umount2("/old", MNT_DETACH) < 0 || rmdir("/old") < 0)
        return sandbox_build_failed(error, "its root");
    umask(022);
    if (sethostname("build", 5) < 0)
        return sandbox_build_failed(error, "its name");
    return TRUE;
}
