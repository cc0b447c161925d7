/* rollout_check.c: the health gate: the command of the roll-out, run for what was moved, or a look
 * at those that run, which is the broker's (RolloutRuns).
 *
 * A few desktops at a time, several commands at once; nothing new is begun after the first that
 * says no.  What came out is committed, then the next few have their turn, so a stop repeats little
 * and a pause is soon. */
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "snapshot/health_command.h"
#include "snapshot/health_disk.h"
#include "snapshot/rollout.h"

#define AT_ONCE 8
#define LOOKS_AT_ONCE 32 /* at desktops that run: these wait */
#define A_FEW 64

/* One desktop to be looked at. */
typedef struct {
    gint64 position;
    char *desktop_id;
    gboolean is_gone; /* its disk was replaced since: it is none of ours any more */
    gboolean was_run;
    gboolean is_off;  /* so nobody can tell */
    GPtrArray *environment;
    GError *error;
} Check;

typedef struct {
    const Rollout *rollout;
    World *world;
    const gint *cancel;
    int fd;
    gint has_failed; /* atomic */
} Gate;

static void free_check(gpointer data)
{
    Check *check = data;

    g_ptr_array_unref(check->environment);
    g_free(check->desktop_id);
    g_clear_error(&check->error);
    g_free(check);
}

static void add_variable(Check *check, const char *name, const char *value)
{
    g_ptr_array_add(check->environment, g_strdup_printf("%s=%s", name, value ? value : ""));
}

static Check *read_check(Query *q, const Rollout *rollout)
{
    static const char *const variables[][2] = {
        { "IMAGED_DESKTOP", "name" },       { "IMAGED_DESKTOP_ID", "desktop_id" },
        { "IMAGED_TEMPLATE", "template" },  { "IMAGED_VERSION", "version" },
        { "IMAGED_GENERATION", "present" }, { "IMAGED_MAC", "mac" },
        { "IMAGED_OWNER", "owner" },
    };
    Check *check = g_new0(Check, 1);

    check->position = query_int(q, "position");
    check->desktop_id = g_strdup(query_text(q, "desktop_id"));
    check->is_gone = query_int(q, "is_gone") != 0;
    check->environment = g_ptr_array_new_with_free_func(g_free);
    add_variable(check, "PATH", "/usr/local/bin:/usr/bin:/bin");
    add_variable(check, "LC_ALL", "C.UTF-8");
    add_variable(check, "IMAGED_ROLLOUT", rollout->name);
    for (guint i = 0; i < G_N_ELEMENTS(variables); i++)
        add_variable(check, variables[i][0], query_text(q, variables[i][1]));
    return check;
}

static GPtrArray *read_checks(World *world, const Rollout *rollout)
{
    GPtrArray *checks = g_ptr_array_new_with_free_func(free_check);
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db,
                        "SELECT r.position, r.desktop_id, coalesce(d.name, r.name) AS name,"
                        " CAST(d.generation AS TEXT) AS present, d.mac, d.owner, t.name AS"
                        " template, CAST(v.version AS TEXT) AS version, coalesce(d.is_trashed, 1)"
                        " OR d.generation <> r.generation AS is_gone FROM rollout_desktop r"
                        " LEFT JOIN desktop d ON d.id = r.desktop_id LEFT JOIN version v ON"
                        " v.id = ?2 LEFT JOIN template t ON t.id = v.template_id WHERE"
                        " r.rollout_id = ?1 AND r.state = 'moved' AND r.health = 'unchecked'"
                        " ORDER BY r.position LIMIT ?3",
                        "tti", rollout->id, rollout->version_id, (gint64)A_FEW);

    while (query_next(q))
        g_ptr_array_add(checks, read_check(q, rollout));
    query_end(q, NULL);
    catalog_read_end(world->catalog, db);
    return checks;
}

/* Where it reads the disk; or why it can't, which is for the command to judge. */
static HealthDisk *add_disk(Check *check, World *world)
{
    g_autoptr(GError) error = NULL;
    HealthDisk *disk = health_disk_serve(world, check->desktop_id, &error);

    if (disk)
        add_variable(check, "IMAGED_DISK_URI", health_disk_uri(disk));
    else
        add_variable(check, "IMAGED_DISK_ERROR", error->message);
    g_ptr_array_add(check->environment, NULL);
    return disk;
}

