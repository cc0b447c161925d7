/* channel_policy.c: see channel_policy.h. */
#include "broker/run/channel_policy.h"

#include <string.h>

/* The classes that people allow or forbid, by the numbers of usb.org. */
static const struct {
    const char *name;
    gint number;
} usb_classes[] = {
    { "audio", 0x01 },   { "serial", 0x02 },   { "hid", 0x03 },       { "camera", 0x06 },
    { "printer", 0x07 }, { "storage", 0x08 },  { "smartcard", 0x0b }, { "security", 0x0d },
    { "video", 0x0e },   { "wireless", 0xe0 }, { "vendor", 0xff },
};

gint channel_usb_class(const char *text)
{
    guint64 number;

    for (guint i = 0; i < G_N_ELEMENTS(usb_classes); i++) {
        if (g_str_equal(usb_classes[i].name, text))
            return usb_classes[i].number;
    }
    if (g_str_has_prefix(text, "0x") && strlen(text) <= 4 &&
        g_ascii_string_to_unsigned(text + 2, 16, 0, 0xff, &number, NULL))
        return (gint)number;
    return -1;
}

gboolean channel_usb_is_sound(const char *text)
{
    g_auto(GStrv) each = g_strsplit(text, ",", -1);
    ChannelPolicy room;

    if (g_str_equal(text, "all") || g_str_equal(text, "none"))
        return TRUE;
    for (guint i = 0; each[i]; i++) {
        if (channel_usb_class(each[i]) < 0)
            return FALSE;
    }
    return each[0] && strlen(text) < sizeof room.usb;
}

/* The classes that both allow, in the order of a. */
static void narrow_usb(char *a, const char *b, gsize size)
{
    g_autoptr(GString) both = g_string_new(NULL);
    g_auto(GStrv) of_a = g_strsplit(a, ",", -1), of_b = g_strsplit(b, ",", -1);

    if (g_str_equal(b, "all") || g_str_equal(a, "none"))
        return;
    if (g_str_equal(a, "all") || g_str_equal(b, "none")) {
        g_strlcpy(a, b, size);
        return;
    }
    for (guint i = 0; of_a[i]; i++) {
        for (guint j = 0; of_b[j]; j++) {
            if (channel_usb_class(of_a[i]) == channel_usb_class(of_b[j])) {
                g_string_append_printf(both, "%s%s", both->len ? "," : "", of_a[i]);
                break;
            }
        }
    }
    g_strlcpy(a, both->len ? both->str : "none", size);
}

void channel_policy_narrow(ChannelPolicy *policy, const ChannelPolicy *other)
{
    policy->may_copy = policy->may_copy && other->may_copy;
    policy->may_transfer = policy->may_transfer && other->may_transfer;
    policy->may_share = policy->may_share && other->may_share;
    policy->audio = MAX(policy->audio, other->audio);
    narrow_usb(policy->usb, other->usb, sizeof policy->usb);
}
