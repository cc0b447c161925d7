/* rollout_start.c: a roll-out is begun: what was asked for, its rows, its first run. */
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/ops/args.h"
#include "imaged/ops/rollout_plan.h"
#include "imaged/ops/rollouts.h"
#include "imaged/ops/submit.h"
#include "snapshot/health_disk.h"

#define NAME_TRIES 3

typedef struct {
    RolloutPlan plan;
    gint64 canary, batch, max_unavailable, health_s, deadline_ms;
    const char *health; /* or NULL */
    const char *when;   /* or NULL */
} Start;

static gboolean parse_when(OpsCall *call, Start *s, GError **error)
{
    static const char *const words[] = { "now", "idle", "next-stop", NULL };

    s->when = args_text(call, "when", FALSE, NULL);
    if (!s->when || g_strv_contains(words, s->when))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                "'when' is now, idle or next-stop (for desktops that run)");
    return FALSE;
}

static gboolean check_health(OpsCall *call, Start *s, GError **error)
{
    s->health = args_text(call, "health", FALSE, NULL);
    if (!s->health || g_str_equal(s->health, "none")) {
        s->health = NULL;
        return TRUE;
    }
    if (rollout_health_is_of_run(s->health)) {
        if (s->when && !g_str_equal(s->when, "next-stop"))
            return TRUE;
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "health by %s is seen of desktops that are started again: 'when' must be now"
                    " or idle",
                    s->health);
        return FALSE;
    }
    HealthUser user;
    auto_fd fd = health_command_open(call->world->settings.health_dir, s->health, error);
    return fd >= 0 && health_disk_user(call->world, &user, error);
}

static gboolean parse_start(OpsCall *call, Start *s, GError **error)
{
    if (!args_check(call,
                    "template to names prefix all canary batch max_unavailable health"
                    " health_timeout_s deadline when dry_run",
                    error) ||
        !args_are_texts(call, "prefix health deadline when", error) ||
        !parse_when(call, s, error) ||
        !args_int(call, "canary", -1, 0, G_MAXINT32, &s->canary, error) ||
        !args_int(call, "batch", ROLLOUT_CHUNK, 1, G_MAXINT32, &s->batch, error) ||
        !args_int(call, "max_unavailable", -1, 0, G_MAXINT32, &s->max_unavailable, error) ||
        !args_int(call, "health_timeout_s", 60, 1, 86400, &s->health_s, error) ||
        !rollouts_parse_deadline(call, &s->deadline_ms, error) || !check_health(call, s, error) ||
        !rollout_plan(call, &s->plan, error))
        return FALSE;
    guint n = s->plan.n_waiting;
    if (s->canary < 0)
        s->canary = rollout_default_canary(n);
    if (s->max_unavailable < 0)
        s->max_unavailable = rollout_default_unavailable(n);
    return TRUE;
}

/* "win-4", "win-4-2" ...: the first that is free.  Caller frees. */
static char *free_name(World *world, const RolloutPlan *plan)
{
    g_autofree char *first =
        g_strdup_printf("%.40s-%" G_GINT64_FORMAT, plan->template.name, plan->version.version);
    char *name = g_strdup(first);
    Db *db = catalog_read_begin(world->catalog);

    for (guint i = 2;
         lookup_int(db, "SELECT EXISTS (SELECT 1 FROM rollout WHERE name = ?1)", "t", name); i++) {
        g_free(name);
        name = g_strdup_printf("%s-%u", first, i);
    }
    catalog_read_end(world->catalog, db);
    return name;
}

static Changes *insert(OpsCall *call, const Start *s, const Rollout *r)
{
    char *rows = json_dumps(s->plan.rows, JSON_COMPACT);
    Changes *changes = changes_new();
    gint64 now = units_now_ms();

    changes_sql(changes,
                "INSERT INTO rollout (id, name, template_id, version_id, state, is_backward,"
                " wants_pause, canary, batch, max_unavailable, health, health_limit_ms, deadline,"
                " owner, job_id, created_at, started_at, when_running) VALUES (?1, ?2, ?3, ?4,"
                " 'planned', 0, 0, ?5, ?6, ?7, ?8, ?9, ?10, ?11, '', ?12, ?12, ?13)",
                "ttttiiitiitit", r->id, r->name, s->plan.template.id, s->plan.version.id, s->canary,
                s->batch, s->max_unavailable, s->health, s->health_s * 1000, s->deadline_ms,
                call->who ? call->who : "", now, s->when);
    changes_sql(changes,
                "INSERT INTO rollout_desktop (rollout_id, position, desktop_id, name, version_id,"
                " state, layer_id, trash_id, reason, is_open, changed_at) SELECT ?1, value ->> 0,"
                " value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,"
                " value ->> 7, value ->> 4 = 'waiting', ?3 FROM json_each(?2)",
                "tti", r->id, rows, now);
    changes_event(changes, "rollout.start", "info", r->name, call->who,
                  "%u desktop%s to %s:%" G_GINT64_FORMAT, s->plan.n_waiting,
                  s->plan.n_waiting == 1 ? "" : "s", s->plan.template.name,
                  s->plan.version.version);
    free(rows);
    return changes;
}

/* Stores that are offline are not asked: their desktops are unavailable. */
static gboolean check_space(World *world, const LookupRows *desktops, GError **error)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

    for (guint i = 0; i < desktops->rows->len; i++) {
        const DesktopRow *row = desktops->rows->pdata[i];
        if (!g_hash_table_add(seen, row->store_id))
            continue;
        g_autoptr(Store) store = store_set_get(world->stores, row->store_id, NULL);
        if (store && !world_check_space(world, store, 0, error))
            return FALSE;
    }
    return TRUE;
}

static void start(OpsCall *call, const Start *s, GError **error)
{
    for (guint i = 0; i < NAME_TRIES; i++) {
        Id id = id_new();
        g_autofree char *name = free_name(call->world, &s->plan);
        Rollout r = { .id = id.s, .name = name };
        json_t *claims = rollouts_claims(id.s, s->plan.version.id);
        GError *local = NULL;
        if (!rollouts_claim(call->world, claims, s->plan.version.id, error))
            return;
        rollouts_submit(call, &r, claims, insert(call, s, &r), s->plan.n_waiting, &local);
        if (!local)
            return;
        /* Another one was begun at this moment: with our name, or with our desktops. */
        if (!g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_EXISTS) || i + 1 == NAME_TRIES) {
            g_propagate_error(error, local);
            return;
        }
        g_error_free(local);
        if (!rollout_plan_check_free(call->world, s->plan.rows, error))
            return;
    }
}

json_t *ops_rollout_start(OpsCall *call, GError **error)
{
    Start s = { 0 };
    json_t *out = NULL;
    gboolean dry_run;

    if (!args_bool(call, "dry_run", &dry_run, error) ||
        (!dry_run && submit_is_repeat(call, error)) || (error && *error))
        return NULL;
    if (parse_start(call, &s, error)) {
        if (dry_run)
            out = rollout_plan_view(call->world, &s.plan, s.when, (guint)s.canary, (guint)s.batch);
        else if (check_space(call->world, &s.plan.desktops, error))
            start(call, &s, error);
    }
    rollout_plan_clear(&s.plan);
    return out;
}
