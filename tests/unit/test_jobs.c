/* test_jobs.c: jobs of kinds made here: their ends, steps, tiers, batches, restarts. */
#include "tests/unit/catalog_fixture.h"

#include "imaged/job/batch.h"

#define WAIT_MS 20000

/* ---- Kinds of jobs ---- */

static GMutex gate_lock;
static GCond gate_cond;
static gboolean gate_closed;
static guint n_at_gate, n_undone, n_completed;

static void set_gate(gboolean closed)
{
    g_mutex_lock(&gate_lock);
    gate_closed = closed;
    g_cond_broadcast(&gate_cond);
    g_mutex_unlock(&gate_lock);
}

static void wait_at_gate(guint n)
{
    g_mutex_lock(&gate_lock);
    while (n_at_gate < n)
        g_cond_wait(&gate_cond, &gate_lock);
    g_mutex_unlock(&gate_lock);
}

/* Stand at the gate until it opens or the job is told to end. */
static gboolean pass_gate(Job *job, GError **error)
{
    gboolean ok = TRUE;

    g_mutex_lock(&gate_lock);
    n_at_gate++;
    g_cond_broadcast(&gate_cond);
    while (gate_closed && (ok = job_check(job, error)))
        g_cond_wait_until(&gate_cond, &gate_lock, g_get_monotonic_time() + 5000);
    n_at_gate--;
    g_mutex_unlock(&gate_lock);
    return ok;
}

/* "steps" commits, each of which may be made only once; before step "gate" it stands at the gate.
 */
static gboolean run_steps(Job *job, gpointer world, GError **error)
{
    gint64 n = json_integer_value(json_object_get(job_plan(job), "steps"));
    json_t *gate = json_object_get(job_plan(job), "gate");

    for (gint64 step = job_step(job); step < n; step++) {
        g_autofree char *key = g_strdup_printf("%s/%d", job_id(job), (int)step);
        Changes *changes = changes_new();
        if (gate && step == json_integer_value(gate) && !pass_gate(job, error)) {
            changes_free(changes);
            return FALSE;
        }
        job_progress(job, (guint64)step + 1, (guint64)n);
        job_message(job, "step %d%s", (int)step, job_is_resumed(job) ? " again" : "");
        changes_sql(changes, "INSERT INTO meta (key, value) VALUES (?1, '')", "t", key);
        if (!job_commit(job, changes, step + 1, error))
            return FALSE;
    }
    return job_commit_done(job, changes_new(), json_pack("{s:I}", "n", (json_int_t)n), error);
}

static gboolean run_fail(Job *job, gpointer world, GError **error)
{
    const char *how = json_string_value(json_object_get(job_plan(job), "how"));

    job_set_partial(job, json_pack("{s:s}", "so", "far"));
    if (g_str_equal(how, "foreign"))
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_ISDIR, "not ours");
    else if (!g_str_equal(how, "silent"))
        g_set_error(error, IMAGED_ERROR, imaged_error_from_name(how), "it is %s\nhint", how);
    return FALSE;
}

/* Items called "bad..." fail; "break" makes the commit of its chunk fail. */
static gboolean prepare(BatchChunk *chunk, GError **error)
{
    for (guint i = 0; i < chunk->n; i++) {
        const char *name = batch_text(chunk, i, "name");
        if (g_str_has_prefix(name, "bad"))
            g_set_error(&chunk->errors[i], IMAGED_ERROR, IMAGED_ERROR_BUSY, "no %s\ntry", name);
        else if (g_str_equal(name, "break"))
            changes_sql(chunk->changes, "INSERT INTO meta (key) VALUES ('no value')", "");
        else if (g_str_equal(name, "refuse"))
            return g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NO_SPACE, "full"), FALSE;
        else
            changes_sql(chunk->changes, "INSERT INTO meta (key, value) VALUES (?1, '')", "t", name);
    }
    return chunk->first == 0 || pass_gate(chunk->job, error);
}

static void undo(BatchChunk *chunk)
{
    n_undone++;
}

static void complete(BatchChunk *chunk)
{
    n_completed++;
}

static gboolean run_batch(Job *job, gpointer world, GError **error)
{
    static const BatchType type = { prepare, undo, complete };

    return batch_run(job, world, &type, error);
}

