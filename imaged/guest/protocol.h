/* protocol.h: what imaged and its helper imaged-guest say to each other.
 *
 * The helper's standard input and output are one stream socket.  It reads one request and answers
 * with any number of events and exactly one result or error; then it ends.  A message is a line of
 * JSON, at most GUEST_LINE_MAX bytes; an event "data" is followed by as many bytes as it says.
 *
 *   -> {"version":1, "role":"guest", "task":"inspect", "limit_ms":120000,
 *       "disks":[{"socket":"/path", "read_only":true}],
 *       "folder":"/path", "appliance":"/path", "accelerator":"tcg", ... what the task needs}
 *   <- {"event":"progress", "done":3, "total":10, "message":"reading applications"}
 *   <- {"event":"log", "text":"Setting up dbus ..."}
 *   <- {"event":"warning", "text":"..."}
 *   <- {"event":"data", "bytes":65536}  and 65536 bytes
 *   <- {"result":{...}}  or  {"error":{"code":"not_found", "message":"...", "hint":"..."}}
 *
 * Codes are those of imaged/base/error.h.  imaged hangs up to end a helper before its time.
 *
 * What comes from the helper is as hostile as what it reads: no number or text of it is used before
 * it was checked. */
#pragma once

#define GUEST_PROTOCOL_VERSION 1
#define GUEST_LINE_MAX (16u << 20) /* an inspection with many applications */
#define GUEST_SHARE 1000000        /* as a progress's total: done is a share of the whole task */
#define GUEST_DATA_MAX (1u << 20)  /* bytes after one "data" event */
