/* customize_disk.c: task "customize": do what a recipe says to a disk that exists, in libguestfs'
 * appliance, which has no network.  Programs of the guest run in there, in a chroot.
 *
 * Each step is a command, so that one that fails can be shown with what it said.
 *
 * asks: recipe, packages; FOLDER/packages is a source for apt that has all they need
 * result: n_commands */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/guest/helper/mounted.h"
#include "imaged/guest/helper/tasks.h"

#define WORK "/var/cache/imaged-build" /* in the guest; removed at the end */
#define COMMAND WORK "/command"
#define OUTPUT WORK "/output"
#define POLICY "/usr/sbin/policy-rc.d"
#define MAX_OUTPUT (4u << 20)
#define LAST_LINES 12
#define APT                                                                                        \
    "apt-get -y -q -o Dpkg::Use-Pty=0 -o Dir::Etc::sourcelist=" WORK                               \
    "/sources.list -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists=" WORK                  \
    "/lists -o APT::Sandbox::User=root -o Dpkg::Options::=--force-confold "

typedef struct {
    Task *task;
    guestfs_h *g;
    const json_t *recipe;
    guint n_commands;
} Change;

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* guestfs_write() takes 4 MiB at most, a recipe's file may have 5. */
static int upload_bytes(Change *c, const char *path, const void *bytes, gsize n)
{
    auto_fd fd = memfd_create("file", 0);
    g_autofree char *from = g_strdup_printf("/proc/self/fd/%d", fd);

    if (fd < 0 || !durable_write(fd, bytes, n, 0, NULL))
        return -1;
    return guestfs_upload(c->g, from, path);
}

static gboolean put(Change *c, const char *path, const void *bytes, gsize n, guint mode,
                    GError **error)
{
    g_autofree char *folder = g_path_get_dirname(path);

    if (guestfs_mkdir_p(c->g, folder) == 0 && guestfs_rm_f(c->g, path) == 0 &&
        upload_bytes(c, path, bytes, n) == 0 && guestfs_chmod(c->g, (int)mode, path) == 0)
        return TRUE;
    appliance_error(c->g, error, "cannot write '%s'", path);
    return FALSE;
}

static gboolean put_text(Change *c, const char *path, const char *text, guint mode, GError **error)
{
    return put(c, path, text, strlen(text), mode, error);
}

/* ---- Commands ---- */

/* What the last command said, to the log; its end as one line.  Caller frees. */
static char *take_output(Change *c)
{
    size_t n = 0;
    char *raw = guestfs_filesize(c->g, OUTPUT) <= (gint64)MAX_OUTPUT
                    ? guestfs_read_file(c->g, OUTPUT, &n)
                    : NULL;
    g_autofree char *text = g_utf8_make_valid(raw ? raw : "", raw ? (gssize)n : 0);
    g_auto(GStrv) lines = g_strsplit(g_strchomp(text), "\n", -1);
    guint n_lines = g_strv_length(lines);
    GString *last = g_string_new(NULL);

    free(raw);
    for (guint i = 0; i < n_lines; i++) {
        if (!*lines[i])
            continue;
        g_autofree char *line = text_for_message(lines[i], 500);
        task_log(c->task, line);
        if (i + LAST_LINES >= n_lines)
            g_string_append_printf(last, "%s%s", last->len ? " | " : "", line);
    }
    return g_string_free(last, FALSE);
}

/* what: for the message, "the command 'X'". */
static gboolean run(Change *c, const char *what, const char *command, GError **error)
{
    if (!put_text(c, COMMAND, command, 0700, error))
        return FALSE;
    c->n_commands++;
    char *status =
        guestfs_sh(c->g, "export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 HOME=/root"
                         " PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:"
                         "/bin; cd /; /bin/sh -e " COMMAND " </dev/null >" OUTPUT " 2>&1; echo $?");
    if (!status) {
        appliance_error(c->g, error, "%s could not be started", what);
        return FALSE;
    }
    gint64 code = g_ascii_strtoll(status, NULL, 10);
    free(status);
    g_autofree char *last = take_output(c);
    if (code == 0)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "%s ended with exit code %d", what,
                (int)code);
    imaged_error_hint(error, "%s%s", *last ? "it said: " : "it said nothing", last);
    return FALSE;
}

static gboolean run_quoted(Change *c, const char *what, GError **error, const char *argv0,
                           ...) G_GNUC_NULL_TERMINATED;

