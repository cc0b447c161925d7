/* test_guest_gate.c: who is let in, who waits, and for how long. */
#include "imaged/base/error.h"
#include "imaged/guest/gate.h"

#define SOON_MS 200
#define LONG_MS 600000

static gboolean refuse(gpointer data, GError **error)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NO_SPACE, "no room for it");
    return FALSE;
}

static void test_limits(void)
{
    g_autoptr(GuestGate) gate = guest_gate_new(4, 1, 1);
    gint yes = 1, no = 0;
    const GuestRun quick = { .limit_ms = SOON_MS };
    const GuestRun slow = { .limit_ms = SOON_MS, .needs_appliance = TRUE };
    const GuestRun job = { .limit_ms = SOON_MS, .needs_appliance = TRUE, .cancel = &no };
    const GuestRun cancelled = { .limit_ms = LONG_MS, .needs_appliance = TRUE, .cancel = &yes };
    const GuestRun looked_at = { .limit_ms = LONG_MS, .needs_appliance = TRUE, .look = refuse };
    g_autoptr(GError) busy = NULL, stopped = NULL, looked = NULL, full = NULL;

    g_assert_true(guest_gate_enter(gate, &slow, NULL));
    g_assert_false(guest_gate_enter(gate, &slow, &busy));
    g_assert_error(busy, IMAGED_ERROR, IMAGED_ERROR_BUSY);
    g_assert_true(guest_gate_enter(gate, &job, NULL)); /* has a number of its own */
    g_assert_false(guest_gate_enter(gate, &job, NULL));
    g_assert_false(guest_gate_enter(gate, &cancelled, &stopped));
    g_assert_error(stopped, IMAGED_ERROR, IMAGED_ERROR_CANCELLED);
    g_assert_false(guest_gate_enter(gate, &looked_at, &looked));
    g_assert_error(looked, IMAGED_ERROR, IMAGED_ERROR_NO_SPACE);

    g_assert_true(guest_gate_enter(gate, &quick, NULL)); /* an appliance is not in its way */
    g_assert_true(guest_gate_enter(gate, &quick, NULL));
    g_assert_false(guest_gate_enter(gate, &quick, &full));
    g_assert_error(full, IMAGED_ERROR, IMAGED_ERROR_BUSY);
    guest_gate_leave(gate, &slow);
    g_assert_true(guest_gate_enter(gate, &slow, NULL));
}

static gpointer enter(gpointer gate)
{
    const GuestRun slow = { .limit_ms = LONG_MS, .needs_appliance = TRUE };

    return GINT_TO_POINTER(guest_gate_enter(gate, &slow, NULL));
}

static void test_wakes(void)
{
    g_autoptr(GuestGate) gate = guest_gate_new(8, 1, 1);
    const GuestRun slow = { .limit_ms = LONG_MS, .needs_appliance = TRUE };

    g_assert_true(guest_gate_enter(gate, &slow, NULL));
    GThread *other = g_thread_new("other", enter, gate);
    guest_gate_leave(gate, &slow);
    g_assert_true(GPOINTER_TO_INT(g_thread_join(other)));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/guest-gate/limits", test_limits);
    g_test_add_func("/guest-gate/wakes", test_wakes);
    return g_test_run();
}