static gboolean is_of_run(const Rollout *rollout)
{
    return rollout->runs && rollout_health_is_of_run(rollout->health);
}

static void set_error_seen(Check *check, Gate *gate)
{
    if (g_error_matches(check->error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED))
        check->was_run = FALSE;
    else
        g_atomic_int_set(&gate->has_failed, 1);
}

static void look_at_run(Check *check, Gate *gate)
{
    if (!gate->rollout->runs->is_healthy(gate->world, gate->rollout, check->desktop_id,
                                         gate->cancel, &check->is_off, &check->error))
        set_error_seen(check, gate);
}

/* In a thread of the pool. */
static void run_check(gpointer data, gpointer user)
{
    Check *check = data;
    Gate *gate = user;
    HealthCommand command = { .name = gate->rollout->health,
                              .fd = gate->fd,
                              .user = gate->world->settings.health_user,
                              .limit_ms = gate->rollout->health_limit_ms,
                              .cancel = gate->cancel };

    if (check->is_gone || g_atomic_int_get(&gate->has_failed) || g_atomic_int_get(gate->cancel))
        return;
    check->was_run = TRUE;
    if (is_of_run(gate->rollout)) {
        look_at_run(check, gate);
        return;
    }
    g_autoptr(HealthDisk) disk = add_disk(check, gate->world);
    command.environment = (const char *const *)check->environment->pdata;
    if (!health_command_run(&command, &check->error))
        set_error_seen(check, gate);
}

/* Of the row in rollout_desktop: has the desktop the disk still that the row is about?  It may have
 * been replaced while the command ran, so what that said is of another disk. */
#define IS_OURS                                                                                    \
    "EXISTS (SELECT 1 FROM desktop d WHERE d.id = desktop_id AND d.is_trashed = 0 AND"             \
    " d.generation = rollout_desktop.generation)"

static void put_results(Changes *changes, const Rollout *rollout, const GPtrArray *checks)
{
    for (guint i = 0; i < checks->len; i++) {
        const Check *check = checks->pdata[i];
        g_autofree char *why = check->error    ? imaged_error_message(check->error)
                               : check->is_off ? g_strdup("it is off, so nobody can tell")
                                               : NULL;
        if (check->was_run || check->is_gone)
            changes_sql(changes,
                        "UPDATE rollout_desktop SET health = CASE WHEN " IS_OURS " THEN ?3 ELSE"
                        " 'waived' END, reason = CASE WHEN " IS_OURS " THEN ?4 ELSE"
                        " 'its disk was replaced since' END, changed_at = ?5 WHERE"
                        " rollout_id = ?1 AND position = ?2",
                        "titti", rollout->id, check->position,
                        check->error    ? "failed"
                        : check->is_off ? "waived"
                                        : "ok",
                        why, units_now_ms());
    }
}

gboolean rollout_check(Job *job, World *world, const Rollout *rollout, GError **error)
{
    g_autoptr(GPtrArray) checks = read_checks(world, rollout);
    Gate gate = { .rollout = rollout,
                  .world = world,
                  .cancel = job_cancel_flag(job),
                  .fd = -1 };
    HealthUser user;
    gboolean of_run = is_of_run(rollout);

    if (!of_run && health_disk_user(world, &user, error))
        gate.fd = health_command_open(world->settings.health_dir, rollout->health, error);
    if (!of_run && gate.fd < 0)
        return FALSE;
    GThreadPool *pool =
        g_thread_pool_new(run_check, &gate, of_run ? LOOKS_AT_ONCE : AT_ONCE, FALSE, NULL);
    for (guint i = 0; i < checks->len; i++)
        g_thread_pool_push(pool, checks->pdata[i], NULL);
    g_thread_pool_free(pool, FALSE, TRUE);
    durable_close(&gate.fd);
    Changes *changes = changes_new();
    put_results(changes, rollout, checks);
    return job_commit(job, changes, job_step(job) + 1, error);
}
