/* fuzz_texts.c: libFuzzer target: what people write: schedules, retention, addresses, key files.
 *
 * What is accepted must be accepted again as it is printed, and mean the same. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "cow/export_address.h"
#include "snapshot/archive_prune.h"
#include "snapshot/archive_schedule.h"

#define DAY_MS 86400000ll

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_schedule(const char *text, gint64 now)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GTimeZone) zone = g_time_zone_new_utc();
    ArchiveSchedule schedule, again;
    gboolean ok = archive_schedule_parse(text, &schedule, &error);

    g_assert_true(ok == !error);
    if (!ok)
        return;
    g_autofree char *printed = archive_schedule_format(&schedule);
    g_assert_true(archive_schedule_parse(printed, &again, NULL));
    g_autofree char *reprinted = archive_schedule_format(&again);
    g_assert_cmpstr(printed, ==, reprinted);
    gint64 next = archive_schedule_next(&schedule, now, zone);
    g_assert_cmpint(next, >, now);
    g_assert_cmpint(next, ==, archive_schedule_next(&again, now, zone));
    g_assert_cmpint(next - now, <=, 32 * DAY_MS);
}

static void try_policy(const char *text)
{
    g_autoptr(GError) error = NULL;
    PrunePolicy policy, again;
    gboolean ok = prune_policy_parse(text, &policy, &error);

    g_assert_true(ok == !error);
    if (!ok)
        return;
    g_autofree char *printed = prune_policy_format(&policy);
    g_assert_true(prune_policy_parse(printed, &again, NULL));
    g_assert_true(memcmp(&policy, &again, sizeof policy) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autofree char *user = NULL;
    g_autoptr(GError) bad_address = NULL;
    g_autoptr(GError) bad_keys = NULL;
    g_auto(ExportAddress) address = { 0 };

    /* From 2001 on, by the text itself: any day will do. */
    try_schedule(text, 978307200000ll + (gint64)(g_str_hash(text) % 12000) * DAY_MS / 7);
    try_policy(text);
    g_assert_true(export_address_parse(text, &address, &bad_address) == !bad_address);
    g_assert_true(export_psk_check(text, &user, &bad_keys) == !bad_keys);
    return 0;
}
