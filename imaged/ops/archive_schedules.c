/* archive_schedules.c: archives made by the clock: set, shown, removed, begun when they are due.
 *
 * A run that was missed (the daemon was down) is caught up once.  That it began is noted together
 * with the job's intent, so it begins once, whatever happens then. */
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/ops/archives.h"
#include "imaged/ops/args.h"
#include "imaged/ops/jobs.h"
#include "imaged/ops/view.h"
#include "snapshot/archive.h"
#include "snapshot/archive_schedule.h"

#define COLLECT_MS 3600000ll

#define SCHEDULE_COLUMNS                                                                           \
    "SELECT s.id, s.name, t.name AS target, s.what, s.timing, CASE s.last_run WHEN s.created_at"   \
    " THEN NULL ELSE s.last_run END AS last_run__time, s.last_run AS after, s.created_at AS"       \
    " created_at__time FROM archive_schedule s JOIN archive_target t ON t.id = s.target_id WHERE "

/* What a schedule archives, for people.  Caller frees. */
static char *selection_text(const json_t *what)
{
    const char *prefix = json_string_value(json_object_get(what, "prefix"));
    const char *template = json_string_value(json_object_get(what, "template"));
    g_autoptr(GString) out = g_string_new(NULL);
    size_t i;
    json_t *name;

    if (prefix)
        g_string_append_printf(out, "%s*", prefix);
    else if (template)
        g_string_append_printf(out, "desktops of %s", template);
    json_array_foreach(json_object_get(what, "names"), i, name) {
        g_string_append_printf(out, "%s%s", i ? ", " : "", json_string_value(name));
    }
    return g_string_free(g_steal_pointer(&out), FALSE);
}

/* Say when it is due next, and what it archives, as JSON. */
static void complete(json_t *object)
{
    g_autoptr(GTimeZone) zone = g_time_zone_new_local();
    ArchiveSchedule schedule;
    gint64 after = json_integer_value(json_object_get(object, "after"));
    json_t *what = json_loads(json_string_value(json_object_get(object, "what")), 0, NULL);

    if (archive_schedule_parse(json_string_value(json_object_get(object, "timing")), &schedule,
                               NULL)) {
        ScheduleVerdict v = archive_schedule_look(&schedule, after, units_now_ms(), zone);
        g_autofree char *next = units_format_time(v.next_ms);
        json_object_set_new(object, "next_run", json_string(next));
    }
    g_autofree char *selection = selection_text(what);
    json_object_set_new(object, "selection", json_string(selection));
    json_object_set_new(object, "what", what ? what : json_null());
    json_object_del(object, "after");
}

json_t *ops_archive_schedule_list(OpsCall *call, GError **error)
{
    ViewPage page;
    json_t *schedule;
    size_t i;

    if (!args_check(call, "search limit after", error) || !view_page(call, &page, error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    json_t *out =
        view_array(db_query(db, SCHEDULE_COLUMNS "s.name > coalesce(?1, '') ORDER BY s.name", "t",
                            page.after),
                   page.search, page.limit, error);
    catalog_read_end(call->world->catalog, db);
    json_array_foreach(out, i, schedule) {
        complete(schedule);
    }
    return out;
}

static json_t *schedule_object(World *world, const char *id)
{
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db, SCHEDULE_COLUMNS "s.id = ?1", "t", id);
    json_t *out = query_next(q) ? view_object(q) : NULL;

    query_end(q, NULL);
    catalog_read_end(world->catalog, db);
    if (out)
        complete(out);
    return out;
}

static json_t *selection(OpsCall *call, GError **error)
{
    const char *prefix = args_text(call, "prefix", FALSE, NULL);
    const char *template = args_text(call, "template", FALSE, NULL);
    json_t *names = NULL;

    if (!args_texts(call, "names", &names, error))
        return NULL;
    if (!!names + !!prefix + !!template != 1) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "name desktops or templates, or a prefix, or the template whose desktops are"
                    " meant: one of the three");
        return NULL;
    }
    return names    ? json_pack("{s:O}", "names", names)
           : prefix ? json_pack("{s:s}", "prefix", prefix)
                    : json_pack("{s:s}", "template", template);
}

