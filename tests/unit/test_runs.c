/* test_runs.c: rows of runs follow what their host says, not what it said before. */
#include "broker/run/runs.h"

#include "broker/run/figures.h"
#include "imaged/base/units.h"
#include "tests/unit/catalog_fixture.h"

#define HOST "h0000000000000000000000000000001"
#define UUID "00000000-0000-0000-0000-000000000001"

/* What the host answers when it is asked for the domain. */
static struct {
    gboolean is_there, is_silent;
    DomainState state;
    const char *incarnation;
} fake;

static HostDomain *fake_find(gpointer link, const char *uuid, GError **error)
{
    g_assert_cmpstr(uuid, ==, UUID);
    if (!fake.is_there || fake.is_silent) {
        g_set_error(error, IMAGED_ERROR,
                    fake.is_silent ? IMAGED_ERROR_UNAVAILABLE : IMAGED_ERROR_NOT_FOUND, "none");
        return NULL;
    }
    HostDomain *out = g_new0(HostDomain, 1);
    g_strlcpy(out->uuid, UUID, sizeof out->uuid);
    out->incarnation = g_strdup(fake.incarnation);
    out->desktop_id = g_strdup("d");
    out->state = fake.state;
    return out;
}

static const HostDriver driver = { .find = fake_find };

typedef struct {
    World world;
} Fixture;

static void sql(Fixture *f, const char *text)
{
    Changes *changes = changes_new();

    changes_sql(changes, text, "");
    g_assert_true(commit(f->world.catalog, changes));
}

static void set_up(Fixture *f, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    catalog_fixture_start();
    memset(f, 0, sizeof *f);
    memset(&fake, 0, sizeof fake);
    fake.is_there = TRUE;
    fake.incarnation = "one";
    f->world.catalog = catalog_open_named("runs");
    f->world.claims = claims_new();
    f->world.figures = figures_new();
    sql(f, "INSERT INTO template VALUES ('t', 'office', 1, 0, 0, 0)");
    sql(f, "INSERT INTO version (id, template_id, version, state, is_trashed, layer_id, cpus,"
           " memory_bytes, os, description, source, notes, created_at, changed_at) VALUES ('v',"
           " 't', 1, 'published', 0, 'l', 1, 1, '', '', '', '', 0, 0)");
    sql(f, "INSERT INTO host (id, name, uri, accelerator, store_paths, is_maintenance, created_at)"
           " VALUES ('" HOST "', 'vs-a', 'test:///x', 'tcg', '{}', 0, 0)");
    sql(f, "INSERT INTO desktop (id, name, version_id, owner, generation, layer_id, store_id, mac,"
           " uuid, state, is_trashed, created_at, changed_at) VALUES ('d', 'lab', 'v', '', 1, 'l',"
           " 's', '', '" UUID "', 'ok', 0, 0, 0)");
    sql(f, "INSERT INTO run (desktop_id, host_id, incarnation, generation, state, started_at,"
           " changed_at) VALUES ('d', '" HOST "', 'one', 1, 'running', 0, 0)");
    f->world.runs = runs_new(&f->world, &error);
    g_assert_no_error(error);
}

static void tear_down(Fixture *f, gconstpointer unused)
{
    runs_free(f->world.runs);
    figures_free(f->world.figures);
    claims_free(f->world.claims);
    catalog_close(f->world.catalog);
    catalog_fixture_end();
}

/* The host listed the domain in this state (-1: not at all); the row is so afterwards ("": gone).
 */
static void seen(Fixture *f, int listed, const char *want)
{
    g_autoptr(GPtrArray) domains = g_ptr_array_new_with_free_func(host_domain_free);
    g_auto(RunRow) row = { 0 };

    if (listed >= 0) {
        HostDomain *d = g_new0(HostDomain, 1);
        g_strlcpy(d->uuid, UUID, sizeof d->uuid);
        d->incarnation = g_strdup("one");
        d->desktop_id = g_strdup("d");
        d->state = (DomainState)listed;
        g_ptr_array_add(domains, d);
    }
    runs_seen(&f->world, HOST, domains, &driver, NULL);
    Db *db = catalog_read_begin(f->world.catalog);
    gboolean is_on = run_lookup(db, "d", &row, NULL);
    catalog_read_end(f->world.catalog, db);
    g_assert_cmpstr(is_on ? row.state : "", ==, want);
}

static void test_follows(Fixture *f, gconstpointer unused)
{
    seen(f, DOMAIN_RUNNING, "running");
    fake.state = DOMAIN_PAUSED;
    seen(f, DOMAIN_PAUSED, "paused");
    fake.state = DOMAIN_RUNNING;
    seen(f, DOMAIN_RUNNING, "running");
    fake.is_there = FALSE;
    seen(f, -1, "");
}

/* It was listed while it was restored; by now it goes on, which the job has noted. */
static void test_old_news(Fixture *f, gconstpointer unused)
{
    seen(f, DOMAIN_PAUSED, "running");
    seen(f, DOMAIN_ENDING, "running");
    seen(f, -1, "running");
    fake.is_there = FALSE;
    seen(f, DOMAIN_PAUSED, "");
}

/* Nobody answers: nothing is known.  Another incarnation is not ours. */
static void test_unknown(Fixture *f, gconstpointer unused)
{
    fake.is_silent = TRUE;
    seen(f, DOMAIN_PAUSED, "running");
    seen(f, -1, "running");
    fake.is_silent = FALSE;
    fake.state = DOMAIN_PAUSED;
    fake.incarnation = "two";
    seen(f, DOMAIN_PAUSED, "running");
}

/* What a job is at work on is the job's. */
static void test_claimed(Fixture *f, gconstpointer unused)
{
    json_auto_t *keys = json_array();

    claims_add(keys, 'x', "run", "d");
    g_assert_true(claims_take(f->world.claims, keys, "job", NULL));
    fake.state = DOMAIN_PAUSED;
    seen(f, DOMAIN_PAUSED, "running");
    fake.is_there = FALSE;
    seen(f, -1, "running");
    claims_release(f->world.claims, keys);
    seen(f, -1, "");
}

/* Who wants something of a desktop that is off is not told that there is none. */
static void test_off(Fixture *f, gconstpointer unused)
{
    g_auto(RunRow) row = { 0 };
    g_autoptr(GError) error = NULL;

    fake.is_there = FALSE;
    seen(f, -1, "");
    Db *db = catalog_read_begin(f->world.catalog);
    g_assert_false(run_lookup(db, "d", &row, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_false(run_lookup_on(db, "d", &row, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED);
    catalog_read_end(f->world.catalog, db);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add("/runs/" #name, Fixture, NULL, set_up, test_##name, tear_down)
    ADD(follows);
    ADD(old_news);
    ADD(unknown);
    ADD(claimed);
    ADD(off);
    return g_test_run();
}