static gboolean run_quoted(Change *c, const char *what, GError **error, const char *argv0, ...)
{
    g_autoptr(GString) command = g_string_new(NULL);
    va_list args;

    va_start(args, argv0);
    for (const char *arg = argv0; arg; arg = va_arg(args, const char *)) {
        g_autofree char *quoted = g_shell_quote(arg);
        g_string_append_printf(command, "%s%s", command->len ? " " : "", quoted);
    }
    va_end(args);
    return run(c, what, command->str, error);
}

/* ---- Packages ---- */

static gboolean upload(Change *c, const char *name, GError **error)
{
    g_autofree char *from = g_build_filename(task_folder(c->task), "packages", name, NULL);
    g_autofree char *to = g_build_filename(WORK, name, NULL);

    if (guestfs_upload(c->g, from, to) == 0)
        return TRUE;
    appliance_error(c->g, error, "cannot bring '%s' into the template", name);
    return FALSE;
}

static gboolean upload_all(Change *c, GError **error)
{
    g_autofree char *folder = g_build_filename(task_folder(c->task), "packages", NULL);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;
    guint n = 0;

    while (dir && (name = g_dir_read_name(dir))) {
        if (!g_str_has_suffix(name, ".deb") && !g_str_equal(name, "Packages"))
            continue;
        task_progress(c->task, n++, 0, "bringing packages into the template");
        if (!upload(c, name, error))
            return FALSE;
    }
    return put_text(c, WORK "/sources.list", "deb [trusted=yes] copy:" WORK " ./\n", 0644, error);
}

static gboolean install_packages(Change *c, GError **error)
{
    const json_t *packages = json_object_get(task_request(c->task), "packages");
    gboolean recommends = json_is_true(json_object_get(c->recipe, "recommends"));
    g_autoptr(GString) command =
        g_string_new("mkdir -p " WORK "/lists/partial\n" APT "update\n" APT "install");
    size_t i;
    json_t *package;

    if (json_array_size(packages) == 0)
        return TRUE;
    if (!upload_all(c, error))
        return FALSE;
    g_string_append(command,
                    recommends ? " --install-recommends --" : " --no-install-recommends --");
    json_array_foreach ((json_t *)packages, i, package) {
        g_autofree char *quoted = g_shell_quote(json_string_value(package));
        g_string_append_printf(command, " %s", quoted);
    }
    task_progress(c->task, 0, 0, "installing packages");
    return run(c, "installing the packages", command->str, error);
}

/* ---- The recipe ---- */

/* The base's other lines of /etc/hosts stay. */
static gboolean set_hostname(Change *c, const char *hostname, GError **error)
{
    g_autofree char *line = g_strconcat(hostname, "\n", NULL);
    char **lines = guestfs_is_file(c->g, "/etc/hosts") == 1 ? guestfs_read_lines(c->g, "/etc/hosts")
                                                           : NULL;
    g_autoptr(GString) hosts = g_string_new(lines ? "" : "127.0.0.1\tlocalhost\n");

    for (guint i = 0; lines && lines[i]; i++) {
        if (!g_str_has_prefix(lines[i], "127.0.1.1"))
            g_string_append_printf(hosts, "%s\n", lines[i]);
    }
    g_string_append_printf(hosts, "127.0.1.1\t%s\n", hostname);
    g_strfreev(lines);
    return put_text(c, "/etc/hostname", line, 0644, error) &&
           put_text(c, "/etc/hosts", hosts->str, 0644, error);
}

static gboolean set_names(Change *c, GError **error)
{
    const char *hostname = text_of(c->recipe, "hostname"), *zone = text_of(c->recipe, "timezone");
    const char *locale = text_of(c->recipe, "locale"), *root = text_of(c->recipe, "root_password");

    if (hostname && !set_hostname(c, hostname, error))
        return FALSE;
    if (zone) {
        g_autofree char *target = g_strconcat("/usr/share/zoneinfo/", zone, NULL);
        g_autofree char *what = g_strdup_printf("the time zone '%s'", zone);
        if (!run_quoted(c, what, error, "test", "-f", target, NULL) ||
            !run_quoted(c, what, error, "ln", "-sf", target, "/etc/localtime", NULL) ||
            !put_text(c, "/etc/timezone", zone, 0644, error))
            return FALSE;
    }
    if (locale) {
        g_autofree char *setting = g_strdup_printf("LANG=%s\n", locale);
        g_autofree char *what = g_strdup_printf("the locale '%s'", locale);
        const char *base = strchr(locale, '.') ? "UTF-8" : "ISO-8859-1";
        g_autofree char *line = g_strdup_printf("%s %s\n", locale, base);
        if (!put_text(c, "/etc/default/locale", setting, 0644, error) ||
            (*locale != 'C' && (!put_text(c, "/etc/locale.gen", line, 0644, error) ||
                                !run(c, what, "locale-gen", error))))
            return FALSE;
    }
    return !root || run_quoted(c, "root's password", error, "usermod", "--password",
                               g_str_equal(root, "locked") ? "*" : root, "root", NULL);
}

