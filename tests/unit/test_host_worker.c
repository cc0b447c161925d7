/* test_host_worker.c: a host that answers, one that hangs, one that comes and goes. */
#include "broker/host/worker.h"

#include <string.h>

#include "imaged/base/error.h"

#define LIMIT_MS 60000

/* ---- A host that does as it is told ---- */

static struct {
    GMutex lock;
    GCond cond;
    gboolean is_off, is_hung, is_broken, is_stuck;
    guint n_opens, n_open, n_looks;
    HostListener listener;
} fake;

static void set(gboolean *flag, gboolean on)
{
    g_mutex_lock(&fake.lock);
    *flag = on;
    g_cond_broadcast(&fake.cond);
    g_mutex_unlock(&fake.lock);
}

static gpointer fake_open(const char *uri, const HostListener *listener, GError **error)
{
    g_mutex_lock(&fake.lock);
    while (fake.is_stuck)
        g_cond_wait(&fake.cond, &fake.lock);
    gboolean is_off = fake.is_off;
    fake.n_opens++;
    fake.n_open += !is_off;
    fake.listener = *listener;
    g_mutex_unlock(&fake.lock);
    if (is_off)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "nobody is there");
    return is_off ? NULL : &fake;
}

static void fake_close(gpointer link)
{
    g_mutex_lock(&fake.lock);
    fake.n_open--;
    g_mutex_unlock(&fake.lock);
}

static gboolean fake_is_alive(gpointer link)
{
    g_mutex_lock(&fake.lock);
    gboolean is = !fake.is_broken;
    g_mutex_unlock(&fake.lock);
    return is;
}

static gboolean fake_facts(gpointer link, HostFacts *ret, GError **error)
{
    *ret = (HostFacts){ .hostname = g_strdup("h"), .n_cpus = 4, .memory_bytes = 1 << 30 };
    return TRUE;
}

static GPtrArray *fake_domains(gpointer link, GError **error)
{
    GPtrArray *out = g_ptr_array_new_with_free_func(host_domain_free);
    HostDomain *d = g_new0(HostDomain, 1);

    d->name = g_strdup("a");
    d->memory_bytes = 1 << 20;
    g_ptr_array_add(out, d);
    g_mutex_lock(&fake.lock);
    fake.n_looks++;
    g_cond_broadcast(&fake.cond);
    g_mutex_unlock(&fake.lock);
    return out;
}

static const HostDriver driver = { .open = fake_open,
                                   .close = fake_close,
                                   .is_alive = fake_is_alive,
                                   .facts = fake_facts,
                                   .domains = fake_domains };

static gint n_seen, n_changed;

static void seen(gpointer user, const char *host_id, const GPtrArray *domains, const HostDriver *d,
                 gpointer link)
{
    g_assert_cmpuint(domains->len, ==, 1);
    g_atomic_int_inc(&n_seen);
}

static void changed(gpointer user, const char *host_id, HostState state, const char *why)
{
    g_atomic_int_inc(&n_changed);
}

static const HostWatcher watcher = { seen, changed, NULL };

static HostWorker *start(void)
{
    memset(&fake, 0, sizeof fake);
    g_mutex_init(&fake.lock);
    g_cond_init(&fake.cond);
    n_seen = n_changed = 0;
    return host_worker_new("id", "fake", &driver, &watcher);
}

static void wait_for_state(HostWorker *w, HostState wanted)
{
    gint64 end = g_get_monotonic_time() + LIMIT_MS * 1000;

    for (;;) {
        g_auto(HostView) view = { 0 };
        host_worker_view(w, &view);
        if (view.state == wanted)
            return;
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
}

static void finish(HostWorker *w)
{
    host_worker_end(w);
    host_worker_unref(w);
}

/* ---- Calls ---- */

typedef struct {
    gint *n_cleared;
    guint answer;
    gboolean fails;
} Data;

static void clear(gpointer data)
{
    g_atomic_int_inc(((Data *)data)->n_cleared);
}

/* Stands while the host hangs. */
static gboolean work(const HostDriver *d, gpointer link, gpointer data, GError **error)
{
    Data *mine = data;

    g_mutex_lock(&fake.lock);
    while (fake.is_hung)
        g_cond_wait(&fake.cond, &fake.lock);
    g_mutex_unlock(&fake.lock);
    mine->answer = 42;
    if (mine->fails)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "no such domain");
    return !mine->fails;
}

static Data *data_new(gint *n_cleared)
{
    Data *data = g_atomic_rc_box_new0(Data);

    data->n_cleared = n_cleared;
    return data;
}

