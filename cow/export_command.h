/* export_command.h: the command line of an export's server, and the descriptors it gets.
 *
 * Internal to export_child.c. */
#pragma once

#include "cow/export_child.h"

typedef struct {
    GPtrArray *argv; /* char *, NULL at the end */
    GArray *sources; /* int: ours */
    GArray *targets; /* int: the same in the child */
    int psk_fd;      /* opened here, or -1 */
    char *preload;   /* "LD_PRELOAD=...", or NULL */
} ExportCommand;

ExportCommand *export_command_new(const ExportChildSpec *spec, GError **error);

/* The descriptor on which it says that it is ready. */
void export_command_set_ready(ExportCommand *command, int fd);

void export_command_free(ExportCommand *command);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ExportCommand, export_command_free)