static gboolean put_file(Change *c, const json_t *file, GError **error)
{
    const char *path = text_of(file, "path"), *content = text_of(file, "content");
    const char *encoded = text_of(file, "content_base64");
    gsize n = encoded ? 0 : json_string_length(json_object_get(file, "content"));
    g_autofree guchar *decoded = encoded ? g_base64_decode(encoded, &n) : NULL;
    guint mode = (guint)json_integer_value(json_object_get(file, "mode"));
    g_autofree char *owner =
        g_strdup_printf("%s:%s", text_of(file, "owner"), text_of(file, "group"));
    g_autofree char *what = g_strdup_printf("the owner of '%s'", path);

    return put(c, path,
               decoded   ? (const void *)decoded
               : content ? content
                         : "",
               n, mode & 01777, error) &&
           run_quoted(c, what, error, "chown", owner, path, NULL) &&
           (!(mode & 06000) || guestfs_chmod(c->g, (int)mode, path) == 0);
}

static gboolean add_user(Change *c, const json_t *user, GError **error)
{
    const char *name = text_of(user, "name"), *password = text_of(user, "password");
    gboolean has_sudo = json_is_true(json_object_get(user, "sudo"));
    g_autoptr(GString) groups = g_string_new(has_sudo ? "sudo" : NULL);
    g_autofree char *what = g_strdup_printf("the user '%s'", name);
    size_t i;
    json_t *group;

    json_array_foreach (json_object_get(user, "groups"), i, group)
        g_string_append_printf(groups, "%s%s", groups->len ? "," : "", json_string_value(group));
    return run_quoted(c, what, error, "useradd", "--create-home", "--shell", text_of(user, "shell"),
                      "--comment", text_of(user, "full_name"), "--password",
                      !password || g_str_equal(password, "locked") ? "*" : password, "--groups",
                      groups->str, name, NULL);
}

static gboolean for_each(Change *c, const char *key,
                         gboolean (*act)(Change *c, const json_t *item, GError **error),
                         GError **error)
{
    size_t i;
    json_t *item;

    json_array_foreach (json_object_get(c->recipe, key), i, item) {
        if (!act(c, item, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean run_command(Change *c, const json_t *command, GError **error)
{
    g_autofree char *shown = text_for_message(json_string_value(command), 200);
    g_autofree char *what = g_strdup_printf("the command '%s'", shown);
    g_autofree char *echo = g_strconcat("+ ", shown, NULL);

    task_log(c->task, echo);
    task_progress(c->task, 0, 0, "running the recipe's commands");
    return run(c, what, json_string_value(command), error);
}

static gboolean change_all(Change *c, GError **error)
{
    g_auto(MountedOs) os = { 0 };

    task_progress(c->task, 0, 0, "looking for the operating system");
    if (!mounted_os_find(c->g, &os, error) || !mounted_os_mount(c->task, c->g, &os, error))
        return FALSE;
    if (!g_str_equal(os.type, "linux")) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "a recipe can change a Linux, and this is %s", os.type);
        return FALSE;
    }
    if (guestfs_mkdir_p(c->g, WORK) < 0) {
        appliance_error(c->g, error, "cannot write into the template");
        return FALSE;
    }
    gboolean ok = put_text(c, POLICY, "#!/bin/sh\nexit 101\n", 0755, error) &&
                  install_packages(c, error) && set_names(c, error) &&
                  for_each(c, "users", add_user, error) && for_each(c, "files", put_file, error) &&
                  for_each(c, "commands", run_command, error);
    return ok && guestfs_rm_f(c->g, POLICY) == 0 && guestfs_rm_rf(c->g, WORK) == 0;
}

json_t *task_customize(Task *task, GError **error)
{
    Change c = { .task = task, .recipe = json_object_get(task_request(task), "recipe") };

    if (task_n_disks(task) != 1 || task_disk_is_read_only(task, 0) || !task_folder(task)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a recipe needs one disk to write, and a folder");
        return NULL;
    }
    c.g = appliance_open(task, error);
    if (!c.g)
        return NULL;
    gboolean ok = change_all(&c, error);
    if (!ok && error && !*error)
        appliance_error(c.g, error, "cannot tidy up in the template");
    if (!appliance_close(c.g, ok ? error : NULL))
        ok = FALSE;
    return ok ? json_pack("{s:i}", "n_commands", (int)c.n_commands) : NULL;
}
