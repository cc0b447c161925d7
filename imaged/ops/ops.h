/* ops.h: one function per thing a user can ask for.
 *
 * Each takes a call with its arguments as one JSON object (path, query and body of a request,
 * merged) and returns the answer as JSON, or NULL with an error in the user's words.  A call that
 * starts a job sets job_id and returns NULL without an error; the caller shows the job.  Any
 * thread. */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "broker/access/caller.h"
#include "imaged/job/world.h"

typedef struct {
    World *world;
    const Caller *caller; /* who asks; NULL may nothing */
    Permission permission; /* that the route needs; caller has it for what the arguments name */
    const char *who;      /* the caller's name and address, for events and jobs */
    const char *idem_key; /* idempotency key, or NULL */
    const char *idem_hash;
    json_t *args;         /* borrowed */
    char *job_id;         /* set when a job was started; freed by the caller */
} OpsCall;

typedef json_t *(*OpsFunction)(OpsCall *call, GError **error);

/* Reading */
json_t *ops_status(OpsCall *call, GError **error);
json_t *ops_template_list(OpsCall *call, GError **error);
json_t *ops_template_show(OpsCall *call, GError **error);
json_t *ops_template_versions(OpsCall *call, GError **error);
json_t *ops_desktop_list(OpsCall *call, GError **error);
json_t *ops_desktop_show(OpsCall *call, GError **error);
json_t *ops_desktop_path(OpsCall *call, GError **error);
json_t *ops_snapshot_list(OpsCall *call, GError **error);
json_t *ops_snapshot_show(OpsCall *call, GError **error);
json_t *ops_trash_list(OpsCall *call, GError **error);
json_t *ops_store_list(OpsCall *call, GError **error);
json_t *ops_store_show(OpsCall *call, GError **error);
json_t *ops_job_list(OpsCall *call, GError **error);
json_t *ops_job_show(OpsCall *call, GError **error);
json_t *ops_job_log(OpsCall *call, GError **error);
json_t *ops_event_list(OpsCall *call, GError **error);
json_t *ops_export_list(OpsCall *call, GError **error);
json_t *ops_export_show(OpsCall *call, GError **error);
json_t *ops_report_savings(OpsCall *call, GError **error);
json_t *ops_report_advice(OpsCall *call, GError **error);
char *ops_metrics(World *world);

/* Changing */
json_t *ops_template_import(OpsCall *call, GError **error);
json_t *ops_template_build(OpsCall *call, GError **error);
json_t *ops_template_build_check(OpsCall *call, GError **error);
json_t *ops_template_create_from(OpsCall *call, GError **error);
json_t *ops_template_stand_in(OpsCall *call, GError **error);
json_t *ops_template_propose(OpsCall *call, GError **error);
json_t *ops_template_edit(OpsCall *call, GError **error);
json_t *ops_template_seal(OpsCall *call, GError **error);
json_t *ops_template_publish(OpsCall *call, GError **error);
json_t *ops_template_retire(OpsCall *call, GError **error);
json_t *ops_template_rename(OpsCall *call, GError **error);
json_t *ops_template_set(OpsCall *call, GError **error);
json_t *ops_template_delete(OpsCall *call, GError **error);
json_t *ops_desktop_create(OpsCall *call, GError **error);
json_t *ops_desktop_delete(OpsCall *call, GError **error);
json_t *ops_desktop_reset(OpsCall *call, GError **error);
json_t *ops_desktop_undo_reset(OpsCall *call, GError **error);
json_t *ops_desktop_move(OpsCall *call, GError **error);
json_t *ops_desktop_rename(OpsCall *call, GError **error);
json_t *ops_desktop_set(OpsCall *call, GError **error);
json_t *ops_desktop_config_disk(OpsCall *call, GError **error);
json_t *ops_disk_resize(OpsCall *call, GError **error);
json_t *ops_data_disk_add(OpsCall *call, GError **error);
json_t *ops_data_disk_resize(OpsCall *call, GError **error);
json_t *ops_data_disk_detach(OpsCall *call, GError **error);
json_t *ops_desktop_compact(OpsCall *call, GError **error);
json_t *ops_desktop_flatten(OpsCall *call, GError **error);
json_t *ops_snapshot_create(OpsCall *call, GError **error);
json_t *ops_snapshot_revert(OpsCall *call, GError **error);
json_t *ops_snapshot_rename(OpsCall *call, GError **error);
json_t *ops_snapshot_delete(OpsCall *call, GError **error);
json_t *ops_snapshot_diff(OpsCall *call, GError **error);
json_t *ops_trash_restore(OpsCall *call, GError **error);
json_t *ops_trash_empty(OpsCall *call, GError **error);
json_t *ops_trash_resume_expiry(OpsCall *call, GError **error);
json_t *ops_store_add(OpsCall *call, GError **error);
json_t *ops_store_remove(OpsCall *call, GError **error);
json_t *ops_store_drain(OpsCall *call, GError **error);
json_t *ops_store_check(OpsCall *call, GError **error);
json_t *ops_export_start(OpsCall *call, GError **error);
json_t *ops_export_stop(OpsCall *call, GError **error);
json_t *ops_job_cancel(OpsCall *call, GError **error);
json_t *ops_catalog_rebuild(OpsCall *call, GError **error);
json_t *ops_catalog_backup(OpsCall *call, GError **error);

