/* merge_io.h: reads and writes that go on while the merge thinks.
 *
 * Internal to layer_merge.c.  A few threads take tasks off one queue; big aligned reads pass by the
 * page cache.  One thread hands tasks in; a task's buffer stays until merge_io_wait() of its group.
 * After the first failure tasks do nothing, and each wait fails with that. */
#pragma once

#include "cow/layer_merge.h"
#include "cow/merge_plan.h"

typedef struct MergeIo MergeIo;

/* Tasks that are waited for together; all zeros at the start, must not move. */
typedef struct {
    guint n_pending; /* by the MergeIo's lock */
} MergeGroup;

/* Borrows merge and plan. */
MergeIo *merge_io_new(const LayerMerge *merge, MergePlan *plan);
void merge_io_free(MergeIo *io); /* waits for all tasks */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MergeIo, merge_io_free)

/* Read from the file of a layer of the run. */
void merge_io_read(MergeIo *io, MergeGroup *group, guint layer, guint64 host_offset, void *buffer,
                   gsize len);

/* Read guest bytes of the run, or of what lies below it (zeros beyond its end). */
void merge_io_read_run(MergeIo *io, MergeGroup *group, guint64 offset, void *buffer, gsize len);
void merge_io_read_below(MergeIo *io, MergeGroup *group, guint64 offset, void *buffer, gsize len);

/* Write to the result; all but the last argument aligned to 4 KiB, and that too. */
void merge_io_write(MergeIo *io, MergeGroup *group, guint64 offset, const void *data, gsize len);

/* Wait until group has nothing pending. */
gboolean merge_io_wait(MergeIo *io, MergeGroup *group, GError **error);
