/* channel_policy.h: what users may do through their client.
 *
 * Pure functions; any thread. */
#pragma once

#include <glib.h>

typedef enum { AUDIO_BOTH, AUDIO_PLAYBACK, AUDIO_NONE } HardwareAudio;

typedef struct {
    gboolean may_copy, may_transfer, may_share; /* clipboard, file_transfer, shared_folder */
    char usb[160];                              /* "all", "none" or classes */
    HardwareAudio audio;
} ChannelPolicy;

/* The number of a class of USB devices ("storage", "0x08"), or -1. */
gint channel_usb_class(const char *text);

/* Is this "all", "none", or classes with commas between them? */
gboolean channel_usb_is_sound(const char *text);

/* The strictest of two policies: what one forbids is forbidden. */
void channel_policy_narrow(ChannelPolicy *policy, const ChannelPolicy *other);
