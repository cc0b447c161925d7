/* test_hardware.c: what machine a desktop is, from its version's settings and its own. */
#include "broker/run/hardware.h"

#include "imaged/base/error.h"
#include "imaged/base/units.h"

static void test_check(void)
{
    static const struct {
        const char *change;
        gboolean ok;
    } cases[] = {
        { "{\"cpus\":16,\"memory_bytes\":68719476736,\"heads\":4}", TRUE },
        { "{\"cpus\":null}", TRUE },
        { "{\"networks\":[\"lan\",\"lab\"],\"usb\":\"storage,hid\",\"resolution\":\"2560x1440\"}",
          TRUE },
        { "{\"networks\":[]}", TRUE },
        { "{}", FALSE },
        { "[]", FALSE },
        { "{\"cpus\":0}", FALSE },
        { "{\"cpus\":\"4\"}", FALSE },
        { "{\"heads\":5}", FALSE },
        { "{\"resolution\":\"1x1\"}", FALSE },
        { "{\"resolution\":\"1920x1200'/>\"}", FALSE },
        { "{\"usb\":\"storage,\"}", FALSE },
        { "{\"usb\":\"0x100\"}", FALSE },
        { "{\"usb\":\"\"}", FALSE },
        { "{\"networks\":[\"../x\"]}", FALSE },
        { "{\"networks\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\"]}", FALSE },
        { "{\"cpu_limit\":101}", FALSE },
        { "{\"firmware\":\"coreboot\"}", FALSE },
        { "{\"nvram\":\"keep\",\"tpm\":true}", TRUE },
        { "{\"nvram\":true}", FALSE },
        { "{\"tpm\":\"persistent\"}", FALSE }, /* libvirt has its state on the host */
        { "{\"color\":\"red\"}", FALSE },
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        json_auto_t *change = json_loads(cases[i].change, 0, NULL);
        g_autoptr(GError) error = NULL;
        g_assert_nonnull(change);
        g_test_message("%s", cases[i].change);
        g_assert_true(hardware_check(change, &error) == cases[i].ok);
        g_assert_true(cases[i].ok || g_error_matches(error, IMAGED_ERROR, IMAGED_ERROR_INVALID));
    }
}

static void test_merge(void)
{
    VersionRow version = { .cpus = 2,
                           .memory_bytes = 4 * (gint64)GIB,
                           .firmware = (char *)"uefi",
                           .hardware = (char *)"{\"heads\":2,\"networks\":[\"lan\"]}" };
    DesktopRow desktop = { .hardware = (char *)"{\"cpus\":8,\"networks\":[\"lab\"],\"heads\":99}" };
    json_auto_t *merged = hardware_of(&version, &desktop, "{\"clipboard\":false}");
    g_auto(Hardware) h = { 0 };

    hardware_read(merged, "windows", &h);
    g_assert_cmpuint(h.n_cpus, ==, 8);
    g_assert_cmpuint(h.memory_bytes, ==, 4 * GIB);
    g_assert_true(h.is_uefi && h.is_windows);
    g_assert_false(h.has_virtio);
    g_assert_cmpuint(h.n_heads, ==, 2); /* what is not sound is not there */
    g_assert_cmpstr(h.networks[0], ==, "lab");
    g_assert_null(h.networks[1]);
    g_assert_false(h.channels.may_copy);
    g_assert_true(h.channels.may_transfer);
    json_auto_t *broken = hardware_merge((const char *const[]){ "{", NULL, "7" }, 3);
    g_assert_cmpuint(json_object_size(broken), ==, 0);
}

static void test_apply(void)
{
    json_auto_t *change = json_pack("{s:i,s:n,s:i}", "cpus", 4, "heads", "memory_bytes", 1 << 30);
    g_autofree char *stored = hardware_apply("{\"heads\":2,\"usb\":\"none\"}", change);
    g_assert_cmpstr(stored, ==, "{\"cpus\":4,\"memory_bytes\":1073741824,\"usb\":\"none\"}");
    json_auto_t *away = json_pack("{s:n,s:n,s:n}", "cpus", "memory_bytes", "usb");
    g_assert_null(hardware_apply(stored, away));

    g_auto(VersionRow) version = { .cpus = 2, .hardware = g_strdup("{\"heads\":2}") };
    g_autoptr(GError) error = NULL;
    g_assert_true(hardware_apply_version(&version, change, &error));
    g_assert_cmpint(version.cpus, ==, 4);
    g_assert_cmpint(version.memory_bytes, ==, 1 << 30);
    g_assert_null(version.hardware);
    g_assert_false(hardware_apply_version(&version, away, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
}

/* What differs between the machine that runs and what was set since. */
static void test_pending(void)
{
    static const struct {
        const char *started, *now, *want;
    } cases[] = {
        { "{\"cpus\":2,\"heads\":1}", "{\"cpus\":2,\"heads\":1}", "[]" },
        { "{\"cpus\":2}", "{\"cpus\":4}", "[\"cpus\"]" },
        { "{\"cpus\":2,\"io_limit\":65536}", "{\"cpus\":2}", "[\"io_limit\"]" },
        { "{}", "{\"networks\":[\"lab\"],\"video\":\"qxl\"}", "[\"video\",\"networks\"]" },
        { "{\"networks\":[\"a\",\"b\"]}", "{\"networks\":[\"b\",\"a\"]}", "[\"networks\"]" },
        /* what it is anyway */
        { "{}", "{\"heads\":1,\"clipboard\":true,\"usb\":\"all\",\"audio\":\"both\"}", "[]" },
        { "{}", "{\"clipboard\":false}", "[\"clipboard\"]" },
        { NULL, "{\"cpus\":4}", "[]" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        json_auto_t *now = json_loads(cases[i].now, 0, NULL);
        json_auto_t *pending = hardware_pending(cases[i].started, now);
        g_autofree char *text = json_dumps(pending, JSON_COMPACT);
        g_assert_cmpstr(text, ==, cases[i].want);
    }
}

static void test_narrow(void)
{
    ChannelPolicy a = { TRUE, FALSE, TRUE, "storage,hid", AUDIO_BOTH };
    ChannelPolicy b = { FALSE, TRUE, TRUE, "0x03,printer", AUDIO_PLAYBACK };

    channel_policy_narrow(&a, &b);
    g_assert_false(a.may_copy);
    g_assert_false(a.may_transfer);
    g_assert_true(a.may_share);
    g_assert_cmpstr(a.usb, ==, "hid");
    g_assert_cmpint(a.audio, ==, AUDIO_PLAYBACK);
    ChannelPolicy c = { TRUE, TRUE, TRUE, "printer", AUDIO_NONE };
    channel_policy_narrow(&a, &c);
    g_assert_cmpstr(a.usb, ==, "none");
    ChannelPolicy d = { TRUE, TRUE, TRUE, "all", AUDIO_BOTH };
    channel_policy_narrow(&d, &b);
    g_assert_cmpstr(d.usb, ==, "0x03,printer");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hardware/check", test_check);
    g_test_add_func("/hardware/merge", test_merge);
    g_test_add_func("/hardware/apply", test_apply);
    g_test_add_func("/hardware/pending", test_pending);
    g_test_add_func("/hardware/narrow", test_narrow);
    return g_test_run();
}
