/* merge_io.c: a pool of threads, each doing one blocking call at a time.  So the disk has several
 * requests at once, whatever their size, and decoding uses all processors.
 *
 * Small pieces go through the page cache: the kernel is told of them when they are handed in and
 * keeps many more on their way than we have threads, and small writes into holes would else wait
 * for one another.  Dirty pages are pushed out as they come, so they never pile up. */
#include "cow/merge_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cow/chain_reader.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define N_THREADS 4
#define PIECE (1 * MIB) /* of a task; larger ones are split */
#define ALIGN 4096u
#define SMALL (64 * KIB)      /* below, the page cache is the better way */
#define N_BUNDLED 32          /* small tasks that are handed over at once */
#define DIRTY_LIMIT (8 * MIB) /* of small writes, until they are pushed out */

typedef enum { READ_LAYER, READ_RUN, READ_BELOW, WRITE } TaskKind;

typedef struct {
    TaskKind kind;
    MergeGroup *group;
    guint layer;
    guint64 offset;
    guint8 *buffer;
    gsize len;
} Task;

struct MergeIo {
    const LayerMerge *merge;
    ChainReader *run, *below; /* below may be NULL */
    guint64 below_size;       /* guest bytes */
    int *direct;              /* for each layer of the run, its file opened with O_DIRECT, or -1 */
    int buffered;             /* the result, opened without O_DIRECT, or -1 */
    gint dirty;               /* bytes written to it since the last push; atomic */
    GThreadPool *pool;        /* each item is an array of tasks */
    GArray *bundle;           /* small tasks that wait to be handed over */

    GMutex lock; /* what follows, and the groups */
    GCond done;
    GError *error; /* the first one */
};

/* ---- In the threads ---- */

