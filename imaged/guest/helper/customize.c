/* customize.c: see customize.h.  A step that needs a program of the guest runs it; all else are
 * files that are written. */
#include "imaged/guest/helper/customize.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/guest/helper/program.h"

#define POLICY "/usr/sbin/policy-rc.d" /* tells packages to start no services */

static void log_line(const char *text, gpointer task)
{
    task_log(task, text);
}

/* Its lines go into the log. */
static Program logged(Task *task)
{
    return (Program){ .line = log_line, .data = task };
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static gboolean is_on(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

/* ---- Files ---- */

gboolean customize_put(const char *path, const void *bytes, gsize n, guint mode, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(path);

    if (g_mkdir_with_parents(folder, 0755) < 0 || (unlink(path) < 0 && errno != ENOENT)) {
        imaged_error_set_errno(error, errno, "cannot write '%s'", path);
        return FALSE;
    }
    auto_fd fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || fchmod(fd, mode) < 0) {
        imaged_error_set_errno(error, errno, "cannot write '%s'", path);
        return FALSE;
    }
    return durable_write(fd, bytes, n, 0, error);
}

gboolean customize_put_text(const char *path, const char *text, guint mode, GError **error)
{
    return customize_put(path, text, strlen(text), mode, error);
}

static gboolean give(const json_t *file, const char *path, GError **error)
{
    const char *owner = text_of(file, "owner"), *group = text_of(file, "group");
    const struct passwd *user = getpwnam(owner ? owner : "root");
    uid_t uid = user ? user->pw_uid : 0;
    const struct group *entry = getgrnam(group ? group : "root");

    if (!user || !entry) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                    "file '%s': there is no %s '%s' in the template", path, user ? "group" : "user",
                    user ? group : owner);
        return FALSE;
    }
    if (lchown(path, uid, entry->gr_gid) == 0)
        return TRUE;
    imaged_error_set_errno(error, errno, "cannot give '%s' to its owner", path);
    return FALSE;
}

/* content is text, content_base64 what a client read from a file. */
static gboolean put_file(const json_t *file, GError **error)
{
    const char *path = text_of(file, "path"), *content = text_of(file, "content");
    const char *encoded = text_of(file, "content_base64");
    guint mode = (guint)json_integer_value(json_object_get(file, "mode"));
    gsize n = encoded ? 0 : json_string_length(json_object_get(file, "content"));
    g_autofree guchar *decoded = encoded ? g_base64_decode(encoded, &n) : NULL;

    return customize_put(path,
                         decoded   ? (const char *)decoded
                         : content ? content
                                   : "",
                         n, mode & 01777, error) &&
           give(file, path, error) &&
           /* set-id bits do not survive a change of owner */
           (!(mode & 06000) || chmod(path, mode) == 0);
}

