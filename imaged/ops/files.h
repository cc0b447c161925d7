/* files.h: files of a desktop's disk, of a snapshot, a template version or an archive point, read.
 *
 * The disk is found and held as an export of it is (export_ref.h): while it is read nobody writes
 * it.  Nothing is ever written.  Any thread. */
#pragma once

#include <jansson.h>

#include "imaged/ops/ops.h"

/* What is in a folder (or one file's entry): the helper's answer (imaged/guest/helper/files.h) with
 * ref and path.  BUSY while QEMU writes the disk. */
json_t *files_list_folder(World *world, const char *ref, const char *path, GError **error);

/* ---- One file's bytes, as a stream ---- */

typedef struct FilesStream FilesStream;

/* Begin; returns when the first bytes are there, or all of a small file was read.  NOT_FOUND and
 * the like come from here.  It breaks off once *stopping is set (atomic). */
FilesStream *files_stream_open(World *world, const char *ref, const char *path,
                               const gint *stopping, GError **error);

/* The next bytes (at most max); 0 at the end, -1 if it broke off. */
gssize files_stream_read(FilesStream *stream, void *buffer, gsize max);

/* Ends the helper if it still reads. */
void files_stream_close(FilesStream *stream);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FilesStream, files_stream_close)
