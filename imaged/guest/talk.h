/* talk.h: bytes from the helper, cut into messages and checked: imaged's side of protocol.h.
 *
 * No descriptor, no process: bytes go in, events come out, so that it can be tested and fuzzed
 * alone.  One thread at a time. */
#pragma once

#include "imaged/guest/guest.h"

typedef struct GuestTalk GuestTalk;

GuestTalk *guest_talk_new(const GuestEvents *events);
void guest_talk_free(GuestTalk *talk);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GuestTalk, guest_talk_free)

/* Take n more bytes.  FALSE if the conversation is over: an event's own error, the helper's, or
 * UNAVAILABLE because it is not what may be said. */
gboolean guest_talk_take(GuestTalk *talk, const char *bytes, gsize n, GError **error);

/* How many bytes data() has taken in all. */
guint64 guest_talk_n_data(const GuestTalk *talk);

/* The result once it was said, else NULL.  Caller unrefs. */
json_t *guest_talk_steal_result(GuestTalk *talk);