static gboolean put_files(const json_t *files, GError **error)
{
    gsize i;
    json_t *file;

    json_array_foreach ((json_t *)files, i, file) {
        if (!put_file(file, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean put_links(const json_t *links, GError **error)
{
    gsize i;
    json_t *link;

    json_array_foreach ((json_t *)links, i, link) {
        const char *path = text_of(link, "path");
        g_autofree char *folder = g_path_get_dirname(path);
        if (g_mkdir_with_parents(folder, 0755) < 0 || (unlink(path) < 0 && errno != ENOENT) ||
            symlink(text_of(link, "target"), path) < 0) {
            imaged_error_set_errno(error, errno, "cannot make the link '%s'", path);
            return FALSE;
        }
    }
    return TRUE;
}

/* ---- Names, language, time ---- */

static gboolean set_locale(Task *task, const char *locale, GError **error)
{
    g_autofree char *setting = g_strdup_printf("LANG=%s\n", locale);

    if (!g_str_has_prefix(locale, "C") && g_file_test("/usr/sbin/locale-gen", G_FILE_TEST_EXISTS)) {
        const char *dot = strchr(locale, '.');
        g_autofree char *line = g_strdup_printf("%s %s\n", locale, dot ? "UTF-8" : "ISO-8859-1");
        if (!customize_put_text("/etc/locale.gen", line, 0644, error))
            return FALSE;
        const Program like = logged(task);
        if (!program_run_args(&like, error, "locale-gen", NULL)) {
            g_prefix_error(error, "locale '%s': ", locale);
            return FALSE;
        }
    }
    return customize_put_text("/etc/default/locale", setting, 0644, error) &&
           customize_put_text("/etc/locale.conf", setting, 0644, error);
}

static gboolean set_keyboard(const char *keyboard, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(keyboard, " ", 2);
    const char *variant = parts[1] ? parts[1] : "";
    g_autofree char *console =
        g_strdup_printf("XKBMODEL=\"pc105\"\nXKBLAYOUT=\"%s\"\nXKBVARIANT=\"%s\"\nXKBOPTIONS=\"\"\n"
                        "BACKSPACE=\"guess\"\n",
                        parts[0], variant);
    g_autofree char *x11 = g_strdup_printf(
        "Section \"InputClass\"\n    Identifier \"keyboard\"\n    MatchIsKeyboard \"on\"\n"
        "    Option \"XkbLayout\" \"%s\"\n    Option \"XkbVariant\" \"%s\"\nEndSection\n",
        parts[0], variant);

    return customize_put_text("/etc/default/keyboard", console, 0644, error) &&
           customize_put_text("/etc/X11/xorg.conf.d/00-keyboard.conf", x11, 0644, error);
}

static gboolean set_timezone(const char *zone, GError **error)
{
    g_autofree char *target = g_strconcat("/usr/share/zoneinfo/", zone, NULL);
    g_autofree char *text = g_strconcat(zone, "\n", NULL);

    if (!g_file_test(target, G_FILE_TEST_IS_REGULAR)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no time zone '%s'",
                    zone);
        return FALSE;
    }
    unlink("/etc/localtime");
    if (symlink(target, "/etc/localtime") < 0) {
        imaged_error_set_errno(error, errno, "cannot set the time zone");
        return FALSE;
    }
    return customize_put_text("/etc/timezone", text, 0644, error);
}

static gboolean set_names(Task *task, const json_t *recipe, GError **error)
{
    const char *hostname = text_of(recipe, "hostname");
    g_autofree char *line = g_strconcat(hostname, "\n", NULL);
    g_autofree char *hosts = g_strdup_printf("127.0.0.1\tlocalhost\n127.0.1.1\t%s\n"
                                             "::1\tlocalhost ip6-localhost\n",
                                             hostname);

    return customize_put_text("/etc/hostname", line, 0644, error) &&
           customize_put_text("/etc/hosts", hosts, 0644, error) &&
           set_timezone(text_of(recipe, "timezone"), error) &&
           set_locale(task, text_of(recipe, "locale"), error) &&
           set_keyboard(text_of(recipe, "keyboard"), error);
}

/* ---- Users ---- */

static const char *hash_of(const char *password)
{
    return !password || g_str_equal(password, "locked") ? "*" : password;
}

/* Not as an argument: this machine's users see those of every process. */
static gboolean set_password(Task *task, const char *name, const char *password, GError **error)
{
    g_autofree char *line = g_strdup_printf("%s:%s\n", name, hash_of(password));
    Program like = logged(task);

    like.input = line;
    return program_run_args(&like, error, "chpasswd", "--encrypted", NULL);
}

static gboolean put_keys(const json_t *user, GError **error)
{
    const char *name = text_of(user, "name");
    const struct passwd *entry = getpwnam(name);
    g_autoptr(GString) text = g_string_new(NULL);
    gsize i;
    json_t *key;

    json_array_foreach (json_object_get(user, "ssh_keys"), i, key)
        g_string_append_printf(text, "%s\n", json_string_value(key));
    if (!text->len || !entry)
        return TRUE;
    uid_t uid = entry->pw_uid;
    gid_t gid = entry->pw_gid;
    g_autofree char *folder = g_build_filename(entry->pw_dir, ".ssh", NULL);
    g_autofree char *path = g_build_filename(folder, "authorized_keys", NULL);
    if (!customize_put_text(path, text->str, 0600, error))
        return FALSE;
    if (lchown(path, uid, gid) == 0 && lchown(folder, uid, gid) == 0 && chmod(folder, 0700) == 0)
        return TRUE;
    imaged_error_set_errno(error, errno, "cannot give '%s' to its owner", path);
    return FALSE;
}

/* On the text console by a drop-in that is there (identity's), on a desktop by its display manager.
 */
static gboolean set_autologin(const char *name, GError **error)
{
    g_autofree char *console = g_strdup_printf("IMAGED_AGETTY=--autologin %s\n", name);
    g_autofree char *greeter = g_strdup_printf("[Seat:*]\nautologin-user=%s\n"
                                               "autologin-user-timeout=0\n",
                                               name);

    return customize_put_text("/etc/imaged/login.env", console, 0644, error) &&
           (!g_file_test("/usr/sbin/lightdm", G_FILE_TEST_EXISTS) ||
            customize_put_text("/etc/lightdm/lightdm.conf.d/50-autologin.conf", greeter, 0644,
                               error));
}

static gboolean add_user(Task *task, const json_t *user, GError **error)
{
    const char *name = text_of(user, "name");
    g_autoptr(GString) groups = g_string_new(is_on(user, "sudo") ? "sudo" : NULL);
    const Program like = logged(task);
    gsize i;
    json_t *group;

    json_array_foreach (json_object_get(user, "groups"), i, group)
        g_string_append_printf(groups, "%s%s", groups->len ? "," : "", json_string_value(group));
    if (!program_run_args(&like, error, "useradd", "--create-home", "--shell",
                          text_of(user, "shell"), "--comment", text_of(user, "full_name"),
                          "--groups", groups->str, name, NULL) ||
        !set_password(task, name, text_of(user, "password"), error)) {
        g_prefix_error(error, "user '%s': ", name);
        return FALSE;
    }
    return put_keys(user, error) && (!is_on(user, "autologin") || set_autologin(name, error));
}

static gboolean set_users(Task *task, const json_t *recipe, GError **error)
{
    gsize i;
    json_t *user;

    if (!set_password(task, "root", text_of(recipe, "root_password"), error))
        return FALSE;
    json_array_foreach (json_object_get(recipe, "users"), i, user) {
        if (!add_user(task, user, error))
            return FALSE;
    }
    return TRUE;
}

/* ---- Commands ---- */

static gboolean run_command(Task *task, const char *command, GError **error)
{
    const char *const argv[] = { "/bin/sh", "-e", "-c", command, NULL };
    const Program program = { .argv = argv, .line = log_line, .data = task };
    g_autoptr(GError) local = NULL;
    g_autofree char *shown = text_for_message(command, 200);
    g_autofree char *echo = g_strconcat("+ ", shown, NULL);

    task_log(task, echo);
    if (program_run(&program, &local))
        return TRUE;
    g_autofree char *why = imaged_error_message(local);
    const char *said = imaged_error_get_hint(local);
    const char *end = strstr(why, " ended with ");
    if (!end)
        end = strstr(why, " was ended by ");
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "the command '%s'%s", shown,
                end ? end : " could not be started");
    imaged_error_hint(error, "%s", said ? said : "it said nothing");
    return FALSE;
}

static gboolean run_commands(Task *task, const json_t *recipe, GError **error)
{
    json_t *commands = json_object_get(recipe, "commands"), *command;
    gsize i;

    json_array_foreach (commands, i, command) {
        task_progress(task, i, json_array_size(commands), "running the recipe's commands");
        if (!run_command(task, json_string_value(command), error))
            return FALSE;
    }
    return TRUE;
}

gboolean customize_run(gpointer data, GError **error)
{
    Task *task = data;
    const json_t *request = task_request(task), *recipe = json_object_get(request, "recipe");

    gboolean ok = customize_put_text(POLICY, "#!/bin/sh\nexit 101\n", 0755, error) &&
                  put_files(json_object_get(request, "guest_files"), error) &&
                  put_links(json_object_get(request, "guest_links"), error) &&
                  set_names(task, recipe, error) && set_users(task, recipe, error) &&
                  put_files(json_object_get(recipe, "files"), error) &&
                  run_commands(task, recipe, error);
    unlink(POLICY);
    return ok;
}