static const JobType quick_job = { "test.quick", JOB_INTERACTIVE, "steps", run_steps };
static const JobType bulk_job = { "test.bulk", JOB_BULK, "steps", run_steps };
static const JobType fail_job = { "test.fail", JOB_INTERACTIVE, "things", run_fail };
static const JobType batch_job = { "test.batch", JOB_BULK, "things", run_batch };
static const JobType *const types[] = { &quick_job, &bulk_job, &fail_job, &batch_job, NULL };

/* ---- A queue of them ---- */

static World world;

static void start_queue(void)
{
    world.claims = claims_new();
    world.jobs = job_queue_new(world.catalog, world.claims, types, &world, 2, 2);
}

static void stop_queue(void)
{
    job_queue_stop(world.jobs);
    job_queue_free(world.jobs);
    claims_free(world.claims);
}

static void set_up(gpointer fixture, gconstpointer data)
{
    n_undone = n_completed = 0;
    set_gate(FALSE);
    world.catalog = catalog_open_named("jobs.db");
    start_queue();
}

static void tear_down(gpointer fixture, gconstpointer data)
{
    stop_queue();
    catalog_close(world.catalog);
    catalog_fixture_empty();
}

static char *submit(const JobType *type, json_t *plan, json_t *claims)
{
    JobRequest request = { type, plan, claims, 10, "ann", NULL, NULL };
    g_autoptr(GError) error = NULL;
    char *id = job_submit(world.jobs, &request, &error);

    g_assert_no_error(error);
    return id;
}

static json_t *get_job(const char *id)
{
    g_autoptr(GError) error = NULL;
    json_t *job = job_to_json(world.jobs, id, TRUE, &error);

    g_assert_no_error(error);
    return job;
}

/* Wait for its end, and compare; the JSON is the caller's. */
static json_t *finish(const char *id, const char *state)
{
    job_wait(world.jobs, id, WAIT_MS);
    json_t *job = get_job(id);
    g_assert_cmpstr(json_string_value(json_object_get(job, "state")), ==, state);
    return job;
}

