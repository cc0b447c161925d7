/* sandbox_view.c: a small file system in memory becomes the root; what the helper needs is bound
 * into it, read-only but for what it may write.  Sources are opened first, because what is mounted
 * on the way may hide them. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/guest/helper/sandbox.h"

#define BASE "/tmp" /* where the new root is put together */
#define TMP_OPTIONS "mode=1777,size=1g,nr_inodes=10k"
#define ROOT_OPTIONS "mode=755,size=16m,nr_inodes=1k"

typedef struct {
    const char *source; /* interned; NULL: not wanted */
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
    struct statvfs fs;

    if (b->fd < 0)
        return TRUE;
    if (fstat(b->fd, &st) < 0 || fstatvfs(b->fd, &fs) < 0)
        return fail(error, "look at", b->target);
    /* In a user namespace some flags of the source cannot be taken off, but none needs to be. */
    const unsigned long flags =
        MS_BIND | MS_REMOUNT | MS_NODEV | b->flags | (fs.f_flag & ST_NOEXEC ? MS_NOEXEC : 0);
    if (!make_target(target, S_ISDIR(st.st_mode), error) ||
        mount(source, target, NULL, MS_BIND | MS_REC, NULL) < 0)
        return error && *error ? FALSE : fail(error, "bind", b->target);
    if (b->flags && mount(NULL, target, NULL, flags, NULL) < 0 &&
        mount(NULL, target, NULL, flags | MS_NOATIME, NULL) < 0 &&
        mount(NULL, target, NULL, flags | MS_RELATIME, NULL) < 0)
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

/* ---- What is wanted ---- */

static void want(GArray *binds, const char *path)
{
    const Bind bind = { g_intern_string(path), g_intern_string(path), LOCKED, TRUE, -1 };

    g_array_append_val(binds, bind);
}

/* Packages that lie in folders of this machine, as its own list of sources says. */
static void want_local_sources(GArray *binds, const char *path)
{
    g_autofree char *text = NULL;
    g_autoptr(GRegex) regex = g_regex_new("\\b(?:file|copy):(?://)?(/[^\\s\\]]+)", 0, 0, NULL);
    g_autoptr(GMatchInfo) match = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL) || !g_utf8_validate(text, -1, NULL))
        return;
    for (g_regex_match(regex, text, 0, &match); g_match_info_matches(match);
         g_match_info_next(match, NULL)) {
        g_autofree char *folder = g_match_info_fetch(match, 1);
        g_autofree char *real = g_canonicalize_filename(folder, "/");
        if (!g_str_equal(real, "/") && !g_str_has_prefix(real, "/usr/"))
            want(binds, real);
    }
}

static void want_apt(GArray *binds)
{
    static const char lists[] = "/etc/apt/sources.list.d";
    static const char *const paths[] = {
        "/etc/apt",       "/etc/resolv.conf",     "/etc/hosts",  "/etc/host.conf", "/etc/gai.conf",
        "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/gnutls", "/etc/services",  "/etc/protocols",
        "/etc/dpkg",      "/var/lib/dpkg/arch",
    };
    g_autoptr(GDir) dir = g_dir_open(lists, 0, NULL);
    const char *name;

    for (guint i = 0; i < G_N_ELEMENTS(paths); i++)
        want(binds, paths[i]);
    want_local_sources(binds, "/etc/apt/sources.list");
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(lists, name, NULL);
        want_local_sources(binds, path);
    }
}

static gboolean open_sources(GArray *binds, GError **error)
{
    for (guint i = 0; i < binds->len; i++) {
        Bind *b = &g_array_index(binds, Bind, i);
        if (b->source)
            b->fd = open(b->source, O_PATH | O_CLOEXEC);
        if (b->source && b->fd < 0 && !b->may_lack)
            return fail(error, "open", b->source);
    }
    return TRUE;
}

gboolean sandbox_view(const SandboxSpec *spec, GError **error)
{
    const Bind common[] = {
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
        { spec->disks, SANDBOX_DISKS, LOCKED, FALSE, -1 }, /* connecting to sockets is no writing */
        { spec->appliance, SANDBOX_APPLIANCE, LOCKED, FALSE, -1 },
        { spec->folder, SANDBOX_FOLDER, MS_NOSUID, FALSE, -1 },
        { spec->cache, SANDBOX_CACHE, MS_NOSUID, FALSE, -1 },
    };
    g_autoptr(GArray) binds = g_array_new(FALSE, FALSE, sizeof(Bind));

    umask(022); /* the helper's user has to get through; set_limits() sets its own */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return fail(error, "detach", "/");
    g_array_append_vals(binds, common, G_N_ELEMENTS(common));
    if (strcmp(spec->role, "fetch") == 0)
        want_apt(binds);
    gboolean ok = open_sources(binds, error);
    if (ok && mount("tmpfs", BASE, "tmpfs", MS_NOSUID | MS_NODEV, ROOT_OPTIONS) < 0)
        ok = fail(error, "mount", "the new root");
    ok = ok && copy_links(error);
    for (guint i = 0; ok && i < binds->len; i++)
        ok = bind_one(&g_array_index(binds, Bind, i), error);
    for (guint i = 0; i < binds->len; i++) {
        if (g_array_index(binds, Bind, i).fd >= 0)
            close(g_array_index(binds, Bind, i).fd);
    }
    return ok && mount_special(error) && change_root(error);
}
