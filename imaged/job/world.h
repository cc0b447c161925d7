/* world.h: what the domain modules work with, handed down from the daemon's wiring.
 *
 * All of it may be used from any thread.  Settings never change while the daemon runs. */
#pragma once

#include <glib.h>

#include "cow/store_set.h"
#include "imaged/catalog/catalog.h"
#include "imaged/guest/guest.h"
#include "imaged/job/claims.h"
#include "imaged/job/job.h"
#include "imaged/job/space_level.h"

typedef struct {
    gint64 trash_keep_ms;        /* how long the trash keeps what it holds */
    gint64 merged_keep_ms;       /* the same for layers that a merge replaced */
    guint max_chain_depth;       /* own layers that are no snapshot, beyond which some are merged */
    guint64 low_space_bytes;     /* below this much free space no new work starts */
    guint low_space_percent;     /* nor below this share of the store */
    guint64 warn_space_bytes;    /* below these there is a warning, likewise */
    guint warn_space_percent;
    gboolean empty_when_low;     /* then the oldest trash is given back at once */
    gint64 backup_interval_ms;   /* of the catalog into the stores */
    gint64 data_check_interval_ms; /* of a read of all frozen layers; 0 = never */
    StoreLayerFormat layer_format; /* of stores that are made */
    char *image_group;           /* group of layers, or NULL */
    gint64 directory_interval_ms; /* between looks at users and groups of directories */
    gboolean inspect_imports;    /* look into template versions that were just made */
    GuestSettings guest;
    char *alert_ca, *sendmail, *mail_from; /* alerts: CA certificates (NULL: the system's); mail */
    gint64 alert_timeout_ms;     /* for a receiver's answer */
    gint64 mail_interval_ms;     /* between two mails of one alert */
    char *health_dir, *health_user; /* commands that roll-outs may run; whose rights they get */
} Settings;

typedef struct {
    Catalog *catalog;
    StoreSet *stores;
    Claims *claims;
    JobQueue *jobs;
    struct Exports *exports; /* imaged/ops/exports.h */
    struct Hosts *hosts;     /* broker/host/hosts.h */
    struct Runs *runs;       /* broker/run/runs.h */
    struct Directories *directories; /* broker/access/directory.h */
    struct Logins *logins;   /* broker/access/login.h */
    struct Relays *relays;     /* broker/session/rfb_relay.h */
    struct Shadows *shadows;   /* broker/session/shadow.h */
    struct Sessions *sessions; /* broker/session/sessions.h */
    struct Figures *figures; /* broker/run/figures.h */
    struct Pools *pools;     /* broker/pool/pools.h */
    struct Alerts *alerts;   /* broker/alert/alerts.h */
    Guest *guest;            /* the helper imaged-guest */
    Settings settings;
    char *manager_id;
    char *state_dir;
    const char *rescue_reason; /* in rescue mode: why (static); else NULL */
    gint64 started_at;
    gint expiry_held;    /* atomic: the clock has jumped */
} World;

/* NO_SPACE if a store is below its watermark, so that no new work is begun there. */
gboolean world_check_space(World *world, Store *store, guint64 wanted_bytes, GError **error);
gboolean world_is_low(World *world, Store *store);

/* The same with a memory, for what is told of it.  FALSE: not known. */
gboolean world_space_level(World *world, Store *store, SpaceLevel was, SpaceLevel *ret,
                           StoreSpace *ret_space);

/* For what writes into a store without asking us, as a helper's disk: GuestRun's look. */
typedef struct {
    World *world;
    Store *store;
    guint64 wanted_bytes; /* that it is about to write: reckoned with at the next look, once */
    gint64 next_us;
} SpaceWatch;
gboolean world_watch_space(gpointer watch, GError **error);

/* Take claims that others hold for a moment, for a job, until limit_ms are over (then BUSY)
 * or the job is cancelled. */
gboolean world_wait_claims(World *world, Job *job, const json_t *keys, gint64 limit_ms,
                           GError **error);