static gboolean put_schedule(OpsCall *call, const char *name, const char *target_id,
                             const json_t *what, const ArchiveSchedule *schedule, const char *id,
                             GError **error)
{
    g_autofree char *store_id = archives_default_store(call->world, error);
    g_autofree char *timing = archive_schedule_format(schedule);
    char *text = json_dumps(what, JSON_COMPACT);
    gint64 now = units_now_ms();
    ArchiveScheduleRow row = { .id = (char *)id, .name = (char *)name,
                               .target_id = (char *)target_id, .what = text, .timing = timing,
                               .store_id = store_id, .last_run = now, .created_at = now };
    Changes *changes = changes_new();

    if (store_id)
        changes_put(changes, ROW_ARCHIVE_SCHEDULE, &row, store_id);
    changes_event(changes, "archive.schedule", "info", name, call->who, "%s", timing);
    if (store_id && catalog_commit(call->world->catalog, changes, error)) {
        free(text);
        return TRUE;
    }
    if (!store_id)
        changes_free(changes);
    free(text);
    return FALSE;
}

json_t *ops_archive_schedule_add(OpsCall *call, GError **error)
{
    g_autofree char *target = NULL;
    ArchiveSchedule schedule;
    Id id = id_new();
    const char *name = args_text(call, "name", TRUE, error);
    const char *timing = name ? args_text(call, "timing", TRUE, error) : NULL;

    if (!timing || !args_check(call, "name timing target names prefix template", error) ||
        !args_are_texts(call, "prefix template", error) ||
        !name_check("schedule", name, error) ||
        !archive_schedule_parse(timing, &schedule, error) ||
        !archives_find_target(call, "target", TRUE, &target, error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean is_taken = lookup_int(
        db, "SELECT EXISTS (SELECT 1 FROM archive_schedule WHERE name = ?1)", "t", name);
    catalog_read_end(call->world->catalog, db);
    if (is_taken) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS, "there is a schedule '%s' already",
                    name);
        return NULL;
    }
    json_t *what = selection(call, error);
    gboolean ok = what && archive_check_refs(call->world, json_object_get(what, "names"), error) &&
                  put_schedule(call, name, target, what, &schedule, id.s, error);
    json_decref(what);
    return ok ? schedule_object(call->world, id.s) : NULL;
}

