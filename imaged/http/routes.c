/* routes.c: see routes.h. */
#include "imaged/http/routes.h"

#include <string.h>

const Route routes[] = {
    { "GET", "/v1/status", ops_status, TRUE, PERMISSION_STATUS_SEE, ACCESS_ON_LIST },
    { "GET", "/metrics", NULL, TRUE, PERMISSION_STATUS_SEE, ACCESS_ON_ALL },
    { "GET", "/v1/templates", ops_template_list, TRUE, PERMISSION_TEMPLATE_SEE, ACCESS_ON_LIST },
    { "POST", "/v1/templates/import", ops_template_import, FALSE,
      PERMISSION_TEMPLATE_MAKE, ACCESS_ON_ALL },
    { "POST", "/v1/templates/build", ops_template_build, FALSE,
      PERMISSION_TEMPLATE_MAKE, ACCESS_ON_ALL },
    { "POST", "/v1/templates/build/check", ops_template_build_check, TRUE,
      PERMISSION_TEMPLATE_MAKE, ACCESS_ON_ALL },
    { "POST", "/v1/templates/create-from", ops_template_create_from, FALSE,
      PERMISSION_TEMPLATE_MAKE, ACCESS_ON_ALL },
    { "GET", "/v1/templates/{template}", ops_template_show, TRUE,
      PERMISSION_TEMPLATE_SEE, ACCESS_ON_TEMPLATE },
    { "DELETE", "/v1/templates/{template}", ops_template_delete, FALSE,
      PERMISSION_TEMPLATE_DELETE, ACCESS_ON_TEMPLATE },
    { "GET", "/v1/templates/{template}/versions", ops_template_versions, TRUE,
      PERMISSION_TEMPLATE_SEE, ACCESS_ON_TEMPLATE },
    { "POST", "/v1/templates/{template}/edit", ops_template_edit, FALSE,
      PERMISSION_TEMPLATE_CHANGE, ACCESS_ON_TEMPLATE },
    { "POST", "/v1/templates/{template}/seal", ops_template_seal, FALSE,
      PERMISSION_TEMPLATE_CHANGE, ACCESS_ON_TEMPLATE },
    { "POST", "/v1/templates/{template}/stand-in", ops_template_stand_in, FALSE,
      PERMISSION_TEMPLATE_CHANGE, ACCESS_ON_TEMPLATE },
    { "POST", "/v1/templates/{template}/propose", ops_template_propose, FALSE,
      PERMISSION_TEMPLATE_CHANGE, ACCESS_ON_ALL },
    { "POST", "/v1/templates/{template}/publish", ops_template_publish, FALSE,
      PERMISSION_TEMPLATE_PUBLISH, ACCESS_ON_TEMPLATE },
    { "POST", "/v1/templates/{template}/retire", ops_template_retire, FALSE,
      PERMISSION_TEMPLATE_PUBLISH, ACCESS_ON_TEMPLATE },
    { "POST", "/v1/templates/{template}/rename", ops_template_rename, FALSE,
      PERMISSION_TEMPLATE_CHANGE, ACCESS_ON_TEMPLATE },
    { "POST", "/v1/templates/{template}/set", ops_template_set, FALSE,
      PERMISSION_TEMPLATE_CHANGE, ACCESS_ON_TEMPLATE },
    { "POST", "/v1/templates/diff", ops_template_diff, FALSE,
      PERMISSION_TEMPLATE_SEE, ACCESS_ON_ALL },
    { "POST", "/v1/templates/{template}/inspect", ops_template_inspect, FALSE,
      PERMISSION_TEMPLATE_CHANGE, ACCESS_ON_TEMPLATE },
    { "GET", "/v1/templates/{template}/applications", ops_template_apps, TRUE,
      PERMISSION_TEMPLATE_SEE, ACCESS_ON_TEMPLATE },
    { "GET", "/v1/desktops", ops_desktop_list, TRUE, PERMISSION_DESKTOP_SEE, ACCESS_ON_LIST },
    { "POST", "/v1/desktops/inspect", ops_desktop_inspect, FALSE,
      PERMISSION_DESKTOP_FILES, ACCESS_ON_DESKTOPS },
    { "GET", "/v1/desktops/{desktop}/applications", ops_desktop_apps, TRUE,
      PERMISSION_DESKTOP_SEE, ACCESS_ON_DESKTOPS },
    { "GET", "/v1/files", ops_files_list, FALSE, PERMISSION_DESKTOP_FILES, ACCESS_ON_REF },
    { "GET", "/v1/files/content", NULL, FALSE, PERMISSION_DESKTOP_FILES, ACCESS_ON_REF },
    { "POST", "/v1/desktops", ops_desktop_create, FALSE,
      PERMISSION_DESKTOP_CREATE, ACCESS_ON_TEMPLATE },
    { "POST", "/v1/desktops/delete", ops_desktop_delete, FALSE,
      PERMISSION_DESKTOP_DELETE, ACCESS_ON_DESKTOPS },
    { "POST", "/v1/desktops/start", ops_desktop_start, FALSE,
      PERMISSION_DESKTOP_START, ACCESS_ON_DESKTOPS },
    { "POST", "/v1/desktops/stop", ops_desktop_stop, FALSE,
      PERMISSION_DESKTOP_STOP, ACCESS_ON_DESKTOPS },
    { "POST", "/v1/desktops/restart", ops_desktop_restart, FALSE,
      PERMISSION_DESKTOP_RESTART, ACCESS_ON_DESKTOPS },
    { "POST", "/v1/desktops/pause", ops_desktop_pause, FALSE,
      PERMISSION_DESKTOP_STOP, ACCESS_ON_DESKTOPS },
    { "POST", "/v1/desktops/resume", ops_desktop_resume, FALSE,
      PERMISSION_DESKTOP_START, ACCESS_ON_DESKTOPS },
    { "POST", "/v1/desktops/reset", ops_desktop_reset, FALSE,
      PERMISSION_DESKTOP_RESET, ACCESS_ON_DESKTOPS },
    { "POST", "/v1/desktops/undo-reset", ops_desktop_undo_reset, FALSE,
      PERMISSION_DESKTOP_RESET, ACCESS_ON_DESKTOPS },
    { "POST", "/v1/desktops/move", ops_desktop_move, FALSE,
      PERMISSION_DESKTOP_DISKS, ACCESS_ON_DESKTOPS },
    { "POST", "/v1/desktops/compact", ops_desktop_compact, FALSE,
      PERMISSION_DESKTOP_DISKS, ACCESS_ON_DESKTOPS },
    { "POST", "/v1/desktops/flatten", ops_desktop_flatten, FALSE,
      PERMISSION_DESKTOP_DISKS, ACCESS_ON_DESKTOPS },
    { "POST", "/v1/desktops/resize", ops_disk_resize, FALSE,
      PERMISSION_DESKTOP_DISKS, ACCESS_ON_DESKTOPS },
    { "POST", "/v1/desktops/data-disk/add", ops_data_disk_add, FALSE,
      PERMISSION_DESKTOP_DISKS, ACCESS_ON_DESKTOPS },
    { "POST", "/v1/desktops/data-disk/resize", ops_data_disk_resize, FALSE,
      PERMISSION_DESKTOP_DISKS, ACCESS_ON_DESKTOPS },
    { "POST", "/v1/desktops/data-disk/detach", ops_data_disk_detach, FALSE,
      PERMISSION_DESKTOP_DISKS, ACCESS_ON_DESKTOPS },
    { "GET", "/v1/desktops/{desktop}", ops_desktop_show, TRUE,
      PERMISSION_DESKTOP_SEE, ACCESS_ON_DESKTOPS },
    { "GET", "/v1/desktops/{desktop}/path", ops_desktop_path, TRUE,
      PERMISSION_DESKTOP_SEE, ACCESS_ON_DESKTOPS },
    { "POST", "/v1/desktops/{desktop}/rename", ops_desktop_rename, FALSE,
      PERMISSION_DESKTOP_CHANGE, ACCESS_ON_DESKTOPS },
    { "POST", "/v1/desktops/{desktop}/config-disk", ops_desktop_config_disk, FALSE,
      PERMISSION_DESKTOP_CHANGE, ACCESS_ON_DESKTOPS },
    { "POST", "/v1/desktops/set", ops_desktop_set, FALSE,
      PERMISSION_DESKTOP_CHANGE, ACCESS_ON_DESKTOPS },
    { "GET", "/v1/desktops/{desktop}/snapshots/{snapshot}", ops_snapshot_show, TRUE,
      PERMISSION_SNAPSHOT_SEE, ACCESS_ON_DESKTOPS },
    { "POST", "/v1/desktops/{desktop}/snapshots/{snapshot}/rename", ops_snapshot_rename, FALSE,
      PERMISSION_SNAPSHOT_DELETE, ACCESS_ON_DESKTOPS },
    { "POST", "/v1/desktops/{desktop}/snapshots/delete", ops_snapshot_delete, FALSE,
      PERMISSION_SNAPSHOT_DELETE, ACCESS_ON_DESKTOPS },
    { "POST", "/v1/desktops/{desktop}/snapshots/diff", ops_snapshot_diff, TRUE,
      PERMISSION_SNAPSHOT_SEE, ACCESS_ON_DESKTOPS },
    { "GET", "/v1/snapshots", ops_snapshot_list, TRUE, PERMISSION_SNAPSHOT_SEE, ACCESS_ON_LIST },
    { "POST", "/v1/snapshots", ops_snapshot_create, FALSE,
      PERMISSION_SNAPSHOT_CREATE, ACCESS_ON_DESKTOPS },
    { "POST", "/v1/snapshots/revert", ops_snapshot_revert, FALSE,
      PERMISSION_SNAPSHOT_REVERT, ACCESS_ON_DESKTOPS },
    { "GET", "/v1/trash", ops_trash_list, TRUE, PERMISSION_TRASH_SEE, ACCESS_ON_LIST },
    { "POST", "/v1/trash/restore", ops_trash_restore, FALSE,
      PERMISSION_TRASH_CHANGE, ACCESS_ON_ALL },
    { "POST", "/v1/trash/empty", ops_trash_empty, FALSE, PERMISSION_TRASH_CHANGE, ACCESS_ON_ALL },
    { "POST", "/v1/trash/resume-expiry", ops_trash_resume_expiry, FALSE,
      PERMISSION_TRASH_CHANGE, ACCESS_ON_ALL },
    { "GET", "/v1/stores", ops_store_list, TRUE, PERMISSION_STORE_SEE, ACCESS_ON_ALL },
    { "POST", "/v1/stores", ops_store_add, FALSE, PERMISSION_STORE_CHANGE, ACCESS_ON_ALL },
    { "POST", "/v1/stores/check", ops_store_check, TRUE, PERMISSION_STORE_SEE, ACCESS_ON_ALL },
    { "GET", "/v1/stores/{store}", ops_store_show, TRUE, PERMISSION_STORE_SEE, ACCESS_ON_ALL },
    { "DELETE", "/v1/stores/{store}", ops_store_remove, FALSE,
      PERMISSION_STORE_CHANGE, ACCESS_ON_ALL },
    { "POST", "/v1/stores/{store}/drain", ops_store_drain, FALSE,
      PERMISSION_STORE_CHANGE, ACCESS_ON_ALL },
    { "GET", "/v1/archive/targets", ops_archive_target_list, TRUE,
      PERMISSION_ARCHIVE_SEE, ACCESS_ON_ALL },
    { "POST", "/v1/archive/targets", ops_archive_target_add, FALSE,
      PERMISSION_ARCHIVE_CHANGE, ACCESS_ON_ALL },
    { "DELETE", "/v1/archive/targets/{target}", ops_archive_target_remove, FALSE,
      PERMISSION_ARCHIVE_CHANGE, ACCESS_ON_ALL },
    { "POST", "/v1/archive/targets/{target}/collect", ops_archive_collect, FALSE,
      PERMISSION_ARCHIVE_CHANGE, ACCESS_ON_ALL },
    { "GET", "/v1/archive/points", ops_archive_list, TRUE, PERMISSION_ARCHIVE_SEE, ACCESS_ON_ALL },
    { "POST", "/v1/archive/points", ops_archive_create, FALSE,
      PERMISSION_ARCHIVE_CREATE, ACCESS_ON_DESKTOPS },
    { "POST", "/v1/archive/points/verify", ops_archive_verify, FALSE,
      PERMISSION_ARCHIVE_SEE, ACCESS_ON_ALL },
    { "POST", "/v1/archive/points/delete", ops_archive_delete, FALSE,
      PERMISSION_ARCHIVE_CHANGE, ACCESS_ON_ALL },
    { "POST", "/v1/archive/points/undelete", ops_archive_undelete, FALSE,
      PERMISSION_ARCHIVE_CHANGE, ACCESS_ON_ALL },
    { "POST", "/v1/archive/points/prune", ops_archive_prune, FALSE,
      PERMISSION_ARCHIVE_CHANGE, ACCESS_ON_ALL },
    { "GET", "/v1/archive/points/{point}", ops_archive_show, TRUE,
      PERMISSION_ARCHIVE_SEE, ACCESS_ON_ALL },
    { "POST", "/v1/archive/points/{point}/restore", ops_archive_restore, FALSE,
      PERMISSION_ARCHIVE_RESTORE, ACCESS_ON_ALL },
    { "GET", "/v1/archive/schedules", ops_archive_schedule_list, TRUE,
      PERMISSION_ARCHIVE_SEE, ACCESS_ON_ALL },
    { "POST", "/v1/archive/schedules", ops_archive_schedule_add, FALSE,
      PERMISSION_ARCHIVE_CHANGE, ACCESS_ON_ALL },
    { "DELETE", "/v1/archive/schedules/{schedule}", ops_archive_schedule_remove, FALSE,
      PERMISSION_ARCHIVE_CHANGE, ACCESS_ON_ALL },
    { "GET", "/v1/hosts", ops_host_list, TRUE, PERMISSION_HOST_SEE, ACCESS_ON_ALL },
    { "POST", "/v1/hosts", ops_host_add, FALSE, PERMISSION_HOST_CHANGE, ACCESS_ON_ALL },
    { "GET", "/v1/hosts/{host}", ops_host_show, TRUE, PERMISSION_HOST_SEE, ACCESS_ON_ALL },
    { "DELETE", "/v1/hosts/{host}", ops_host_remove, FALSE, PERMISSION_HOST_CHANGE, ACCESS_ON_ALL },
    { "POST", "/v1/hosts/{host}/maintenance", ops_host_maintenance, FALSE,
      PERMISSION_HOST_CHANGE, ACCESS_ON_ALL },
    { "POST", "/v1/hosts/{host}/activate", ops_host_activate, FALSE,
      PERMISSION_HOST_CHANGE, ACCESS_ON_ALL },
    { "GET", "/v1/exports", ops_export_list, TRUE, PERMISSION_EXPORT_SEE, ACCESS_ON_ALL },
    { "POST", "/v1/exports", ops_export_start, FALSE, PERMISSION_EXPORT_CHANGE, ACCESS_ON_ALL },
    { "GET", "/v1/exports/{export}", ops_export_show, TRUE, PERMISSION_EXPORT_SEE, ACCESS_ON_ALL },
    { "DELETE", "/v1/exports/{export}", ops_export_stop, FALSE,
      PERMISSION_EXPORT_CHANGE, ACCESS_ON_ALL },
    { "GET", "/v1/rollouts", ops_rollout_list, TRUE, PERMISSION_ROLLOUT_SEE, ACCESS_ON_ALL },
    { "POST", "/v1/rollouts", ops_rollout_start, FALSE, PERMISSION_ROLLOUT_CHANGE, ACCESS_ON_ALL },
    { "GET", "/v1/rollouts/{rollout}", ops_rollout_show, TRUE,
      PERMISSION_ROLLOUT_SEE, ACCESS_ON_ALL },
    { "DELETE", "/v1/rollouts/{rollout}", ops_rollout_delete, FALSE,
      PERMISSION_ROLLOUT_CHANGE, ACCESS_ON_ALL },
    { "GET", "/v1/rollouts/{rollout}/desktops", ops_rollout_desktops, TRUE,
      PERMISSION_ROLLOUT_SEE, ACCESS_ON_ALL },
    { "POST", "/v1/rollouts/{rollout}/pause", ops_rollout_pause, FALSE,
      PERMISSION_ROLLOUT_CHANGE, ACCESS_ON_ALL },
    { "POST", "/v1/rollouts/{rollout}/resume", ops_rollout_resume, FALSE,
      PERMISSION_ROLLOUT_CHANGE, ACCESS_ON_ALL },
    { "POST", "/v1/rollouts/{rollout}/rollback", ops_rollout_rollback, FALSE,
      PERMISSION_ROLLOUT_CHANGE, ACCESS_ON_ALL },
    { "POST", "/v1/rollouts/{rollout}/cancel", ops_rollout_cancel, FALSE,
      PERMISSION_ROLLOUT_CHANGE, ACCESS_ON_ALL },
    { "GET", "/v1/jobs", ops_job_list, TRUE, PERMISSION_ANYONE, ACCESS_ON_LIST },
    { "GET", "/v1/jobs/{job}", ops_job_show, TRUE, PERMISSION_JOB_SEE, ACCESS_ON_JOB },
    { "GET", "/v1/jobs/{job}/log", ops_job_log, TRUE, PERMISSION_JOB_SEE, ACCESS_ON_JOB },
    { "POST", "/v1/jobs/{job}/cancel", ops_job_cancel, TRUE, PERMISSION_JOB_CANCEL, ACCESS_ON_JOB },
    { "GET", "/v1/jobs/{job}/stream", NULL, TRUE, PERMISSION_JOB_SEE, ACCESS_ON_JOB },
    { "GET", "/v1/events", ops_event_list, TRUE, PERMISSION_ANYONE, ACCESS_ON_LIST },
    { "GET", "/v1/events/stream", NULL, TRUE, PERMISSION_ANYONE, ACCESS_ON_LIST },
    { "GET", "/v1/reports/savings", ops_report_savings, TRUE,
      PERMISSION_REPORT_SEE, ACCESS_ON_ALL },
    { "POST", "/v1/reports/advice", ops_report_advice, FALSE,
      PERMISSION_REPORT_SEE, ACCESS_ON_ALL },
    { "POST", "/v1/catalog/rebuild", ops_catalog_rebuild, TRUE,
      PERMISSION_CATALOG_CHANGE, ACCESS_ON_ALL },
    { "POST", "/v1/catalog/backup", ops_catalog_backup, FALSE,
      PERMISSION_CATALOG_CHANGE, ACCESS_ON_ALL },
    { NULL },
};

/* Does path fit pattern?  The parts in braces go into found. */
static gboolean fits(const char *pattern, const char *path, json_t *found)
{
    while (*pattern) {
        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return FALSE;
            continue;
        }
        const char *close = strchr(pattern, '}');
        gsize len = strcspn(path, "/");
        g_autofree char *key = g_strndup(pattern + 1, (gsize)(close - pattern - 1));
        if (len == 0)
            return FALSE;
        json_t *value = json_stringn(path, len);
        if (!value) /* not UTF-8 */
            return FALSE;
        json_object_set_new(found, key, value);
        pattern = close + 1;
        path += len;
    }
    return *path == '\0';
}

const Route *route_find(const char *method, const char *path, json_t *args,
                        gboolean *ret_path_exists)
{
    *ret_path_exists = FALSE;
    for (guint i = 0; routes[i].method; i++) {
        json_t *found = json_object();
        gboolean matches = fits(routes[i].path, path, found);
        if (matches && strcmp(routes[i].method, method) == 0) {
            json_object_update(args, found);
            json_decref(found);
            return &routes[i];
        }
        json_decref(found);
        *ret_path_exists |= matches;
    }
    return NULL;
}
