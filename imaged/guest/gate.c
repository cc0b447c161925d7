/* gate.c: two numbers and a condition. */
#include "imaged/guest/gate.h"

#include "imaged/base/error.h"

#define LOOK_US 100000
#define SHORT_WAIT_MS 30000

struct GuestGate {
    guint max_runs, max_appliances[2]; /* of others, of jobs */

    GMutex lock; /* guards what follows */
    GCond changed;
    guint n_runs, n_appliances[2];
};

GuestGate *guest_gate_new(guint max_runs, guint max_of_jobs, guint max_of_others)
{
    GuestGate *gate = g_new0(GuestGate, 1);

    gate->max_runs = max_runs;
    gate->max_appliances[FALSE] = max_of_others;
    gate->max_appliances[TRUE] = max_of_jobs;
    g_mutex_init(&gate->lock);
    g_cond_init(&gate->changed);
    return gate;
}

void guest_gate_free(GuestGate *gate)
{
    if (!gate)
        return;
    g_mutex_clear(&gate->lock);
    g_cond_clear(&gate->changed);
    g_free(gate);
}

static gboolean is_job(const GuestRun *run)
{
    return run->cancel && !run->is_stream;
}

/* The lock is held. */
static gboolean has_room(const GuestGate *gate, const GuestRun *run)
{
    return gate->n_runs < gate->max_runs &&
           (!run->needs_appliance ||
            gate->n_appliances[is_job(run)] < gate->max_appliances[is_job(run)]);
}

static gboolean may_wait(const GuestRun *run, gint64 end_us, GError **error)
{
    if (run->cancel && g_atomic_int_get(run->cancel)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "cancelled");
        return FALSE;
    }
    if (run->look && !run->look(run->look_user, error))
        return FALSE;
    if (g_get_monotonic_time() < end_us)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "too many helpers are at work");
    imaged_error_hint(error, "try again when others have been served");
    return FALSE;
}

gboolean guest_gate_enter(GuestGate *gate, const GuestRun *run, GError **error)
{
    gboolean ok = TRUE, was_told = FALSE;
    gint64 wait_ms = is_job(run) ? run->limit_ms : MIN(run->limit_ms, SHORT_WAIT_MS);
    gint64 end_us = g_get_monotonic_time() + wait_ms * 1000;

    g_mutex_lock(&gate->lock);
    while (ok && !has_room(gate, run)) {
        g_cond_wait_until(&gate->changed, &gate->lock, g_get_monotonic_time() + LOOK_US);
        if (has_room(gate, run))
            break;
        g_mutex_unlock(&gate->lock); /* what is asked is not ours */
        ok = may_wait(run, end_us, error);
        if (!was_told && run->events.progress)
            run->events.progress(run->events.user, 0, 0, "waiting for other helpers to end");
        was_told = TRUE;
        g_mutex_lock(&gate->lock);
    }
    if (ok) {
        gate->n_runs++;
        gate->n_appliances[is_job(run)] += run->needs_appliance;
    }
    g_mutex_unlock(&gate->lock);
    return ok;
}

void guest_gate_leave(GuestGate *gate, const GuestRun *run)
{
    g_mutex_lock(&gate->lock);
    gate->n_runs--;
    gate->n_appliances[is_job(run)] -= run->needs_appliance;
    g_cond_broadcast(&gate->changed);
    g_mutex_unlock(&gate->lock);
}
