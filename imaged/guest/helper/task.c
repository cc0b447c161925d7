/* task.c: see task.h. */
#include "imaged/guest/helper/task.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/guest/helper/sandbox.h"
#include "imaged/guest/protocol.h"

#define MAX_COUNTED 100000 /* more are bytes, which are not told one by one */

struct Task {
    int socket;
    const TaskType *type;
    json_t *request;
    GPtrArray *sockets; /* char * */
    char *folder, *appliance, *tmp;
    gboolean has_view;
    GMutex lock; /* of the socket, and: */
    guint share_from, share_to; /* percent; 0: progress is told as it is */
};

/* ---- The request ---- */

const json_t *task_request(const Task *task)
{
    return task->request;
}

const char *task_text(const Task *task, const char *key, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(task->request, key));

    return text ? text : otherwise;
}

gint64 task_int(const Task *task, const char *key, gint64 otherwise)
{
    const json_t *value = json_object_get(task->request, key);

    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

guint task_n_disks(const Task *task)
{
    return (guint)json_array_size(json_object_get(task->request, "disks"));
}

static const json_t *disk(const Task *task, guint i)
{
    return json_array_get(json_object_get(task->request, "disks"), i);
}

const char *task_disk_socket(const Task *task, guint i)
{
    return i < task->sockets->len ? task->sockets->pdata[i] : NULL;
}

gboolean task_disk_is_read_only(const Task *task, guint i)
{
    return !json_is_false(json_object_get(disk(task, i), "read_only"));
}

const char *task_folder(const Task *task)
{
    return task->folder;
}

const char *task_appliance(const Task *task)
{
    return task->appliance;
}

const char *task_cache(const Task *task)
{
    const char *path = task_text(task, "cache", NULL);

    return path && *path ? path : NULL;
}

const char *task_accelerator(const Task *task)
{
    return task_text(task, "accelerator", "tcg");
}

const char *task_tmp(const Task *task)
{
    return task->tmp ? task->tmp : "/tmp";
}

static const TaskType *find_type(const char *role, const char *name)
{
    for (guint i = 0; task_types[i].name; i++) {
        if (strcmp(task_types[i].name, name) == 0 &&
            (!task_types[i].role || strcmp(task_types[i].role, role) == 0))
            return &task_types[i];
    }
    return NULL;
}

static gboolean check_request(Task *task, const char *role, GError **error)
{
    const char *name = task_text(task, "task", "");

    task->type = find_type(role, name);
    if (json_is_object(task->request) && task_int(task, "version", 0) == GUEST_PROTOCOL_VERSION &&
        g_str_equal(task_text(task, "role", ""), role) && task->type) {
        for (guint i = 0; i < task_n_disks(task); i++) {
            const char *path = json_string_value(json_object_get(disk(task, i), "socket"));
            g_ptr_array_add(task->sockets, g_strdup(path ? path : ""));
        }
        task->folder = g_strdup(task_text(task, "folder", NULL));
        task->appliance = g_strdup(task_text(task, "appliance", NULL));
        return TRUE;
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                "imaged-guest %s (role %s) does not understand this request (task '%.40s')",
                IMAGED_VERSION, role, name);
    imaged_error_hint(error, "are imaged and imaged-guest of the same version?");
    return FALSE;
}

static void task_free(Task *task)
{
    json_decref(task->request);
    g_ptr_array_unref(task->sockets);
    g_free(task->folder);
    g_free(task->appliance);
    g_free(task->tmp);
    g_mutex_clear(&task->lock);
    g_free(task);
}

Task *task_new(const char *line, gsize length, const char *role, int socket, GError **error)
{
    Task *task = g_new0(Task, 1);

    task->socket = socket;
    task->sockets = g_ptr_array_new_with_free_func(g_free);
    task->request = json_loadb(line, length, 0, NULL);
    g_mutex_init(&task->lock);
    if (check_request(task, role, error))
        return task;
    task_free(task);
    return NULL;
}

static void replace(char **path, const char *with)
{
    if (*path) {
        g_free(*path);
        *path = g_strdup(with);
    }
}

void task_set_view(Task *task, gboolean has_view)
{
    for (guint i = 0; has_view && i < task->sockets->len; i++) {
        g_autofree char *name = g_path_get_basename(task->sockets->pdata[i]);
        g_free(task->sockets->pdata[i]);
        task->sockets->pdata[i] = g_build_filename(SANDBOX_DISKS, name, NULL);
    }
    if (has_view) {
        replace(&task->folder, SANDBOX_FOLDER);
        replace(&task->appliance, SANDBOX_APPLIANCE);
        if (task_cache(task))
            json_object_set_new(task->request, "cache", json_string(SANDBOX_CACHE));
    }
}

void task_set_tmp(Task *task, const char *path)
{
    g_free(task->tmp);
    task->tmp = g_strdup(path);
}

/* ---- Reports ---- */

static gboolean put(int socket, const char *bytes, gsize n)
{
    while (n) {
        ssize_t done = send(socket, bytes, n, MSG_NOSIGNAL);
        if (done < 0 && errno == EAGAIN) {
            struct pollfd fd = { socket, POLLOUT, 0 };
            poll(&fd, 1, 1000);
            continue;
        }
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return FALSE;
        bytes += done;
        n -= (gsize)done;
    }
    return TRUE;
}

/* object is taken over. */
static gboolean say(int socket, json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT);
    g_autofree char *line = g_strconcat(text ? text : "{}", "\n", NULL);
    gboolean ok = put(socket, line, strlen(line));

    free(text);
    json_decref(object);
    return ok;
}