/* What is inside */
json_t *ops_template_inspect(OpsCall *call, GError **error);
json_t *ops_template_apps(OpsCall *call, GError **error);
json_t *ops_template_diff(OpsCall *call, GError **error);
json_t *ops_desktop_inspect(OpsCall *call, GError **error);
json_t *ops_desktop_apps(OpsCall *call, GError **error);
json_t *ops_files_list(OpsCall *call, GError **error);

/* Archives */
json_t *ops_archive_target_list(OpsCall *call, GError **error);
json_t *ops_archive_target_add(OpsCall *call, GError **error);
json_t *ops_archive_target_remove(OpsCall *call, GError **error);
json_t *ops_archive_list(OpsCall *call, GError **error);
json_t *ops_archive_show(OpsCall *call, GError **error);
json_t *ops_archive_create(OpsCall *call, GError **error);
json_t *ops_archive_restore(OpsCall *call, GError **error);
json_t *ops_archive_verify(OpsCall *call, GError **error);
json_t *ops_archive_collect(OpsCall *call, GError **error);
json_t *ops_archive_delete(OpsCall *call, GError **error);
json_t *ops_archive_undelete(OpsCall *call, GError **error);
json_t *ops_archive_prune(OpsCall *call, GError **error);
json_t *ops_archive_schedule_list(OpsCall *call, GError **error);
json_t *ops_archive_schedule_add(OpsCall *call, GError **error);
json_t *ops_archive_schedule_remove(OpsCall *call, GError **error);

/* Desktops that run */
json_t *ops_desktop_start(OpsCall *call, GError **error);
json_t *ops_desktop_stop(OpsCall *call, GError **error);
json_t *ops_desktop_restart(OpsCall *call, GError **error);
json_t *ops_desktop_pause(OpsCall *call, GError **error);
json_t *ops_desktop_resume(OpsCall *call, GError **error);
json_t *ops_desktop_suspend(OpsCall *call, GError **error);
json_t *ops_desktop_screenshot(OpsCall *call, GError **error);

/* Sessions */
json_t *ops_session_connect(OpsCall *call, GError **error);
json_t *ops_session_list(OpsCall *call, GError **error);
json_t *ops_session_show(OpsCall *call, GError **error);
json_t *ops_session_end(OpsCall *call, GError **error);
json_t *ops_session_message(OpsCall *call, GError **error);
json_t *ops_session_shadow(OpsCall *call, GError **error);
json_t *ops_session_consent(OpsCall *call, GError **error);

/* Alerts */
json_t *ops_alert_list(OpsCall *call, GError **error);
json_t *ops_alert_show(OpsCall *call, GError **error);
json_t *ops_alert_add(OpsCall *call, GError **error);
json_t *ops_alert_set(OpsCall *call, GError **error);
json_t *ops_alert_test(OpsCall *call, GError **error);
json_t *ops_alert_remove(OpsCall *call, GError **error);

/* Hosts */
json_t *ops_host_list(OpsCall *call, GError **error);
json_t *ops_host_show(OpsCall *call, GError **error);
json_t *ops_host_add(OpsCall *call, GError **error);
json_t *ops_host_set(OpsCall *call, GError **error);
json_t *ops_host_remove(OpsCall *call, GError **error);
json_t *ops_desktop_migrate(OpsCall *call, GError **error);
json_t *ops_host_evacuate(OpsCall *call, GError **error);
json_t *ops_host_maintenance(OpsCall *call, GError **error);
json_t *ops_host_fence(OpsCall *call, GError **error);
json_t *ops_host_activate(OpsCall *call, GError **error);
json_t *ops_host_group_list(OpsCall *call, GError **error);
json_t *ops_host_group_add(OpsCall *call, GError **error);
json_t *ops_host_group_remove(OpsCall *call, GError **error);
json_t *ops_network_list(OpsCall *call, GError **error);
json_t *ops_network_add(OpsCall *call, GError **error);
json_t *ops_network_remove(OpsCall *call, GError **error);

