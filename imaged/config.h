/* config.h: what the daemon is told: built-in values, then the configuration file, then options. */
#pragma once

#include "imaged/job/world.h"

typedef struct {
    char *state_dir, *socket, *socket_group, *store; /* store: location of the default store */
    char *listen, *tls_cert, *tls_key; /* HOST:PORT of TCP, or NULL; files in PEM */
    char *listen_vnc, *vnc_address;    /* the same for VNC; the name by which clients reach it */
    guint interactive_workers, bulk_workers;
    Settings settings;
} Config;

#define CONFIG_DEFAULT_FILE "/etc/imaged/imaged.conf"

/* From the command line (and the file it names, or the default one if that exists).  INVALID names
 * the unknown key or bad value.  *ret_exit is set when --help or --version was all. */
gboolean config_load(int *argc, char ***argv, Config *ret_config, gboolean *ret_exit,
                     GError **error);
void config_clear(Config *config);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Config, config_clear)