json_t *ops_archive_schedule_remove(OpsCall *call, GError **error)
{
    g_auto(LookupRows) rows = { 0 };
    const char *name = args_text(call, "schedule", TRUE, error);

    if (!name || !args_check(call, "schedule", error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = lookup_rows(db, ROW_ARCHIVE_SCHEDULE, &rows, error,
                              "SELECT * FROM archive_schedule WHERE name = ?1", "t", name);
    catalog_read_end(call->world->catalog, db);
    if (ok && rows.rows->len == 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no such schedule");
        ok = FALSE;
    }
    if (!ok)
        return NULL;
    const ArchiveScheduleRow *row = rows.rows->pdata[0];
    json_t *out = schedule_object(call->world, row->id);
    Changes *changes = changes_new();
    changes_delete(changes, ROW_ARCHIVE_SCHEDULE, row->id, row->store_id);
    changes_event(changes, "archive.schedule", "info", name, call->who, "removed");
    if (catalog_commit(call->world->catalog, changes, error))
        return out;
    json_decref(out);
    return NULL;
}

/* ---- The clock ---- */

static void say_failed(World *world, const char *name, const GError *why)
{
    Changes *changes = changes_new();
    g_autofree char *message = imaged_error_message(why);

    changes_event(changes, "archive.schedule", "warning", name, NULL, "it could not begin: %s",
                  message);
    catalog_commit(world->catalog, changes, NULL);
}

static void note_run(World *world, ArchiveScheduleRow *row, gint64 last_run)
{
    Changes *changes = changes_new();

    row->last_run = last_run;
    changes_put(changes, ROW_ARCHIVE_SCHEDULE, row, row->store_id);
    catalog_commit(world->catalog, changes, NULL);
}

/* Begin one run; the note that it began goes with the job's intent, or by itself if it can't. */
static void begin(World *world, ArchiveScheduleRow *row, const ArchiveSchedule *schedule,
                  gint64 now)
{
    g_auto(BatchPlan) plan = { 0 };
    g_autoptr(GError) error = NULL;
    json_t *what = json_loads(row->what, 0, NULL);
    g_autofree char *keep = prune_policy_format(&schedule->keep);
    g_autofree char *description = g_strdup_printf("schedule %s", row->name);
    Changes *changes = changes_new();

    row->last_run = now;
    changes_put(changes, ROW_ARCHIVE_SCHEDULE, row, row->store_id);
    if (archives_plan_selection(world, what, row->target_id, description, keep, &plan, &error)) {
        JobRequest request = { .owner = "imaged" };
        plan.type = &archive_create_keep_job;
        batch_plan_take(&plan, &request);
        request.changes = changes;
        g_free(job_submit(world->jobs, &request, &error));
    } else {
        catalog_commit(world->catalog, changes, NULL);
    }
    if (error)
        say_failed(world, row->name, error);
    json_decref(what);
}

static void run_schedules(World *world, gint64 now)
{
    g_auto(LookupRows) rows = { 0 };
    g_autoptr(GTimeZone) zone = NULL;
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_rows(db, ROW_ARCHIVE_SCHEDULE, &rows, NULL,
                              "SELECT * FROM archive_schedule ORDER BY name", "");

    catalog_read_end(world->catalog, db);
    if (!ok || rows.rows->len == 0)
        return;
    zone = g_time_zone_new_local();
    for (guint i = 0; i < rows.rows->len; i++) {
        ArchiveScheduleRow *row = rows.rows->pdata[i];
        ArchiveSchedule schedule;
        if (!archive_schedule_parse(row->timing, &schedule, NULL))
            continue;
        ScheduleVerdict v = archive_schedule_look(&schedule, row->last_run, now, zone);
        if (v.is_due)
            begin(world, row, &schedule, now);
        else if (v.last_run_ms != row->last_run) /* noted by a wrong clock */
            note_run(world, row, v.last_run_ms);
    }
}

/* Points whose time in the trash is over. */
static void collect_expired(World *world, gint64 now)
{
    g_autoptr(GPtrArray) ids = g_ptr_array_new_with_free_func(g_free);
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db,
                        "SELECT DISTINCT p.target_id AS id FROM archive_point p JOIN archive_target"
                        " t ON t.id = p.target_id LEFT JOIN archive_scan s ON s.target_id = t.id"
                        " WHERE p.deleted_at < ?1 AND coalesce(s.collected_at, 0) < ?2",
                        "ii", now - world->settings.trash_keep_ms, now - COLLECT_MS);

    while (query_next(q))
        g_ptr_array_add(ids, g_strdup(query_text(q, "id")));
    query_end(q, NULL);
    catalog_read_end(world->catalog, db);
    for (guint i = 0; i < ids->len; i++) {
        JobRequest request = { 0 };
        Changes *changes = changes_new();
        changes_sql(changes,
                    "INSERT INTO archive_scan (target_id, scanned_at, collected_at) VALUES"
                    " (?1, 0, ?2) ON CONFLICT (target_id) DO UPDATE SET collected_at = ?2",
                    "ti", ids->pdata[i], now);
        if (catalog_commit(world->catalog, changes, NULL) &&
            archive_plan_collect(world, ids->pdata[i], FALSE, &request, NULL)) {
            request.owner = "imaged";
            g_free(job_submit(world->jobs, &request, NULL));
        }
    }
}

void archives_tick(World *world, gint64 now_ms)
{
    run_schedules(world, now_ms);
    collect_expired(world, now_ms);
}
