/* batch.h: jobs over many things: each succeeds or fails with its own reason, all share flushes.
 *
 * The plan has "items" (objects with id and name) and "rejected" (those that failed before the job
 * began).  They are worked off in chunks; a chunk is prepared (files), committed (facts and the
 * job's step in one transaction), and completed (what may as well happen later).  Locks on images
 * that a chunk takes are held until it is complete. */
#pragma once

#include "cow/image_lock.h"
#include "imaged/job/world.h"

typedef struct {
    Job *job;
    World *world;
    json_t *plan;
    json_t *items;    /* of the whole plan */
    guint first, n;   /* this chunk's */
    GError **errors;  /* n of them: an item's failure; set by prepare */
    Changes *changes; /* filled by prepare */
    GArray *locks;    /* of ImageLock */
    gsize n_failed;   /* items that failed in the chunks before */
} BatchChunk;

typedef struct {
    /* Make the effects durable and fill in changes, for items without an error.  FALSE: the whole
     * chunk failed, and nothing of it is left. */
    gboolean (*prepare)(BatchChunk *chunk, GError **error);
    void (*undo)(BatchChunk *chunk);     /* the commit failed; may be NULL */
    void (*complete)(BatchChunk *chunk); /* after the commit; may be NULL */
} BatchType;

#define BATCH_CHUNK 1024u /* items that share flushes and a transaction */
gboolean batch_run(Job *job, World *world, const BatchType *type, GError **error);

/* One chunk alone, for a job of which only parts are batches: made of items (array, borrowed, at
 * most BATCH_CHUNK), a plan that prepare may look into (borrowed, may be NULL) and changes (taken
 * over); to be prepared by the caller, committed with the job's next step (what type says follows),
 * and freed. */
BatchChunk *batch_chunk_new(Job *job, World *world, json_t *plan, json_t *items, Changes *changes);
gboolean batch_chunk_commit(BatchChunk *chunk, const BatchType *type, GError **error);
void batch_chunk_free(BatchChunk *chunk);

/* The same for one item of the job's plan, all of it: prepared and committed. */
gboolean batch_run_one(Job *job, World *world, json_t *item, const BatchType *type,
                       GError **error);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BatchChunk, batch_chunk_free)

/* Item i of the chunk, and a text in it. */
json_t *batch_item(const BatchChunk *chunk, guint i);
const char *batch_text(const BatchChunk *chunk, guint i, const char *key);

/* Take QEMU's writer lock on a layer for the chunk; on failure the item's error is set. */
gboolean batch_lock(BatchChunk *chunk, guint i, Store *store, const char *slot);

/* The same for a layer that goes, whose file may be missing (store_hold_layer()). */
gboolean batch_hold(BatchChunk *chunk, guint i, Store *store, const char *slot, StoreStat *ret_stat,
                    gboolean *ret_is_there);

/* Remember that a slot of a store goes to its trash folder once the chunk's facts are committed,
 * and do that (the complete function of most types).  What a stop leaves unmoved, the sweep at the
 * next start moves: either folder is right. */
void batch_move_later(BatchChunk *chunk, guint i, const char *store_id, const char *slot);
void batch_move_now(BatchChunk *chunk);

/* With the last chunk: an event for the whole batch, "VERB 12 desktops", or of the one item by its
 * name.  To be called by prepare, when the items' errors are known. */
void batch_event(BatchChunk *chunk, const char *kind, const char *verb, const char *things);

/* ---- Building a plan ---- */

typedef struct {
    json_t *plan, *items, *rejected, *claims; /* plan owns items and rejected */
    const JobType *type;
    World *world;
    gboolean with_runs; /* to be set before batch_plan_init(): desktops that run are not busy, since
                         * the job stops them: their runs are claimed (batch_plan_desktop_key()) */
} BatchPlan;

void batch_plan_init(BatchPlan *plan, World *world, const JobType *type);
void batch_plan_clear(BatchPlan *plan); /* releases its claims */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BatchPlan, batch_plan_clear)

/* What of a desktop a plan that replaces its disk claims: "desktop", or "run" (with_runs). */
const char *batch_plan_desktop_key(const BatchPlan *plan);

/* Take more claims for the whole plan (keys taken over).  BUSY. */
gboolean batch_plan_claim(BatchPlan *plan, json_t *keys, GError **error);

/* Add an item with its own claims (both taken over); one that is busy is rejected. */
void batch_plan_add(BatchPlan *plan, json_t *item, json_t *keys);
void batch_plan_reject(BatchPlan *plan, const char *name, const GError *error);

/* Hand the plan over as a request to submit. */
void batch_plan_take(BatchPlan *plan, JobRequest *ret_request);