static void say_event(Task *task, json_t *event)
{
    g_mutex_lock(&task->lock);
    say(task->socket, event);
    g_mutex_unlock(&task->lock);
}

void task_share(Task *task, guint from, guint to)
{
    g_mutex_lock(&task->lock);
    task->share_from = from;
    task->share_to = to;
    g_mutex_unlock(&task->lock);
}

/* "installing packages" and 60 of 159 become "installing packages (60 of 159)" and a share. */
static void make_share(Task *task, guint64 *done, guint64 *total, GString *text)
{
    g_mutex_lock(&task->lock);
    guint from = task->share_from, to = task->share_to;
    g_mutex_unlock(&task->lock);
    if (!to)
        return;
    if (*total > 1 && *total <= MAX_COUNTED)
        g_string_append_printf(text, " (%" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT ")", *done,
                               *total);
    gdouble part = *total ? (gdouble)MIN(*done, *total) / (gdouble)*total : 0;
    *done = (guint64)(GUEST_SHARE / 100.0 * (from + (to - from) * part));
    *total = GUEST_SHARE;
}

void task_progress(Task *task, guint64 done, guint64 total, const char *format, ...)
{
    g_autoptr(GString) words = g_string_new(NULL);
    va_list args;

    va_start(args, format);
    g_string_vprintf(words, format, args);
    va_end(args);
    make_share(task, &done, &total, words);
    const char *text = words->str;
    g_autofree char *message = g_utf8_make_valid(text, -1);
    say_event(task, json_pack("{s:s, s:I, s:I, s:s}", "event", "progress", "done", (json_int_t)done,
                              "total", (json_int_t)total, "message", message));
}

void task_log(Task *task, const char *line)
{
    g_autofree char *text = g_utf8_make_valid(line, -1);

    say_event(task, json_pack("{s:s, s:s}", "event", "log", "text", text));
}

void task_warning(Task *task, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    say_event(task, json_pack("{s:s, s:s}", "event", "warning", "text", valid));
}

gboolean task_data(Task *task, const void *bytes, gsize n, GError **error)
{
    const char *at = bytes;
    gboolean ok = TRUE;

    g_mutex_lock(&task->lock);
    while (n && ok) {
        gsize part = MIN(n, GUEST_DATA_MAX);
        ok = say(task->socket,
                 json_pack("{s:s, s:I}", "event", "data", "bytes", (json_int_t)part)) &&
             put(task->socket, at, part);
        at += part;
        n -= part;
    }
    g_mutex_unlock(&task->lock);
    if (!ok)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "imaged has hung up");
    return ok;
}

void task_say_error(int socket, const GError *error)
{
    g_autofree char *text = imaged_error_message(error);
    g_autofree char *message = g_utf8_make_valid(text, -1);
    const char *hint = imaged_error_get_hint(error);
    g_autofree char *valid_hint = g_utf8_make_valid(hint ? hint : "", -1);
    gint code = error->domain == IMAGED_ERROR ? error->code : IMAGED_ERROR_FAILED;

    say(socket, json_pack("{s:{s:s, s:s, s:s}}", "error", "code", imaged_error_name(code),
                          "message", message, "hint", valid_hint));
}

gboolean task_run(Task *task)
{
    g_autoptr(GError) error = NULL;
    json_t *result = task->type->run(task, &error);

    g_mutex_lock(&task->lock);
    if (result)
        say(task->socket, json_pack("{s:o}", "result", result));
    else if (error)
        task_say_error(task->socket, error);
    g_mutex_unlock(&task->lock);
    return result != NULL;
}