static gboolean read_layer(MergeIo *io, const Task *t, GError **error)
{
    gsize done = 0;

    while (io->direct[t->layer] >= 0 && t->len >= SMALL &&
           (t->offset | t->len | (gsize)t->buffer) % ALIGN == 0 && done < t->len &&
           done % ALIGN == 0) {
        gssize n =
            pread(io->direct[t->layer], t->buffer + done, t->len - done, (off_t)(t->offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break; /* the other way finds out why */
        done += (gsize)n;
    }
    return done >= t->len || layer_pread(io->merge->run[t->layer], t->buffer + done, t->len - done,
                                         t->offset + done, error);
}

static gboolean read_below(MergeIo *io, const Task *t, GError **error)
{
    gsize there = t->offset < io->below_size ? MIN(t->len, io->below_size - t->offset) : 0;

    memset(t->buffer + there, 0, t->len - there);
    return there == 0 || chain_reader_pread(io->below, t->buffer, there, t->offset, error);
}

static gboolean write_result(MergeIo *io, const Task *t, GError **error)
{
    if (t->len >= SMALL || io->buffered < 0)
        return durable_write(io->merge->to, t->buffer, t->len, t->offset, error);
    if (!durable_write(io->buffered, t->buffer, t->len, t->offset, error))
        return FALSE;
    /* This only starts the writing; durability is layer_writer_finish()'s. */
    if (g_atomic_int_add(&io->dirty, (gint)t->len) >= (gint)DIRTY_LIMIT) {
        g_atomic_int_set(&io->dirty, 0);
        sync_file_range(io->buffered, 0, 0, SYNC_FILE_RANGE_WRITE);
    }
    return TRUE;
}

static gboolean run_task(MergeIo *io, const Task *t, GError **error)
{
    switch (t->kind) {
    case READ_LAYER:
        return read_layer(io, t, error);
    case READ_RUN:
        return chain_reader_pread(io->run, t->buffer, t->len, t->offset, error);
    case READ_BELOW:
        return read_below(io, t, error);
    default:
        return write_result(io, t, error);
    }
}

static void work_one(MergeIo *io, const Task *t)
{
    GError *error = NULL;

    g_mutex_lock(&io->lock);
    gboolean failed = io->error != NULL;
    g_mutex_unlock(&io->lock);
    if (!failed)
        run_task(io, t, &error);

    g_mutex_lock(&io->lock);
    if (error && !io->error)
        io->error = g_steal_pointer(&error);
    if (--t->group->n_pending == 0)
        g_cond_broadcast(&io->done);
    g_mutex_unlock(&io->lock);
    g_clear_error(&error);
}

static void work(gpointer data, gpointer user_data)
{
    g_autoptr(GArray) tasks = data;

    for (guint i = 0; i < tasks->len; i++)
        work_one(user_data, &g_array_index(tasks, Task, i));
}

/* ---- The interface ---- */

MergeIo *merge_io_new(const LayerMerge *merge, MergePlan *plan)
{
    MergeIo *io = g_new0(MergeIo, 1);

    io->merge = merge;
    io->run = chain_reader_new(merge_plan_run(plan), 0);
    if (merge_plan_below(plan)) {
        io->below = chain_reader_new(merge_plan_below(plan), 0);
        io->below_size = chain_map_size(merge_plan_below(plan));
    }
    io->direct = g_new(int, merge->n_run);
    for (guint i = 0; i < merge->n_run; i++)
        io->direct[i] = durable_open_again(layer_fd(merge->run[i]), O_RDONLY | O_DIRECT);
    io->buffered = durable_open_again(merge->to, O_RDWR);
    g_mutex_init(&io->lock);
    g_cond_init(&io->done);
    io->bundle = g_array_new(FALSE, FALSE, sizeof(Task));
    io->pool = g_thread_pool_new(work, io, N_THREADS, FALSE, NULL);
    return io;
}

void merge_io_free(MergeIo *io)
{
    if (!io)
        return;
    g_array_unref(io->bundle);
    g_thread_pool_free(io->pool, FALSE, TRUE);
    chain_reader_free(io->run);
    chain_reader_free(io->below);
    for (guint i = 0; i < io->merge->n_run; i++)
        durable_close(&io->direct[i]);
    g_free(io->direct);
    durable_close(&io->buffered);
    g_clear_error(&io->error);
    g_mutex_clear(&io->lock);
    g_cond_clear(&io->done);
    g_free(io);
}

static void hand_over(MergeIo *io)
{
    if (io->bundle->len == 0)
        return;
    g_thread_pool_push(io->pool, io->bundle, NULL);
    io->bundle = g_array_new(FALSE, FALSE, sizeof(Task));
}

static void submit(MergeIo *io, Task task)
{
    gboolean is_small = task.len < SMALL;

    for (gsize left = task.len; left > 0; left -= task.len) {
        task.len = MIN(left, PIECE);
        g_mutex_lock(&io->lock);
        task.group->n_pending++;
        g_mutex_unlock(&io->lock);
        g_array_append_val(io->bundle, task);
        if (!is_small || io->bundle->len >= N_BUNDLED)
            hand_over(io);
        task.offset += task.len;
        task.buffer += task.len;
    }
}

void merge_io_read(MergeIo *io, MergeGroup *group, guint layer, guint64 host_offset, void *buffer,
                   gsize len)
{
    if (len < SMALL)
        posix_fadvise(layer_fd(io->merge->run[layer]), (off_t)host_offset, (off_t)len,
                      POSIX_FADV_WILLNEED);
    submit(io, (Task){ READ_LAYER, group, layer, host_offset, buffer, len });
}

void merge_io_read_run(MergeIo *io, MergeGroup *group, guint64 offset, void *buffer, gsize len)
{
    submit(io, (Task){ READ_RUN, group, 0, offset, buffer, len });
}

void merge_io_read_below(MergeIo *io, MergeGroup *group, guint64 offset, void *buffer, gsize len)
{
    submit(io, (Task){ READ_BELOW, group, 0, offset, buffer, len });
}

void merge_io_write(MergeIo *io, MergeGroup *group, guint64 offset, const void *data, gsize len)
{
    submit(io, (Task){ WRITE, group, 0, offset, (guint8 *)data, len });
}

gboolean merge_io_wait(MergeIo *io, MergeGroup *group, GError **error)
{
    hand_over(io);
    g_mutex_lock(&io->lock);
    while (group->n_pending)
        g_cond_wait(&io->done, &io->lock);
    if (io->error)
        g_propagate_error(error, g_error_copy(io->error));
    gboolean ok = !io->error;
    g_mutex_unlock(&io->lock);
    return ok;
}
