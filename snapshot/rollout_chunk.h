/* rollout_chunk.h: some desktops of a roll-out, claimed for a moment, and what became of each.
 *
 * For rollout*.c alone.  One thread. */
#pragma once

#include "snapshot/rollout.h"

typedef struct {
    World *world;
    const Rollout *rollout;
    GPtrArray *items;  /* of RolloutItem */
    json_t *claimed;   /* keys; released by rollout_chunk_clear() */
    json_t *list;      /* what is done with: items of a BatchChunk */
    GArray *positions; /* gint64, theirs */
    json_t *notes;     /* of the others: [position, state, reason] */
} RolloutChunk;

/* Up to n rows in this state, none of them claimed. */
void rollout_chunk_init(RolloutChunk *chunk, World *world, const Rollout *rollout,
                        const char *state, guint n);
/* One row alone, as it is now. */
void rollout_chunk_init_one(RolloutChunk *chunk, World *world, const Rollout *rollout,
                            gint64 position);
void rollout_chunk_clear(RolloutChunk *chunk);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RolloutChunk, rollout_chunk_clear)

/* Claim these keys (taken over) for the chunk.  BUSY. */
gboolean rollout_chunk_claim(RolloutChunk *chunk, json_t *keys, GError **error);

/* Claim each item's own keys; those that are busy leave items, noted in this state. */
void rollout_chunk_claim_items(RolloutChunk *chunk, json_t *(*keys_of)(const RolloutItem *item),
                               const char *state);

/* Those that run are no part of the chunk: what later_state means is noted of those whose turn has
 * not come, the others are returned (of RolloutItem; caller unrefs). */
GPtrArray *rollout_chunk_take_running(RolloutChunk *chunk, const char *later_state);

/* Replace the disks of what was so taken, several at a time.  What it could not be done with is
 * noted, in this state, and committed. */
typedef gboolean (*RolloutDisk)(Job *job, World *world, const Rollout *rollout,
                                const RolloutItem *item, GError **error);
gboolean rollout_replace_running(Job *job, World *world, const Rollout *rollout,
                                 const GPtrArray *items, RolloutDisk disk, const char *busy_state,
                                 GError **error);

/* A way to go over the rows of a roll-out: which it takes, and what it does with them. */
typedef struct {
    const char *from_state;  /* of the rows */
    const char *later_state; /* of those that run, as for rollout_chunk_take_running() */
    const char *busy_state;  /* of those that it can't have now */
    json_t *(*keys_of)(const RolloutItem *item);
    gboolean (*replace)(RolloutChunk *chunk, Job *job, Changes *changes, GError **error);
    RolloutDisk replace_stopped;
} RolloutWay;

/* Up to n rows that way: first those that are off, as one chunk with these changes (taken over),
 * then those that run. */
gboolean rollout_chunk_go(const RolloutWay *way, Job *job, World *world, const Rollout *rollout,
                          guint n, Changes *changes, GError **error);

/* This row (a batch item of it is taken over) is to be worked on. */
void rollout_chunk_add(RolloutChunk *chunk, const RolloutItem *item, json_t *batch_item);

/* What became of a row: reason (or NULL), or an error's message. */
void rollout_chunk_note(RolloutChunk *chunk, gint64 position, const char *state,
                        const char *reason);
void rollout_chunk_note_error(RolloutChunk *chunk, gint64 position, const char *state,
                              const GError *why);

/* All notes, as one change. */
void rollout_chunk_put_notes(const RolloutChunk *chunk, Changes *changes);