/* Users, roles, tokens */
json_t *ops_user_list(OpsCall *call, GError **error);
json_t *ops_user_show(OpsCall *call, GError **error);
json_t *ops_user_add(OpsCall *call, GError **error);
json_t *ops_user_set(OpsCall *call, GError **error);
json_t *ops_user_delete(OpsCall *call, GError **error);
json_t *ops_user_passwd(OpsCall *call, GError **error);
json_t *ops_group_list(OpsCall *call, GError **error);
json_t *ops_group_show(OpsCall *call, GError **error);
json_t *ops_group_add(OpsCall *call, GError **error);
json_t *ops_group_channels(OpsCall *call, GError **error);
json_t *ops_group_set_channels(OpsCall *call, GError **error);
json_t *ops_group_set(OpsCall *call, GError **error);
json_t *ops_group_delete(OpsCall *call, GError **error);
json_t *ops_group_add_members(OpsCall *call, GError **error);
json_t *ops_group_remove_members(OpsCall *call, GError **error);
json_t *ops_role_list(OpsCall *call, GError **error);
json_t *ops_role_show(OpsCall *call, GError **error);
json_t *ops_role_create(OpsCall *call, GError **error);
json_t *ops_role_delete(OpsCall *call, GError **error);
json_t *ops_role_grant(OpsCall *call, GError **error);
json_t *ops_role_revoke(OpsCall *call, GError **error);
json_t *ops_token_list(OpsCall *call, GError **error);
json_t *ops_token_create(OpsCall *call, GError **error);
json_t *ops_token_revoke(OpsCall *call, GError **error);
json_t *ops_login(OpsCall *call, GError **error);
json_t *ops_logout(OpsCall *call, GError **error);
json_t *ops_directory_list(OpsCall *call, GError **error);
json_t *ops_directory_add(OpsCall *call, GError **error);
json_t *ops_directory_set(OpsCall *call, GError **error);
json_t *ops_directory_remove(OpsCall *call, GError **error);
json_t *ops_directory_test(OpsCall *call, GError **error);
json_t *ops_directory_refresh(OpsCall *call, GError **error);
json_t *ops_whoami(OpsCall *call, GError **error);

/* Pools, and whose desktops are */
json_t *ops_pool_list(OpsCall *call, GError **error);
json_t *ops_pool_show(OpsCall *call, GError **error);
json_t *ops_pool_desktops(OpsCall *call, GError **error);
json_t *ops_pool_create(OpsCall *call, GError **error);
json_t *ops_pool_channels(OpsCall *call, GError **error);
json_t *ops_pool_set_channels(OpsCall *call, GError **error);
json_t *ops_pool_hardware(OpsCall *call, GError **error);
json_t *ops_pool_set_hardware(OpsCall *call, GError **error);
json_t *ops_pool_set(OpsCall *call, GError **error);
json_t *ops_pool_resize(OpsCall *call, GError **error);
json_t *ops_pool_delete(OpsCall *call, GError **error);
json_t *ops_pool_grant(OpsCall *call, GError **error);
json_t *ops_pool_revoke(OpsCall *call, GError **error);
json_t *ops_pool_return(OpsCall *call, GError **error);
json_t *ops_assignment_list(OpsCall *call, GError **error);
json_t *ops_desktop_assign(OpsCall *call, GError **error);
json_t *ops_desktop_share(OpsCall *call, GError **error);
json_t *ops_desktop_unassign(OpsCall *call, GError **error);
json_t *ops_desktop_extend(OpsCall *call, GError **error);

/* The object of one version, by NAME:VERSION. */
json_t *ops_version_object(OpsCall *call, const char *name, GError **error);

/* Roll-outs */
json_t *ops_rollout_list(OpsCall *call, GError **error);
json_t *ops_rollout_show(OpsCall *call, GError **error);
json_t *ops_rollout_desktops(OpsCall *call, GError **error);
json_t *ops_rollout_start(OpsCall *call, GError **error);
json_t *ops_rollout_pause(OpsCall *call, GError **error);
json_t *ops_rollout_resume(OpsCall *call, GError **error);
json_t *ops_rollout_rollback(OpsCall *call, GError **error);
json_t *ops_rollout_cancel(OpsCall *call, GError **error);
json_t *ops_rollout_delete(OpsCall *call, GError **error);

/* Searching */
json_t *ops_search(OpsCall *call, GError **error);
json_t *ops_search_complete(OpsCall *call, GError **error);
json_t *ops_search_saved(OpsCall *call, GError **error);
json_t *ops_search_save(OpsCall *call, GError **error);
json_t *ops_search_delete(OpsCall *call, GError **error);

/* All job types there are, ending with NULL. */
extern const JobType *const ops_job_types[];
