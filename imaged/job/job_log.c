/* job_log.c: see job_log.h. */
#include "imaged/job/job_log.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/ident.h"

#define FOLDER "job-logs"

struct JobLog {
    int fd;
    guint64 length;
};

static char *log_path(const char *state_dir, const char *job_id)
{
    return g_build_filename(state_dir, FOLDER, job_id, NULL);
}

static int by_name(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Ids begin with the time: the oldest have the least names. */
static void forget_old(const char *folder)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    auto_fd fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        if (id_is_valid(name))
            g_ptr_array_add(names, g_strdup(name));
    }
    g_ptr_array_sort(names, by_name);
    for (guint i = 0; fd >= 0 && i + JOB_LOGS_KEPT < names->len; i++)
        durable_unlink(fd, names->pdata[i], NULL);
}

JobLog *job_log_open(const char *state_dir, const char *job_id)
{
    g_autofree char *folder = g_build_filename(state_dir, FOLDER, NULL);
    g_autofree char *path = log_path(state_dir, job_id);
    struct stat st;

    if (!durable_mkdir_path(folder, 0750, NULL))
        return NULL;
    forget_old(folder);
    auto_fd fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0 || fstat(fd, &st) < 0)
        return NULL;
    JobLog *log = g_new0(JobLog, 1);
    log->fd = fd;
    log->length = (guint64)st.st_size;
    fd = -1;
    return log;
}

static void append(JobLog *log, const char *text)
{
    gsize n = strlen(text);
    ssize_t done = pwrite(log->fd, text, n, (off_t)log->length);

    log->length += done > 0 ? (guint64)done : 0;
}

void job_log_line(JobLog *log, const char *line)
{
    if (!log || log->length >= JOB_LOG_MAX)
        return;
    g_autofree char *text = g_strconcat(line, "\n", NULL);
    append(log, text);
    if (log->length >= JOB_LOG_MAX)
        append(log, "(the log is full; what follows is left out)\n");
}

void job_log_close(JobLog *log)
{
    if (!log)
        return;
    durable_close(&log->fd);
    g_free(log);
}

char *job_log_read(const char *state_dir, const char *job_id, guint64 offset, gsize max,
                   guint64 *ret_next)
{
    g_autofree char *path = id_is_valid(job_id) ? log_path(state_dir, job_id) : NULL;
    auto_fd fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    g_autofree char *text = g_malloc0(max + 1);
    gsize n = 0;

    *ret_next = offset;
    if (fd < 0 || offset > G_MAXINT64 || !durable_pread(fd, text, max, offset, &n))
        return g_strdup("");
    while (n && text[n - 1] != '\n')
        n--;
    text[n] = '\0';
    *ret_next = offset + n;
    return g_utf8_make_valid(text, (gssize)n);
}
