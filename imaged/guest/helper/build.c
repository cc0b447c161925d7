/* build.c: task "build": packages (FOLDER/packages) and a recipe become a disk, sent to imaged.
 *
 *   ROOT (mmdebstrap) -> RECIPE -> BOOT files -> SEAL -> DISK -> SEND
 *
 * All of it runs in the namespaces of sandbox_build.c, without network.
 *
 * asks: recipe, packages, suite, sources, guest_files, guest_links, size_bytes, reserve_bytes
 * sends: the disk, as disk_image_send() does
 * result: sealed (the report, or null) */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/guest/helper/boot_files.h"
#include "imaged/guest/helper/customize.h"
#include "imaged/guest/helper/disk_image.h"
#include "imaged/guest/helper/in_root.h"
#include "imaged/guest/helper/program.h"
#include "imaged/guest/helper/tasks.h"

#define LOOK_US 300000

typedef struct {
    Task *task;
    char *root, *disk, *packages, *tmp;
    BootFiles boot;
    guint64 reserve; /* bytes that stay free */
    gint is_full;    /* atomic */
    gint is_over;    /* atomic: no need to look any more */
    guint n_packages, n_unpacked, n_set_up;
    json_t *sealed;  /* what sealing removed, or NULL */
} Build;

/* ---- Space ---- */

/* What packages and commands write is theirs to decide: when the file system gets too full, all
 * that runs in here is ended (process 1 itself cannot be, by this). */
static gpointer watch_space(gpointer data)
{
    Build *b = data;
    struct statvfs fs;

    while (!g_atomic_int_get(&b->is_over)) {
        if (statvfs(task_folder(b->task), &fs) == 0 &&
            (guint64)fs.f_bavail * fs.f_frsize < b->reserve) {
            g_atomic_int_set(&b->is_full, 1);
            kill(-1, SIGKILL);
        }
        g_usleep(LOOK_US);
    }
    return NULL;
}

/* Whatever it was called, it was that. */
static void explain_space(const Build *b, GError **error)
{
    const char *said = error && *error ? (*error)->message : "";

    if (!g_atomic_int_get(&b->is_full) && !strstr(said, "No space left on device"))
        return;
    g_clear_error(error);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NO_SPACE,
                "the file system where builds are made has become too full");
    imaged_error_hint(error, "a build needs about three times what is installed, in the state"
                             " folder, until it is done");
}

/* ---- Steps ---- */

static char *join(const json_t *texts, const char *separator)
{
    GString *out = g_string_new(NULL);
    gsize i;
    json_t *text;

    json_array_foreach ((json_t *)texts, i, text)
        g_string_append_printf(out, "%s%s", out->len ? separator : "", json_string_value(text));
    return g_string_free(out, FALSE);
}

static guint count_packages(const Build *b)
{
    g_autoptr(GDir) dir = g_dir_open(b->packages, 0, NULL);
    const char *name;
    guint n = 0;

    while (dir && (name = g_dir_read_name(dir)))
        n += g_str_has_suffix(name, ".deb");
    return n;
}

/* What apt and dpkg say.  Each package is unpacked, and then set up; the rest of what dpkg says of
 * it before that is noise. */
static void root_line(const char *text, gpointer data)
{
    Build *b = data;
    static const char *const noise[] = { "Selecting previously ", "Preparing to unpack ",
                                         "(Reading database ", "Unpacking " };
    gboolean is_noise = FALSE;

    for (guint i = 0; i < G_N_ELEMENTS(noise); i++)
        is_noise |= g_str_has_prefix(text, noise[i]);
    b->n_unpacked += g_str_has_prefix(text, "Unpacking ");
    b->n_set_up += g_str_has_prefix(text, "Setting up ");
    if (!is_noise)
        task_log(b->task, text);
    if (b->n_unpacked || b->n_set_up)
        task_progress(b->task, MIN(b->n_unpacked + b->n_set_up, 2 * b->n_packages),
                      2 * b->n_packages, "unpacking and setting up packages");
}

static gboolean make_root(Build *b, GError **error)
{
    const json_t *request = task_request(b->task), *recipe = json_object_get(request, "recipe");
    g_autofree char *list = join(json_object_get(request, "packages"), ",");
    g_autofree char *include = g_strconcat("--include=", list, NULL);
    g_autofree char *source = g_strdup_printf("deb [trusted=yes] copy:%s ./", b->packages);
    g_autofree char *tmp = g_strconcat("TMPDIR=", b->tmp, NULL);
    gboolean recommends = json_is_true(json_object_get(recipe, "recommends"));
    const char *const environment[] = { tmp, NULL };
    const char *const argv[] = { "mmdebstrap",
                                 "--mode=root",
                                 "--verbose", /* what dpkg says, too */
                                 "--variant=apt",
                                 "--format=directory",
                                 "--skip=check/qemu",
                                 "--aptopt=APT::Sandbox::User \"root\"",
                                 recommends ? "--aptopt=APT::Install-Recommends \"true\""
                                            : "--aptopt=APT::Install-Recommends \"false\"",
                                 include,
                                 task_text(b->task, "suite", ""),
                                 b->root,
                                 source,
                                 NULL };
    const Program program = {
        .argv = argv, .environment = environment, .line = root_line, .data = b
    };

    b->n_packages = count_packages(b);
    task_share(b->task, 0, 65);
    task_progress(b->task, 0, 0, "installing packages");
    if (program_run(&program, error))
        return TRUE;
    g_prefix_error(error, "the packages cannot be installed: ");
    return FALSE;
}

