/* verbs_desktop.h: what the files of imagectl desktop share. */
#pragma once

#include "imaged/cli/cli.h"
#include "imaged/cli/commands.h"

/* verbs_desktop_disks.c */
extern const Option desktop_data_disk_options[];
gboolean desktop_set_disk_size(Cli *cli, GError **error);
gboolean desktop_data_disk(Cli *cli, GError **error);

/* verbs_desktop_layers.c */
extern const Option desktop_reset_options[];
gboolean desktop_reset(Cli *cli, GError **error);
extern const Option desktop_undo_options[];
gboolean desktop_undo_reset(Cli *cli, GError **error);
extern const Option desktop_move_options[];
gboolean desktop_move(Cli *cli, GError **error);
extern const Option desktop_merge_options[];
gboolean desktop_compact(Cli *cli, GError **error);
gboolean desktop_flatten(Cli *cli, GError **error);

/* verbs_desktop_run.c */
extern const Option desktop_run_options[], desktop_start_options[], desktop_stop_options[];
gboolean desktop_suspend(Cli *cli, GError **error);
gboolean desktop_screenshot(Cli *cli, GError **error);
gboolean desktop_console(Cli *cli, GError **error);
extern const Option desktop_console_options[];
gboolean desktop_start(Cli *cli, GError **error);
gboolean desktop_stop(Cli *cli, GError **error);
gboolean desktop_restart(Cli *cli, GError **error);
gboolean desktop_pause(Cli *cli, GError **error);
extern const Option desktop_migrate_options[];
gboolean desktop_migrate(Cli *cli, GError **error);
gboolean desktop_resume(Cli *cli, GError **error);

/* verbs_desktop_assign.c */
extern const Option desktop_assign_options[], desktop_share_options[], desktop_extend_options[];
gboolean desktop_assign(Cli *cli, GError **error);
gboolean desktop_share(Cli *cli, GError **error);
gboolean desktop_unassign(Cli *cli, GError **error);
gboolean desktop_assignments(Cli *cli, GError **error);
gboolean desktop_extend(Cli *cli, GError **error);
