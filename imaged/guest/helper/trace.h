/* trace.h: which bytes of a disk an inspection's answer hangs on.
 *
 * If none of them differs on another disk (a clone), an inspection of that one would answer the
 * same.  Kinds, because some bytes change with every boot and mean nothing here:
 *
 *   'd'  bytes as they are
 *   'i'  an ext inode (its times of access, its checksum mean nothing)
 *   's'  an ext superblock (counts and times mean nothing; a journal to be replayed means all)
 *   'g'  an ext group descriptor (of which only where the inode table lies means something)
 *
 * One thread. */
#pragma once

#include <glib.h>
#include <jansson.h>

#define TRACE_MAX 20000u /* ranges; beyond them there is no answer */
#define TRACE_BYTES_MAX (256ull << 20) /* of all ranges; likewise */

typedef struct Trace Trace;

Trace *trace_new(void);
void trace_free(Trace *trace);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Trace, trace_free)

/* offset and length in bytes of the whole disk. */
void trace_add(Trace *trace, char kind, guint64 offset, guint64 length);

/* Sorted, adjacent data merged: [["d", offset, length], ...], or null if there are too many. */
json_t *trace_to_json(Trace *trace);
