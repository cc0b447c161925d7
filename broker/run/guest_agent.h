/* guest_agent.h: the agent in a desktop that runs, by its host.  What it answers comes from the
 * guest, which may say anything.  Any thread but a host's. */
#pragma once

#include <jansson.h>

#include "broker/run/runs.h"

/* What it returns; caller unrefs.  UNAVAILABLE: there is no agent, or it does not answer. */
json_t *guest_agent_ask(World *world, const RunRow *run, const json_t *command, GError **error);

/* Show its users a text, on their screens and terminals.  TRUE: the guest has begun to.  os_type:
 * linux or windows. */
gboolean guest_agent_tell(World *world, const RunRow *run, const char *os_type, const char *text,
                          GError **error);

/* An address by which the guest can be reached: the first one that is no loopback's or link's own.
 * NOT_FOUND; caller frees. */
char *guest_agent_address(World *world, const RunRow *run, GError **error);
