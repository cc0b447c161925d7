/* archive_keep.c: see archive_keep.h. */
#include "snapshot/archive_keep.h"

#include "imaged/base/units.h"
#include "snapshot/archive.h"

typedef struct {
    char *id, *name;
    gint64 created_at, bytes;
    gboolean is_sound;
} Candidate;

static void candidate_clear(gpointer data)
{
    Candidate *c = data;

    g_free(c->id);
    g_free(c->name);
}

static void add(json_t *out, const Candidate *c, gboolean keep, const char *why)
{
    g_autofree char *time = units_format_time(c->created_at);

    json_array_append_new(out, json_pack("{s:s,s:s,s:s,s:b,s:s,s:I}", "id", c->id, "name", c->name,
                                         "created_at", time, "keep", keep, "why", why, "bytes",
                                         (json_int_t)c->bytes));
}

/* The verdicts on all points of one desktop or template. */
static gboolean judge(const GArray *group, const PrunePolicy *policy, json_t *out, GError **error)
{
    g_autofree PrunePoint *points = g_new0(PrunePoint, group->len);
    g_autoptr(GTimeZone) zone = g_time_zone_new_local();
    guint n = 0;

    for (guint i = 0; i < group->len; i++) {
        const Candidate *c = &g_array_index(group, Candidate, i);
        if (c->is_sound)
            points[n++] = (PrunePoint){ c->id, c->created_at };
    }
    PruneVerdict *verdicts = archive_prune(points, n, policy, units_now_ms(), zone, error);
    if (!verdicts && n)
        return FALSE;
    for (guint i = 0, k = 0; i < group->len; i++) {
        const Candidate *c = &g_array_index(group, Candidate, i);
        if (!c->is_sound) {
            add(out, c, TRUE, "it is not whole, so no rule counts it");
            continue;
        }
        add(out, c, verdicts[k].keep, verdicts[k].why);
        k++;
    }
    archive_prune_free(verdicts, n);
    return TRUE;
}

json_t *archive_keep_reckon(World *world, const char *target_id, const char *of,
                            const char *description, const PrunePolicy *policy, GError **error)
{
    g_autoptr(GArray) group = g_array_new(FALSE, TRUE, sizeof(Candidate));
    g_autofree char *last = NULL;
    json_t *out = json_array();
    gboolean ok = TRUE;

    g_array_set_clear_func(group, candidate_clear);
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db,
                        "SELECT id, name, created_at, bytes, state = 'ok' AS sound,"
                        " coalesce(desktop_id, CASE WHEN json_valid(manifest) THEN"
                        " json_extract(manifest, '$.template.id') END, id) || ' ' ||"
                        " coalesce(snapshot, '') AS who FROM"
                        " archive_point WHERE target_id = ?1 AND deleted_at IS NULL AND (?2 IS NULL"
                        " OR name = ?2 OR substr(name, 1, length(?2) + 1) IN (?2 || '@',"
                        " ?2 || ':')) AND (?3 IS NULL OR (json_valid(manifest) AND"
                        " json_extract(manifest, '$.description') = ?3))"
                        " ORDER BY who, created_at DESC, id DESC",
                        "ttt", target_id, of, description);
    while (ok && query_next(q)) {
        const char *who = query_text(q, "who");
        Candidate c = { g_strdup(query_text(q, "id")), g_strdup(query_text(q, "name")),
                        query_int(q, "created_at"), query_int(q, "bytes"),
                        query_int(q, "sound") != 0 };
        if (last && !g_str_equal(last, who)) {
            ok = judge(group, policy, out, error);
            g_array_set_size(group, 0);
        }
        g_free(last);
        last = g_strdup(who);
        g_array_append_val(group, c);
    }
    ok = query_end(q, ok ? error : NULL) && ok;
    catalog_read_end(world->catalog, db);
    ok = ok && (group->len == 0 || judge(group, policy, out, error));
    if (ok)
        return out;
    json_decref(out);
    return NULL;
}

json_t *archive_keep_to_delete(const json_t *points)
{
    json_t *ids = json_array(), *point;
    size_t i;

    json_array_foreach((json_t *)points, i, point) {
        if (!json_is_true(json_object_get(point, "keep")))
            json_array_append(ids, json_object_get(point, "id"));
    }
    return ids;
}

void archive_keep_apply(World *world, const char *target_id, const json_t *names,
                        const char *description, const char *policy_text)
{
    PrunePolicy policy = { 0 };
    json_t *ids = json_array(), *name;
    g_auto(BatchPlan) plan = { 0 };
    size_t i;

    if (!prune_policy_parse(policy_text, &policy, NULL) || prune_policy_is_empty(&policy)) {
        json_decref(ids);
        return;
    }
    json_array_foreach((json_t *)names, i, name) {
        json_t *points = archive_keep_reckon(world, target_id, json_string_value(name), description,
                                             &policy, NULL);
        json_t *some = archive_keep_to_delete(points);
        json_array_extend(ids, some);
        json_decref(some);
        json_decref(points);
    }
    if (json_array_size(ids) && archive_plan_delete(world, ids, FALSE, &plan, NULL)) {
        JobRequest request = { .owner = "imaged" };
        batch_plan_take(&plan, &request);
        g_free(job_submit(world->jobs, &request, NULL));
    }
    json_decref(ids);
}
