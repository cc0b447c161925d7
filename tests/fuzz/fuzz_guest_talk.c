/* fuzz_guest_talk.c: libFuzzer target: what a helper says, cut at a place that the input names.
 *
 * However it is cut, the same comes out. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "imaged/guest/talk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static gboolean count(gpointer user, const void *bytes, gsize n, GError **error)
{
    *(gsize *)user += n;
    return TRUE;
}

/* Returns whether it was accepted; *ret_result (caller unrefs) and *ret_n are what came out. */
static gboolean hear(const char *bytes, gsize n, gsize cut, json_t **ret_result, gsize *ret_n)
{
    GuestEvents events = { .data = count, .user = ret_n };
    g_autoptr(GuestTalk) talk = guest_talk_new(&events);
    g_autoptr(GError) error = NULL;
    gboolean ok = guest_talk_take(talk, bytes, cut, &error) &&
                  guest_talk_take(talk, bytes + cut, n - cut, &error);

    g_assert_true(ok == !error);
    *ret_result = guest_talk_steal_result(talk);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *whole = NULL, *parts = NULL;
    gsize n_whole = 0, n_parts = 0;

    if (size < 1)
        return 0;
    const char *bytes = (const char *)data + 1;
    gboolean a = hear(bytes, size - 1, size - 1, &whole, &n_whole);
    gboolean b = hear(bytes, size - 1, data[0] % size, &parts, &n_parts);
    g_assert_true(a == b && n_whole == n_parts);
    g_assert_true(whole ? json_equal(whole, parts) : parts == NULL);
    json_decref(whole);
    json_decref(parts);
    return 0;
}
