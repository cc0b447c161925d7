/* routes.c: see routes.h. */
#include "imaged/http/routes.h"

#include <string.h>

const Route routes[] = {
    { "GET", "/v1/status", ops_status, TRUE },
    { "GET", "/metrics", NULL, TRUE },
    { "GET", "/v1/templates", ops_template_list, TRUE },
    { "POST", "/v1/templates/import", ops_template_import, FALSE },
    { "POST", "/v1/templates/build", ops_template_build, FALSE },
    { "POST", "/v1/templates/build/check", ops_template_build_check, TRUE },
    { "POST", "/v1/templates/create-from", ops_template_create_from, FALSE },
    { "GET", "/v1/templates/{template}", ops_template_show, TRUE },
    { "DELETE", "/v1/templates/{template}", ops_template_delete, FALSE },
    { "GET", "/v1/templates/{template}/versions", ops_template_versions, TRUE },
    { "POST", "/v1/templates/{template}/edit", ops_template_edit, FALSE },
    { "POST", "/v1/templates/{template}/seal", ops_template_seal, FALSE },
    { "POST", "/v1/templates/{template}/stand-in", ops_template_stand_in, FALSE },
    { "POST", "/v1/templates/{template}/propose", ops_template_propose, FALSE },
    { "POST", "/v1/templates/{template}/publish", ops_template_publish, FALSE },
    { "POST", "/v1/templates/{template}/retire", ops_template_retire, FALSE },
    { "POST", "/v1/templates/{template}/rename", ops_template_rename, FALSE },
    { "POST", "/v1/templates/{template}/set", ops_template_set, FALSE },
    { "POST", "/v1/templates/diff", ops_template_diff, FALSE },
    { "POST", "/v1/templates/{template}/inspect", ops_template_inspect, FALSE },
    { "GET", "/v1/templates/{template}/applications", ops_template_apps, TRUE },
    { "GET", "/v1/desktops", ops_desktop_list, TRUE },
    { "POST", "/v1/desktops/inspect", ops_desktop_inspect, FALSE },
    { "GET", "/v1/desktops/{desktop}/applications", ops_desktop_apps, TRUE },
    { "GET", "/v1/files", ops_files_list, FALSE },
    { "GET", "/v1/files/content", NULL, FALSE },
    { "POST", "/v1/desktops", ops_desktop_create, FALSE },
    { "POST", "/v1/desktops/delete", ops_desktop_delete, FALSE },
    { "POST", "/v1/desktops/start", ops_desktop_start, FALSE },
    { "POST", "/v1/desktops/stop", ops_desktop_stop, FALSE },
    { "POST", "/v1/desktops/restart", ops_desktop_restart, FALSE },
    { "POST", "/v1/desktops/pause", ops_desktop_pause, FALSE },
    { "POST", "/v1/desktops/resume", ops_desktop_resume, FALSE },
    { "POST", "/v1/desktops/reset", ops_desktop_reset, FALSE },
    { "POST", "/v1/desktops/undo-reset", ops_desktop_undo_reset, FALSE },
    { "POST", "/v1/desktops/move", ops_desktop_move, FALSE },
    { "POST", "/v1/desktops/compact", ops_desktop_compact, FALSE },
    { "POST", "/v1/desktops/flatten", ops_desktop_flatten, FALSE },
    { "POST", "/v1/desktops/resize", ops_disk_resize, FALSE },
    { "POST", "/v1/desktops/data-disk/add", ops_data_disk_add, FALSE },
    { "POST", "/v1/desktops/data-disk/resize", ops_data_disk_resize, FALSE },
    { "POST", "/v1/desktops/data-disk/detach", ops_data_disk_detach, FALSE },
    { "GET", "/v1/desktops/{desktop}", ops_desktop_show, TRUE },
    { "GET", "/v1/desktops/{desktop}/path", ops_desktop_path, TRUE },
    { "POST", "/v1/desktops/{desktop}/rename", ops_desktop_rename, FALSE },
    { "POST", "/v1/desktops/{desktop}/config-disk", ops_desktop_config_disk, FALSE },
    { "POST", "/v1/desktops/set", ops_desktop_set, FALSE },
    { "GET", "/v1/desktops/{desktop}/snapshots/{snapshot}", ops_snapshot_show, TRUE },
    { "POST", "/v1/desktops/{desktop}/snapshots/{snapshot}/rename", ops_snapshot_rename, FALSE },
    { "POST", "/v1/desktops/{desktop}/snapshots/delete", ops_snapshot_delete, FALSE },
    { "POST", "/v1/desktops/{desktop}/snapshots/diff", ops_snapshot_diff, TRUE },
    { "GET", "/v1/snapshots", ops_snapshot_list, TRUE },
    { "POST", "/v1/snapshots", ops_snapshot_create, FALSE },
    { "POST", "/v1/snapshots/revert", ops_snapshot_revert, FALSE },
    { "GET", "/v1/trash", ops_trash_list, TRUE },
    { "POST", "/v1/trash/restore", ops_trash_restore, FALSE },
    { "POST", "/v1/trash/empty", ops_trash_empty, FALSE },
    { "POST", "/v1/trash/resume-expiry", ops_trash_resume_expiry, FALSE },
    { "GET", "/v1/stores", ops_store_list, TRUE },
    { "POST", "/v1/stores", ops_store_add, FALSE },
    { "POST", "/v1/stores/check", ops_store_check, TRUE },
    { "GET", "/v1/stores/{store}", ops_store_show, TRUE },
    { "DELETE", "/v1/stores/{store}", ops_store_remove, FALSE },
    { "POST", "/v1/stores/{store}/drain", ops_store_drain, FALSE },
    { "GET", "/v1/archive/targets", ops_archive_target_list, TRUE },
    { "POST", "/v1/archive/targets", ops_archive_target_add, FALSE },
    { "DELETE", "/v1/archive/targets/{target}", ops_archive_target_remove, FALSE },
    { "POST", "/v1/archive/targets/{target}/collect", ops_archive_collect, FALSE },
    { "GET", "/v1/archive/points", ops_archive_list, TRUE },
    { "POST", "/v1/archive/points", ops_archive_create, FALSE },
    { "POST", "/v1/archive/points/verify", ops_archive_verify, FALSE },
    { "POST", "/v1/archive/points/delete", ops_archive_delete, FALSE },
    { "POST", "/v1/archive/points/undelete", ops_archive_undelete, FALSE },
    { "POST", "/v1/archive/points/prune", ops_archive_prune, FALSE },
    { "GET", "/v1/archive/points/{point}", ops_archive_show, TRUE },
    { "POST", "/v1/archive/points/{point}/restore", ops_archive_restore, FALSE },
    { "GET", "/v1/archive/schedules", ops_archive_schedule_list, TRUE },
    { "POST", "/v1/archive/schedules", ops_archive_schedule_add, FALSE },
    { "DELETE", "/v1/archive/schedules/{schedule}", ops_archive_schedule_remove, FALSE },
    { "GET", "/v1/hosts", ops_host_list, TRUE },
    { "POST", "/v1/hosts", ops_host_add, FALSE },
    { "GET", "/v1/hosts/{host}", ops_host_show, TRUE },
    { "DELETE", "/v1/hosts/{host}", ops_host_remove, FALSE },
    { "POST", "/v1/hosts/{host}/maintenance", ops_host_maintenance, FALSE },
    { "POST", "/v1/hosts/{host}/activate", ops_host_activate, FALSE },
    { "GET", "/v1/exports", ops_export_list, TRUE },
    { "POST", "/v1/exports", ops_export_start, FALSE },
    { "GET", "/v1/exports/{export}", ops_export_show, TRUE },
    { "DELETE", "/v1/exports/{export}", ops_export_stop, FALSE },
    { "GET", "/v1/rollouts", ops_rollout_list, TRUE },
    { "POST", "/v1/rollouts", ops_rollout_start, FALSE },
    { "GET", "/v1/rollouts/{rollout}", ops_rollout_show, TRUE },
    { "DELETE", "/v1/rollouts/{rollout}", ops_rollout_delete, FALSE },
    { "GET", "/v1/rollouts/{rollout}/desktops", ops_rollout_desktops, TRUE },
    { "POST", "/v1/rollouts/{rollout}/pause", ops_rollout_pause, FALSE },
    { "POST", "/v1/rollouts/{rollout}/resume", ops_rollout_resume, FALSE },
    { "POST", "/v1/rollouts/{rollout}/rollback", ops_rollout_rollback, FALSE },
    { "POST", "/v1/rollouts/{rollout}/cancel", ops_rollout_cancel, FALSE },
    { "GET", "/v1/jobs", ops_job_list, TRUE },
    { "GET", "/v1/jobs/{job}", ops_job_show, TRUE },
    { "GET", "/v1/jobs/{job}/log", ops_job_log, TRUE },
    { "POST", "/v1/jobs/{job}/cancel", ops_job_cancel, TRUE },
    { "GET", "/v1/jobs/{job}/stream", NULL, TRUE },
    { "GET", "/v1/events", ops_event_list, TRUE },
    { "GET", "/v1/events/stream", NULL, TRUE },
    { "GET", "/v1/reports/savings", ops_report_savings, TRUE },
    { "POST", "/v1/reports/advice", ops_report_advice, FALSE },
    { "POST", "/v1/catalog/rebuild", ops_catalog_rebuild, TRUE },
    { "POST", "/v1/catalog/backup", ops_catalog_backup, FALSE },
    { NULL, NULL, NULL, FALSE },
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
