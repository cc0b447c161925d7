/* session_ops.h: what the operations on sessions share. */
#pragma once

#include "broker/session/rfb_relay.h"
#include "imaged/ops/ops.h"

/* For whom something is asked: the caller, or the user with this name if the caller may ask for
 * others (name NULL: himself).  "" and "root" is root.  Caller frees both. */
gboolean session_user(OpsCall *call, const char *name, char **ret_id, char **ret_name,
                      GError **error);

/* Where the request came from, or NULL. */
const char *session_address(const OpsCall *call);

/* The part of an answer that says how a VNC client gets there: the socket, or host, port, password
 * and a file for remote-viewer.  {} if there is no way yet. */
json_t *session_way_json(const RelayWay *way, const char *user, const char *title);