static gint64 number(const json_t *object, const char *key)
{
    g_assert_true(json_is_integer(json_object_get(object, key)));
    return json_integer_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void test_done(gpointer fixture, gconstpointer data)
{
    json_t *keys = json_array();
    claims_add(keys, 'x', "desktop", "d");
    g_assert_true(claims_take(world.claims, keys, "test.quick", NULL));
    set_gate(TRUE);
    g_autofree char *id = submit(&quick_job, json_pack("{s:i,s:i}", "steps", 5, "gate", 2), keys);
    wait_at_gate(1);
    json_t *job = get_job(id);
    g_assert_cmpstr(text(job, "state"), ==, "running");
    g_assert_cmpint(number(job, "done"), ==, 2);
    g_assert_cmpint(number(job, "total"), ==, 5);
    g_assert_cmpstr(text(job, "message"), ==, "step 1");
    g_assert_true(json_is_null(json_object_get(job, "finished_at")));
    g_assert_true(claims_has(world.claims, "desktop/d"));
    g_assert_cmpuint(job_n_running(world.jobs), ==, 1);
    json_decref(job);
    set_gate(FALSE);
    job = finish(id, "done");
    g_assert_cmpint(number(job, "done"), ==, 5);
    g_assert_cmpint(number(json_object_get(job, "result"), "n"), ==, 5);
    g_assert_cmpstr(text(job, "owner"), ==, "ann");
    g_assert_cmpstr(text(job, "kind"), ==, "test.quick");
    g_assert_cmpstr(text(job, "tier"), ==, "interactive");
    g_assert_nonnull(text(job, "finished_at"));
    g_assert_true(json_is_null(json_object_get(job, "error")));
    g_assert_false(claims_has(world.claims, "desktop/d"));
    g_assert_cmpuint(job_n_running(world.jobs), ==, 0);
    json_decref(job);
    g_autoptr(GError) error = NULL;
    g_assert_false(job_cancel(world.jobs, id, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
    g_clear_error(&error);
    g_assert_null(job_to_json(world.jobs, "no\nsuch", FALSE, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_false(job_cancel(world.jobs, "none", &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND);
}

static void test_failed(gpointer fixture, gconstpointer data)
{
    static const struct {
        const char *how, *state, *code;
    } table[] = {
        { "no_space", "failed", "no_space" },      { "corrupt", "failed", "corrupt" },
        { "foreign", "failed", "failed" },         { "silent", "failed", "failed" },
        { "cancelled", "cancelled", "cancelled" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autofree char *id = submit(&fail_job, json_pack("{s:s}", "how", table[i].how), NULL);
        json_t *job = finish(id, table[i].state), *error = json_object_get(job, "error");
        g_assert_cmpstr(text(error, "code"), ==, table[i].code);
        g_assert_null(strchr(text(error, "message"), '\n'));
        g_assert_cmpstr(text(error, "hint"), ==, i == 2 || i == 3 ? NULL : "hint");
        g_assert_cmpstr(text(json_object_get(job, "result"), "so"), ==, "far");
        json_decref(job);
    }
    g_assert_cmpint(count_of(world.catalog, "SELECT count(*) FROM event WHERE kind = 'job.failed'"),
                    ==, 4);
}

static void test_cancelled(gpointer fixture, gconstpointer data)
{
    set_gate(TRUE);
    g_autofree char *one = submit(&bulk_job, json_pack("{s:i,s:i}", "steps", 3, "gate", 1), NULL);
    g_autofree char *two = submit(&bulk_job, json_pack("{s:i,s:i}", "steps", 3, "gate", 1), NULL);
    wait_at_gate(2);
    g_autofree char *waits = submit(&bulk_job, json_pack("{s:i}", "steps", 3), NULL);
    json_t *job = get_job(waits);
    g_assert_cmpstr(text(job, "state"), ==, "queued");
    json_decref(job);
    g_assert_true(job_cancel(world.jobs, waits, NULL));
    g_assert_true(job_cancel(world.jobs, one, NULL));
    json_decref(finish(one, "cancelled"));
    json_decref(finish(waits, "cancelled"));
    set_gate(FALSE);
    json_decref(finish(two, "done"));
    /* the one that waited did nothing, the other one step */
    g_assert_cmpint(count_of(world.catalog, "SELECT count(*) FROM meta"), ==, 4);
}

static void test_tiers(gpointer fixture, gconstpointer data)
{
    g_autofree char *bulk[4] = { NULL };

    set_gate(TRUE);
    for (guint i = 0; i < 4; i++)
        bulk[i] = submit(&bulk_job, json_pack("{s:i,s:i}", "steps", 1, "gate", 0), NULL);
    wait_at_gate(2);
    for (guint i = 0; i < 10; i++) {
        g_autofree char *id = submit(&quick_job, json_pack("{s:i}", "steps", 1), NULL);
        json_decref(finish(id, "done"));
    }
    g_assert_cmpuint(job_n_running(world.jobs), ==, 4);
    guint64 stamp = 0;
    job_wait_change(world.jobs, &stamp, WAIT_MS);
    g_assert_cmpuint(stamp, >, 0);
    set_gate(FALSE);
    for (guint i = 0; i < 4; i++) {
        json_decref(finish(bulk[i], "done"));
        g_free(g_steal_pointer(&bulk[i]));
    }
}

static void test_idempotency(gpointer fixture, gconstpointer data)
{
    JobRequest request = { .type = &quick_job, .idem_key = "key", .idem_hash = "hash" };
    g_autoptr(GError) error = NULL;

    request.plan = json_pack("{s:i}", "steps", 2);
    g_assert_null(job_find_idempotent(world.jobs, "key", "hash", &error));
    g_assert_no_error(error);
    g_autofree char *one = job_submit(world.jobs, &request, &error);
    json_decref(finish(one, "done"));
    json_t *keys = json_array();
    claims_add(keys, 'x', "desktop", "d");
    g_assert_true(claims_take(world.claims, keys, "test.quick", NULL));
    request.plan = json_pack("{s:i}", "steps", 3);
    request.claims = keys;
    g_autofree char *two = job_submit(world.jobs, &request, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(one, ==, two);
    g_assert_false(claims_has(world.claims, "desktop/d"));
    g_autofree char *found = job_find_idempotent(world.jobs, "key", "hash", &error);
    g_assert_cmpstr(one, ==, found);
    request.plan = json_pack("{s:i}", "steps", 3);
    request.claims = NULL;
    request.idem_hash = "other";
    g_assert_null(job_submit(world.jobs, &request, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS);
    g_clear_error(&error);
    g_assert_null(job_find_idempotent(world.jobs, "key", "other", &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS);
    g_assert_cmpint(count_of(world.catalog, "SELECT count(*) FROM job"), ==, 1);
}

static void test_resume(gpointer fixture, gconstpointer data)
{
    json_t *keys = json_array();
    g_autoptr(GError) error = NULL;

    claims_add(keys, 'x', "desktop", "d");
    g_assert_true(claims_take(world.claims, keys, "test.bulk", NULL));
    set_gate(TRUE);
    g_autofree char *id = submit(&bulk_job, json_pack("{s:i,s:i}", "steps", 6, "gate", 3), keys);
    g_autofree char *b = submit(&bulk_job, json_pack("{s:i,s:i}", "steps", 1, "gate", 0), NULL);
    wait_at_gate(2);
    g_autofree char *queued = submit(&bulk_job, json_pack("{s:i}", "steps", 2), NULL);
    stop_queue();
    g_assert_cmpint(count_of(world.catalog, "SELECT count(*) FROM job WHERE state IN ('queued',"
                                            " 'running')"),
                    ==, 3);
    Changes *changes = changes_new();
    changes_sql(changes,
                "INSERT INTO job (id, kind, tier, state, owner, plan, step, done, total, unit,"
                " message, epoch, created_at) VALUES ('old', 'gone.kind', 'bulk', 'running', '',"
                " '{}', 0, 0, 0, '', '', 0, 0), ('odd', 'test.bulk', 'bulk', 'queued', '',"
                " 'no plan', 0, 0, 0, '', '', 0, 0)",
                "");
    commit(world.catalog, changes);

    start_queue();
    g_assert_true(job_queue_resume(world.jobs, &error));
    g_assert_no_error(error);
    wait_at_gate(2);
    g_assert_true(claims_has(world.claims, "desktop/d"));
    set_gate(FALSE);
    json_t *job = finish(id, "done");
    g_assert_cmpint(number(job, "done"), ==, 6);
    g_assert_cmpstr(text(job, "message"), ==, "step 5 again");
    json_decref(job);
    json_decref(finish(b, "done"));
    json_decref(finish(queued, "done"));
    json_decref(finish("old", "failed"));
    json_decref(finish("odd", "failed"));
    g_assert_cmpint(count_of(world.catalog, "SELECT count(*) FROM meta"), ==, 9);
    g_assert_false(claims_has(world.claims, "desktop/d"));
}

/* ---- Batches ---- */

/* A plan of n items; those in the list of words are called so instead of "item-N". */
static char *submit_batch(guint n, const char *words)
{
    g_auto(GStrv) special = g_strsplit(words, " ", 0);
    g_auto(BatchPlan) plan = { 0 };
    g_autoptr(GError) error = NULL;
    JobRequest request = { 0 };

    batch_plan_init(&plan, &world, &batch_job);
    for (guint i = 0; i < n; i++) {
        g_autofree char *name = g_strdup_printf("item-%u", i);
        Id id = id_derive("item", name, "");
        json_t *keys = json_array();
        claims_add(keys, 'x', "item", id.s);
        batch_plan_add(&plan,
                       json_pack("{s:s,s:s}", "id", id.s, "name",
                                 i < g_strv_length(special) && *special[i] ? special[i] : name),
                       keys);
    }
    batch_plan_take(&plan, &request);
    char *id = job_submit(world.jobs, &request, &error);
    g_assert_no_error(error);
    return id;
}

static void check_result(json_t *job, gint64 n_done, gint64 n_failed, gsize n_items)
{
    json_t *result = json_object_get(job, "result"), *item;
    gint64 n = 0;
    size_t i;

    g_assert_cmpint(number(result, "n_done"), ==, n_done);
    g_assert_cmpint(number(result, "n_failed"), ==, n_failed);
    g_assert_cmpuint(json_array_size(json_object_get(result, "items")), ==, n_items);
    json_array_foreach (json_object_get(result, "items"), i, item)
        n += json_is_true(json_object_get(item, "ok")) && !json_object_get(item, "error");
    g_assert_cmpint(n, ==, n_done);
    json_decref(job);
}

static void test_batch(gpointer fixture, gconstpointer data)
{
    json_t *keys = json_array();
    Id taken = id_derive("item", "item-4", "");

    claims_add(keys, 'x', "item", taken.s);
    g_assert_true(claims_take(world.claims, keys, "another", NULL));
    g_autofree char *some = submit_batch(6, "bad-1  bad-2");
    json_t *job = finish(some, "done");
    g_assert_cmpstr(
        text(json_object_get(
                 json_array_get(json_object_get(json_object_get(job, "result"), "items"), 0),
                 "error"),
             "code"),
        ==, "busy");
    check_result(job, 3, 3, 6); /* two bad ones, and one whose claim was taken */
    claims_release(world.claims, keys);
    json_decref(keys);
    g_assert_cmpuint(n_completed, ==, 1);
    g_assert_cmpint(count_of(world.catalog, "SELECT count(*) FROM meta"), ==, 3);

    g_autofree char *none = submit_batch(0, "");
    check_result(finish(none, "done"), 0, 0, 0);
    g_autofree char *broken = submit_batch(3, "x break");
    check_result(finish(broken, "failed"), 0, 0, 0);
    g_assert_cmpuint(n_undone, ==, 1);
    g_autofree char *refused = submit_batch(3, "x refuse");
    check_result(finish(refused, "failed"), 0, 0, 0);
    g_assert_cmpuint(n_undone, ==, 1); /* nothing of it was left */
    g_autofree char *two = submit_batch(3000, "x break");
    check_result(finish(two, "failed"), 0, 0, 0);
    g_assert_cmpuint(n_undone, ==, 3); /* the second chunk's files were there already */
    g_assert_cmpint(count_of(world.catalog, "SELECT count(*) FROM meta"), ==, 3);
}

static void test_batch_resume(gpointer fixture, gconstpointer data)
{
    set_gate(TRUE);
    g_autofree char *id = submit_batch(5000, "bad a bad b");
    wait_at_gate(1);
    stop_queue();
    g_assert_cmpint(count_of(world.catalog, "SELECT step FROM job"), ==, BATCH_CHUNK);
    g_assert_cmpint(count_of(world.catalog, "SELECT count(*) FROM meta"), ==, BATCH_CHUNK - 2);
    set_gate(FALSE);
    start_queue();
    g_assert_true(job_queue_resume(world.jobs, NULL));
    check_result(finish(id, "done"), 4998, 2, 5000);
    g_assert_cmpint(count_of(world.catalog, "SELECT count(*) FROM meta"), ==, 4998);
    g_assert_cmpuint(n_completed, ==, (5000 + BATCH_CHUNK - 1) / BATCH_CHUNK);

    Changes *changes = changes_new();
    changes_sql(changes, "DELETE FROM meta", "");
    commit(world.catalog, changes);
    set_gate(TRUE); /* cancelled in the middle: what was done before stands */
    g_autofree char *next = submit_batch(3000, "bad c");
    wait_at_gate(1);
    g_assert_true(job_cancel(world.jobs, next, NULL));
    check_result(finish(next, "cancelled"), BATCH_CHUNK - 1, 1, BATCH_CHUNK);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    catalog_fixture_start();
    catalog_fixture_add("/jobs/done", set_up, test_done, tear_down);
    catalog_fixture_add("/jobs/failed", set_up, test_failed, tear_down);
    catalog_fixture_add("/jobs/cancelled", set_up, test_cancelled, tear_down);
    catalog_fixture_add("/jobs/tiers", set_up, test_tiers, tear_down);
    catalog_fixture_add("/jobs/idempotency", set_up, test_idempotency, tear_down);
    catalog_fixture_add("/jobs/resume", set_up, test_resume, tear_down);
    catalog_fixture_add("/jobs/batch", set_up, test_batch, tear_down);
    catalog_fixture_add("/jobs/batch-resume", set_up, test_batch_resume, tear_down);
    int ret = g_test_run();
    catalog_fixture_end();
    return ret;
}
