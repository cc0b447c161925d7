/* access.h: what the operations on users, groups, roles and tokens share. */
#pragma once

#include "broker/access/quota.h"
#include "broker/access/roles.h"
#include "broker/access/users.h"
#include "imaged/ops/ops.h"

/* The user or group that the argument key names.  INVALID, NOT_FOUND. */
gboolean access_arg_user(OpsCall *call, const char *key, UserRow *ret, GError **error);
gboolean access_arg_group(OpsCall *call, const char *key, GroupRow *ret, GError **error);

/* May the caller change this user or group?  Only if he has everywhere what they have.  DENIED. */
gboolean access_may_change(OpsCall *call, const char *subject_id, GError **error);

/* max_desktops, max_running, max_disk_bytes, max_snapshots: numbers, or "none". */
#define ACCESS_QUOTA_ARGS "max_desktops max_running max_disk_bytes max_snapshots"
gboolean access_quota_args(OpsCall *call, Quota *ret, GError **error);

/* What quotas count, as the subject has it now: used_desktops and so on are put into out (which is
 * returned, may be NULL). */
json_t *access_add_usage(World *world, const char *subject_id, json_t *out);

/* "all", or from the arguments template, pool, desktop: one of them.  *ret_id and *ret_name: caller
 * frees. */
gboolean access_arg_scope(OpsCall *call, ScopeKind *ret_kind, char **ret_id, char **ret_name,
                          GError **error);

/* What is in the quota table of subject x, as columns of a statement. */
#define ACCESS_QUOTA_COLUMNS(id)                                                                   \
    " (SELECT n_desktops FROM quota WHERE subject_id = " id ") AS max_desktops,"                   \
    " (SELECT n_running FROM quota WHERE subject_id = " id ") AS max_running,"                     \
    " (SELECT disk_bytes FROM quota WHERE subject_id = " id ") AS max_disk_bytes,"                 \
    " (SELECT n_snapshots FROM quota WHERE subject_id = " id ") AS max_snapshots,"

/* The roles of subject id: "helpdesk (pool lab)" on a line each. */
#define ACCESS_ROLE_LINES(id)                                                                      \
    " (SELECT group_concat(r.name || CASE g.scope_kind WHEN 'all' THEN '' ELSE ' (' ||"            \
    "  g.scope_kind || ' ' || coalesce((SELECT name FROM template WHERE id = g.scope_id),"         \
    "  (SELECT name FROM pool WHERE id = g.scope_id), (SELECT name FROM desktop WHERE"             \
    "  id = g.scope_id), '?') || ')' END, char(10)) FROM role_grant g JOIN role r ON"              \
    "  r.id = g.role_id WHERE g.subject_id = " id ") AS roles__lines,"