static gboolean mount_in(const Build *b, const char *from, const char *to, const char *type,
                         unsigned long flags, GError **error)
{
    g_autofree char *path = g_build_filename(b->root, to, NULL);

    if (mount(from, path, type, flags, NULL) == 0)
        return TRUE;
    imaged_error_set_errno(error, errno, "cannot mount '/%s' for the recipe's commands", to);
    return FALSE;
}

static void unmount_all(const Build *b)
{
    static const char *const places[] = { "dev", "sys", "proc" };

    for (guint i = 0; i < G_N_ELEMENTS(places); i++) {
        g_autofree char *path = g_build_filename(b->root, places[i], NULL);
        umount2(path, MNT_DETACH);
    }
}

/* Services that a command started would keep the file system busy, and are no part of it. */
static void end_leftovers(void)
{
    kill(-1, SIGKILL);
    g_usleep(10000);
}

static gboolean apply_recipe(Build *b, GError **error)
{
    task_share(b->task, 65, 70);
    task_progress(b->task, 0, 0, "applying the recipe");
    gboolean ok = mount_in(b, "proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, error) &&
                  mount_in(b, "/sys", "sys", NULL, MS_BIND | MS_REC, error) &&
                  mount_in(b, "/dev", "dev", NULL, MS_BIND | MS_REC, error) &&
                  in_root(b->root, customize_run, b->task, error);
    end_leftovers();
    unmount_all(b);
    return ok;
}

static gboolean put_sources(gpointer data, GError **error)
{
    g_autofree char *lines = join(json_object_get(task_request(data), "sources"), "\n");
    g_autofree char *text = g_strconcat(lines, "\n", NULL);

    unlink("/etc/apt/apt.conf.d/99mmdebstrap"); /* the options of this build */
    unlink("/etc/dpkg/dpkg.cfg.d/99mmdebstrap");
    return customize_put_text("/etc/apt/sources.list", text, 0644, error);
}

static gboolean finish_root(Build *b, GError **error)
{
    gboolean is_sealed =
        json_is_true(json_object_get(json_object_get(task_request(b->task), "recipe"), "seal"));
    g_autofree char *uuid = NULL;

    if (!g_file_get_contents("/proc/sys/kernel/random/uuid", &uuid, NULL, NULL) ||
        strlen(uuid) < 36) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "cannot make a UUID");
        return FALSE;
    }
    task_share(b->task, 70, 75);
    task_progress(b->task, 0, 0, "making it bootable");
    g_strlcpy(b->boot.root_uuid, uuid, sizeof b->boot.root_uuid);
    return in_root(b->root, boot_files_install, &b->boot, error) &&
           (!is_sealed || (b->sealed = customize_seal(b->task, b->root, error)));
}

static gboolean build(Build *b, GError **error)
{
    guint64 size = (guint64)task_int(b->task, "size_bytes", 0);

    if (!make_root(b, error) || !in_root(b->root, put_sources, b->task, error) ||
        !apply_recipe(b, error) || !finish_root(b, error))
        return FALSE;
    task_share(b->task, 75, 85);
    task_progress(b->task, 0, 0, "making the disk");
    if (!disk_image_make(b->task, b->root, b->disk, size, b->boot.root_uuid, error))
        return FALSE;
    task_share(b->task, 85, 100);
    return disk_image_send(b->task, b->disk, error);
}

static gboolean remove_all(const char *folder, GError **error)
{
    g_autofree char *root = g_build_filename(folder, "root", NULL);
    g_autofree char *disk = g_build_filename(folder, "disk.raw", NULL);
    g_autofree char *tmp = g_build_filename(folder, "tmp", NULL);

    return program_run_args(NULL, error, "rm", "-rf", "--one-file-system", "--", root, disk, tmp,
                            NULL);
}

json_t *task_build(Task *task, GError **error)
{
    const char *folder = task_folder(task);
    Build b = { .task = task, .reserve = (guint64)MAX(task_int(task, "reserve_bytes", 0), 0) };

    umask(022);
    if (!folder || !remove_all(folder, error))
        return NULL;
    b.root = g_build_filename(folder, "root", NULL);
    b.disk = g_build_filename(folder, "disk.raw", NULL);
    b.packages = g_build_filename(folder, "packages", NULL);
    b.tmp = g_build_filename(folder, "tmp", NULL);
    mkdir(b.tmp, 01777);
    GThread *watch = g_thread_new("space", watch_space, &b);
    gboolean ok = build(&b, error);
    g_atomic_int_set(&b.is_over, 1);
    g_thread_join(watch);
    if (!ok)
        explain_space(&b, error);
    task_progress(task, 1, 1, "removing what it was made of");
    remove_all(folder, NULL); /* only in here can all of it be */
    g_free(b.root);
    g_free(b.disk);
    g_free(b.packages);
    g_free(b.tmp);
    if (!ok)
        json_decref(b.sealed);
    return ok ? json_pack("{s:o}", "sealed", b.sealed ? b.sealed : json_null()) : NULL;
}

json_t *task_clean(Task *task, GError **error)
{
    const char *folder = task_folder(task);

    g_autoptr(GDir) dir = folder ? g_dir_open(folder, 0, NULL) : NULL;
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        if (!program_run_args(NULL, error, "rm", "-rf", "--one-file-system", "--", path, NULL))
            return NULL;
    }
    return json_object();
}
