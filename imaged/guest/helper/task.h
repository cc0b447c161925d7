/* task.h: what a task of imaged-guest works with: its request, and what it reports.
 *
 * A task is one function in a file of its own, named in tasks.c.  When it runs, the process is in
 * its sandbox already: of the file system it sees what sandbox.h says.  It may use any library and
 * start children; it ends by returning, never by exit().  Reports may come from any thread.
 * imaged believes nothing of what is reported here, and kills the process when it hangs up or the
 * time is over. */
#pragma once

#include <glib.h>
#include <jansson.h>

typedef struct Task Task;

/* The result's object (taken over), or NULL with an error: code, message and hint reach the user.
 */
typedef json_t *(*TaskRun)(Task *task, GError **error);

typedef struct {
    const char *role, *name;
    TaskRun run;
} TaskType;

extern const TaskType task_types[]; /* ends with a NULL name */

/* ---- What it is asked ---- */

const json_t *task_request(const Task *task);
/* A text, a number of the request, or the default. */
const char *task_text(const Task *task, const char *key, const char *otherwise);
gint64 task_int(const Task *task, const char *key, gint64 otherwise);

guint task_n_disks(const Task *task);
const char *task_disk_socket(const Task *task, guint i); /* a unix socket that speaks NBD */
gboolean task_disk_is_read_only(const Task *task, guint i);

const char *task_folder(const Task *task);      /* that it may fill, or NULL */
const char *task_appliance(const Task *task);   /* the fixed appliance's folder, or NULL */
const char *task_cache(const Task *task);       /* what it may keep for later runs, or NULL */
const char *task_accelerator(const Task *task); /* "tcg" or "kvm" */
const char *task_tmp(const Task *task);         /* a private folder, removed afterwards */

/* ---- What it reports ---- */

void task_progress(Task *task, guint64 done, guint64 total, const char *format, ...)
    G_GNUC_PRINTF(4, 5);
/* From now on progress is told as a share of the whole task: from the first percentage to the
 * second one.  Its own numbers go into the message. */
void task_share(Task *task, guint from, guint to);
void task_log(Task *task, const char *line);
void task_warning(Task *task, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* Bytes for imaged, any number, in order. */
gboolean task_data(Task *task, const void *bytes, gsize n, GError **error);

/* ---- Of main.c alone ---- */

/* Parse a request; NULL with INVALID.  socket is borrowed. */
Task *task_new(const char *line, gsize length, const char *role, int socket, GError **error);
/* From now on paths are those inside a view of its own (sandbox_view.c). */
void task_set_view(Task *task, gboolean has_view);
void task_set_tmp(Task *task, const char *path);
/* Run it and say its result or error. */
gboolean task_run(Task *task);
/* Say why it could not even begin. */
void task_say_error(int socket, const GError *error);