static void wait_until_cleared(gint *n_cleared)
{
    gint64 end = g_get_monotonic_time() + LIMIT_MS * 1000;

    while (g_atomic_int_get(n_cleared) == 0) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
}

static void test_call(void)
{
    HostWorker *w = start();
    g_autoptr(GError) error = NULL;
    g_auto(HostView) view = { 0 };
    gint n_cleared = 0;
    Data *data = data_new(&n_cleared);

    wait_for_state(w, HOST_UP);
    g_assert_true(host_worker_call(w, work, data, clear, LIMIT_MS, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(data->answer, ==, 42);
    data->fails = TRUE;
    g_assert_false(host_worker_call(w, work, data, clear, LIMIT_MS, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND);
    g_atomic_rc_box_release_full(data, clear);
    wait_until_cleared(&n_cleared);
    host_worker_view(w, &view);
    g_assert_cmpuint(view.facts.n_cpus, ==, 4);
    g_assert_cmpuint(view.n_domains, ==, 1);
    finish(w);
}

/* Who gives up leaves the call behind; it is done once the host goes on, and hurts nobody. */
static void test_hung(void)
{
    HostWorker *w = start();
    g_autoptr(GError) error = NULL;
    gint n_cleared = 0;
    Data *data = data_new(&n_cleared);

    wait_for_state(w, HOST_UP);
    set(&fake.is_hung, TRUE);
    gint64 begin = g_get_monotonic_time();
    g_assert_false(host_worker_call(w, work, data, clear, 50, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE);
    g_assert_cmpint(g_get_monotonic_time() - begin, <, LIMIT_MS * 1000);
    g_atomic_rc_box_release_full(data, clear);
    g_assert_cmpint(g_atomic_int_get(&n_cleared), ==, 0); /* the call holds it still */
    finish(w);                                            /* nor does its end wait */
    set(&fake.is_hung, FALSE);
    wait_until_cleared(&n_cleared);
}

/* One that waited behind another until its time was up is never done: a start that nobody waits for
 * any more would run a desktop that has no lease. */
static void test_not_begun(void)
{
    HostWorker *w = start();
    g_autoptr(GError) error = NULL;
    gint n_cleared = 0, n_late_cleared = 0;
    Data *first = data_new(&n_cleared), *late = data_new(&n_late_cleared);

    wait_for_state(w, HOST_UP);
    set(&fake.is_hung, TRUE);
    g_assert_false(host_worker_call(w, work, first, clear, 50, &error)); /* begun, or soon */
    g_clear_error(&error);
    g_assert_false(host_worker_call(w, work, late, clear, 50, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE);
    g_clear_error(&error);
    set(&fake.is_hung, FALSE);
    Data *next = data_new(&n_cleared);
    g_assert_true(host_worker_call(w, work, next, clear, LIMIT_MS, &error));
    g_assert_cmpuint(late->answer, ==, 0);
    g_atomic_rc_box_release_full(late, clear);
    g_assert_cmpint(g_atomic_int_get(&n_late_cleared), ==, 1); /* nobody else has it */
    g_atomic_rc_box_release_full(first, clear);
    g_atomic_rc_box_release_full(next, clear);
    finish(w);
}

/* Breaks the connection, and fails in words that say nothing of that. */
static gboolean work_and_break(const HostDriver *d, gpointer link, gpointer data, GError **error)
{
    Data *mine = data;

    set(&fake.is_broken, TRUE);
    g_set_error(error, IMAGED_ERROR,
                mine->fails ? IMAGED_ERROR_NOT_FOUND : IMAGED_ERROR_FAILED, "internal error");
    return FALSE;
}

/* What became of it is not known then, whatever the error says; unless there was no domain. */
static void test_broken(void)
{
    for (guint says_none = 0; says_none < 2; says_none++) {
        HostWorker *w = start();
        g_autoptr(GError) error = NULL;
        gint n_cleared = 0;
        Data *data = data_new(&n_cleared);

        wait_for_state(w, HOST_UP);
        data->fails = says_none;
        g_assert_false(host_worker_call(w, work_and_break, data, clear, LIMIT_MS, &error));
        gint code = says_none ? IMAGED_ERROR_NOT_FOUND : IMAGED_ERROR_UNAVAILABLE;
        g_assert_error(error, IMAGED_ERROR, code);
        g_assert_nonnull(strstr(error->message, "internal error"));
        g_atomic_rc_box_release_full(data, clear);
        finish(w);
    }
}

static void test_off(void)
{
    HostWorker *w = start();
    g_autoptr(GError) error = NULL;
    gint n_cleared = 0;
    Data *data = data_new(&n_cleared);

    wait_for_state(w, HOST_UP);
    set(&fake.is_off, TRUE);
    set(&fake.is_broken, TRUE);
    fake.listener.changed(fake.listener.user);
    wait_for_state(w, HOST_DOWN);
    gint64 begin = g_get_monotonic_time();
    g_assert_false(host_worker_call(w, work, data, clear, LIMIT_MS, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE);
    g_assert_cmpint(g_get_monotonic_time() - begin, <, 1000000); /* at once */
    set(&fake.is_broken, FALSE);
    set(&fake.is_off, FALSE);
    wait_for_state(w, HOST_UP); /* by itself */
    g_clear_error(&error);
    g_assert_true(host_worker_call(w, work, data, clear, LIMIT_MS, &error));
    g_assert_cmpint(g_atomic_int_get(&n_changed), ==, 3);
    g_atomic_rc_box_release_full(data, clear);
    finish(w);
}

/* What happens there is looked at soon, not when the time for it has come. */
static void test_event(void)
{
    HostWorker *w = start();
    gint64 end = g_get_monotonic_time() + 3000000;
    gint before;

    wait_for_state(w, HOST_UP);
    while ((before = g_atomic_int_get(&n_seen)) == 0)
        g_usleep(1000);
    fake.listener.changed(fake.listener.user);
    while (g_atomic_int_get(&n_seen) == before) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
    finish(w);
}

/* A host that takes the connection and never says a word is told as down; nobody waits for it; when
 * it speaks at last it is up, and one that was removed meanwhile is let go of. */
static void test_stuck(void)
{
    g_autoptr(GError) error = NULL;
    gint n_cleared = 0;
    gboolean gone = FALSE;

    memset(&fake, 0, sizeof fake);
    g_mutex_init(&fake.lock);
    g_cond_init(&fake.cond);
    fake.is_stuck = TRUE;
    n_seen = n_changed = 0;
    HostWorker *w = host_worker_new("id", "fake", &driver, &watcher);
    wait_for_state(w, HOST_DOWN);
    g_assert_cmpint(g_atomic_int_get(&n_changed), ==, 1);
    Data *data = data_new(&n_cleared);
    g_assert_false(host_worker_call(w, work, data, clear, LIMIT_MS, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE);
    g_atomic_rc_box_release_full(data, clear);
    set(&fake.is_stuck, FALSE);
    wait_for_state(w, HOST_UP);
    finish(w);
    set(&fake.is_stuck, TRUE);
    finish(host_worker_new("id", "fake", &driver, &watcher)); /* returns at once */
    set(&fake.is_stuck, FALSE);
    for (gint64 end = g_get_monotonic_time() + LIMIT_MS * 1000; !gone; g_usleep(1000)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_mutex_lock(&fake.lock);
        gone = fake.n_open == 0;
        g_mutex_unlock(&fake.lock);
    }
}

static gint is_refused;

static gboolean admit(gpointer user, const char *host_id, const HostFacts *facts, GError **error)
{
    g_assert_cmpstr(facts->hostname, ==, "h");
    if (!g_atomic_int_get(&is_refused))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "it is somebody else");
    return FALSE;
}

/* One that is not let up is down, and is not looked at; it is tried again. */
static void test_refused(void)
{
    static const HostWatcher picky = { seen, changed, NULL, NULL, admit };
    g_auto(HostView) view = { 0 };

    memset(&fake, 0, sizeof fake);
    g_mutex_init(&fake.lock);
    g_cond_init(&fake.cond);
    n_seen = n_changed = 0;
    g_atomic_int_set(&is_refused, TRUE);
    HostWorker *w = host_worker_new("id", "fake", &driver, &picky);
    wait_for_state(w, HOST_DOWN);
    host_worker_view(w, &view);
    g_assert_cmpstr(view.why, ==, "it is somebody else");
    g_mutex_lock(&fake.lock);
    g_assert_cmpuint(fake.n_open, ==, 0);
    g_mutex_unlock(&fake.lock);
    g_assert_cmpint(g_atomic_int_get(&n_seen), ==, 0);
    g_atomic_int_set(&is_refused, FALSE);
    wait_for_state(w, HOST_UP);
    finish(w);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    /* the first: it counts connections, and others leave theirs to be closed later */
    g_test_add_func("/host-worker/stuck", test_stuck);
    g_test_add_func("/host-worker/refused", test_refused);
    g_test_add_func("/host-worker/call", test_call);
    g_test_add_func("/host-worker/hung", test_hung);
    g_test_add_func("/host-worker/not-begun", test_not_begun);
    g_test_add_func("/host-worker/broken", test_broken);
    g_test_add_func("/host-worker/off", test_off);
    g_test_add_func("/host-worker/event", test_event);
    return g_test_run();
}
