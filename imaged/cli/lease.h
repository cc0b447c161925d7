/* lease.h: what pools and desktops of one's own have in common: how a lease ends. */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "imaged/cli/args.h"

/* action: what happens at the end, where nothing is said. */
#define LEASE_OPTIONS(action)                                                                      \
    { "warn", OPTION_TEXT, "10m", "how long before its end a user is told (10m)", NULL },          \
        { "grace", OPTION_TEXT, "5m", "how long he may still work after it (5m)", NULL },          \
        { "end-action", OPTION_CHOICE, "log-off|re-image|suspend|archive",                         \
          "what happens then (" action ")", NULL },                                                \
        { "archive-target", OPTION_TEXT, "TARGET", "where --end-action archive puts it", NULL },   \
        { "max-extensions", OPTION_COUNT, "N", "how often a lease may be extended (0)", NULL },    \
    {                                                                                              \
        "extension", OPTION_TEXT, "1h", "by how much each time (1h)", NULL                         \
    }

/* What these options say, put into the body of a request.  INVALID. */
gboolean lease_from_args(const Args *args, json_t *body, GError **error);

/* "2h" as seconds under key; "never" and "none": null.  Nothing if the option is not there. */
gboolean lease_put_duration(const Args *args, json_t *body, const char *option, const char *key,
                            GError **error);

/* A text under key; "none": null. */
void lease_put_text(const Args *args, json_t *body, const char *option, const char *key);
