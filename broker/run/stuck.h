/* stuck.h: desktops that their host has paused because of an error of their disk.
 *
 * One that was paused for want of space, and for nothing else, goes on by itself once its stores
 * have space again; all others wait for a person.  What the reason is, is asked of QEMU each time,
 * so it outlives a restart of imaged.  Any thread. */
#pragma once

#include "broker/run/runs.h"

typedef struct Stuck Stuck;

Stuck *stuck_new(World *world);
void stuck_free(Stuck *stuck);

/* What housekeeping sees; until it has looked, no store has space. */
void stuck_note_space(Stuck *stuck, const char *store_id, gboolean has_space);

/* Into one set of changes: the row of a desktop that has just been paused so, and an event.  On its
 * host's thread. */
void stuck_begin(const RunRow *row, const HostDriver *driver, gpointer link, Changes *changes);

/* It is so still: resume it if that is right now.  On its host's thread; takes x:run/ID. */
void stuck_look(Stuck *stuck, const RunRow *row, const HostDriver *driver, gpointer link);
