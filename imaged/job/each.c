/* each.c: see each.h. */
#include "imaged/job/each.h"

#include "imaged/base/units.h"

static json_t *item_result(const json_t *item, const GError *why)
{
    json_t *out = json_pack("{s:O?,s:O?,s:b}", "id", json_object_get(item, "id"), "name",
                            json_object_get(item, "name"), "ok", why == NULL);

    json_object_update_missing(out, json_object_get(item, "result"));
    if (why)
        json_object_set_new(out, "error", job_error_json(why));
    return out;
}

gboolean job_each(Job *job, World *world, JobEach each, GError **error)
{
    json_t *plan = job_plan(job), *items = json_object_get(plan, "items"), *list = json_array();
    gint64 started = units_now_ms();
    gsize n = json_array_size(items), n_done = 0;
    gboolean ok = TRUE;

    for (gsize i = 0; ok && i < n; i++) {
        json_t *item = json_array_get(items, i);
        g_autoptr(GError) why = NULL;
        if (!(ok = job_check(job, error)))
            break;
        job_message(job, "%s", json_string_value(json_object_get(item, "name")));
        gboolean is_done = each(job, world, item, &why);
        n_done += is_done;
        json_array_append_new(list, item_result(item, is_done ? NULL : why));
        if (n > 1)
            job_progress(job, i + 1, n);
    }
    ok = ok && job_check(job, error); /* cancelled within the last item */
    json_array_extend(list, json_object_get(plan, "rejected"));
    json_t *result = json_pack("{s:I,s:I,s:I,s:o}", "n_done", (json_int_t)n_done, "n_failed",
                               (json_int_t)(json_array_size(list) - n_done), "elapsed_ms",
                               (json_int_t)(units_now_ms() - started), "items", list);
    if (ok)
        return job_commit_done(job, changes_new(), result, error);
    job_set_partial(job, result);
    return FALSE;
}
