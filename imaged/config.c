/* config.c: the keys of [imaged] are one table, so that a misspelt one is found and the manual page
 * can be held against it. */
#include "imaged/config.h"

#include <string.h>
#include <stdio.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define UNITS "/run/imaged-helper"
#define UNITS_APPLIANCE "/var/lib/imaged-appliance"

typedef gboolean (*Parse)(const char *text, gpointer target, GError **error);

static gboolean parse_text(const char *text, gpointer target, GError **error)
{
    g_free(*(char **)target);
    *(char **)target = g_strdup(text);
    return TRUE;
}

static gboolean parse_size(const char *text, gpointer target, GError **error)
{
    return units_parse_size(text, target, error);
}

static gboolean parse_duration(const char *text, gpointer target, GError **error)
{
    return units_parse_duration(text, target, error);
}

static gboolean parse_number(const char *text, gpointer target, GError **error)
{
    char *end;
    guint64 n = g_ascii_strtoull(text, &end, 10);

    if (!g_ascii_isdigit(*text) || *end || n > 100) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%.40s' is not a number up to 100",
                    text);
        return FALSE;
    }
    *(guint *)target = (guint)n;
    return TRUE;
}

static gboolean parse_choice(const char *text, gpointer target, GError **error)
{
    gboolean is_yes = g_str_equal(text, "yes");

    if (!is_yes && !g_str_equal(text, "no")) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%.40s' is neither yes nor no",
                    text);
        return FALSE;
    }
    *(gboolean *)target = is_yes;
    return TRUE;
}

static gboolean parse_format(const char *text, gpointer target, GError **error)
{
    return store_layer_format_parse(text, target, error);
}

static gboolean parse_accelerator(const char *text, gpointer target, GError **error)
{
    return guest_accelerator_parse(text, target, error);
}

static const struct {
    const char *key;
    Parse parse;
    gsize offset;
} keys[] = {
    { "state_dir", parse_text, G_STRUCT_OFFSET(Config, state_dir) },
    { "socket", parse_text, G_STRUCT_OFFSET(Config, socket) },
    { "socket_group", parse_text, G_STRUCT_OFFSET(Config, socket_group) },
    { "listen", parse_text, G_STRUCT_OFFSET(Config, listen) },
    { "listen_vnc", parse_text, G_STRUCT_OFFSET(Config, listen_vnc) },
    { "vnc_address", parse_text, G_STRUCT_OFFSET(Config, vnc_address) },
    { "tls_cert", parse_text, G_STRUCT_OFFSET(Config, tls_cert) },
    { "tls_key", parse_text, G_STRUCT_OFFSET(Config, tls_key) },
    { "store", parse_text, G_STRUCT_OFFSET(Config, store) },
    { "interactive_workers", parse_number, G_STRUCT_OFFSET(Config, interactive_workers) },
    { "bulk_workers", parse_number, G_STRUCT_OFFSET(Config, bulk_workers) },
    { "health_commands", parse_text, G_STRUCT_OFFSET(Config, settings.health_dir) },
    { "health_user", parse_text, G_STRUCT_OFFSET(Config, settings.health_user) },
    { "image_group", parse_text, G_STRUCT_OFFSET(Config, settings.image_group) },
    { "layer_format", parse_format, G_STRUCT_OFFSET(Config, settings.layer_format) },
    { "trash_keep", parse_duration, G_STRUCT_OFFSET(Config, settings.trash_keep_ms) },
    { "merged_keep", parse_duration, G_STRUCT_OFFSET(Config, settings.merged_keep_ms) },
    { "max_chain_depth", parse_number, G_STRUCT_OFFSET(Config, settings.max_chain_depth) },
    { "low_space_bytes", parse_size, G_STRUCT_OFFSET(Config, settings.low_space_bytes) },
    { "low_space_percent", parse_number, G_STRUCT_OFFSET(Config, settings.low_space_percent) },
    { "warn_space_bytes", parse_size, G_STRUCT_OFFSET(Config, settings.warn_space_bytes) },
    { "warn_space_percent", parse_number, G_STRUCT_OFFSET(Config, settings.warn_space_percent) },
    { "empty_trash_when_low", parse_choice, G_STRUCT_OFFSET(Config, settings.empty_when_low) },
    { "backup_interval", parse_duration, G_STRUCT_OFFSET(Config, settings.backup_interval_ms) },
    { "data_check_interval", parse_duration,
      G_STRUCT_OFFSET(Config, settings.data_check_interval_ms) },
    { "directory_interval", parse_duration,
      G_STRUCT_OFFSET(Config, settings.directory_interval_ms) },
    { "inspect_imports", parse_choice, G_STRUCT_OFFSET(Config, settings.inspect_imports) },
    { "guest_user", parse_text, G_STRUCT_OFFSET(Config, settings.guest.user) },
    { "guest_socket_dir", parse_text, G_STRUCT_OFFSET(Config, settings.guest.socket_dir) },
    { "appliance", parse_text, G_STRUCT_OFFSET(Config, settings.guest.appliance) },
    { "alert_ca", parse_text, G_STRUCT_OFFSET(Config, settings.alert_ca) },
    { "alert_timeout", parse_duration, G_STRUCT_OFFSET(Config, settings.alert_timeout_ms) },
    { "sendmail", parse_text, G_STRUCT_OFFSET(Config, settings.sendmail) },
    { "mail_from", parse_text, G_STRUCT_OFFSET(Config, settings.mail_from) },
    { "mail_interval", parse_duration, G_STRUCT_OFFSET(Config, settings.mail_interval_ms) },
    { "accelerator", parse_accelerator, G_STRUCT_OFFSET(Config, settings.guest.accelerator) },
};

static gboolean set_key(Config *config, const char *key, const char *value, GError **error)
{
    for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (g_str_equal(keys[i].key, key)) {
            if (keys[i].parse(value, (char *)config + keys[i].offset, error))
                return TRUE;
            g_prefix_error(error, "%s: ", key);
            return FALSE;
        }
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "unknown key '%.40s'", key);
    return FALSE;
}

static gboolean load_file(Config *config, const char *path, gboolean must_exist, GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autoptr(GError) local = NULL;

    if (!g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, &local)) {
        if (!must_exist && g_error_matches(local, G_FILE_ERROR, G_FILE_ERROR_NOENT))
            return TRUE;
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "%s: %s", path, local->message);
        return FALSE;
    }
    g_auto(GStrv) groups = g_key_file_get_groups(file, NULL);
    for (guint g = 0; groups[g]; g++) {
        g_auto(GStrv) names = g_key_file_get_keys(file, groups[g], NULL, NULL);
        if (!g_str_equal(groups[g], "imaged")) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "%s: unknown section [%.40s]",
                        path, groups[g]);
            return FALSE;
        }
        for (guint i = 0; names && names[i]; i++) {
            g_autofree char *value = g_key_file_get_string(file, groups[g], names[i], NULL);
            if (!set_key(config, names[i], value ? value : "", error)) {
                g_prefix_error(error, "%s: ", path);
                return FALSE;
            }
        }
    }
    return TRUE;
}

static void set_defaults(Config *config)
{
    *config = (Config){ .state_dir = g_strdup("/var/lib/imaged"), .interactive_workers = 4,
                        .bulk_workers = 2 };
    config->settings = (Settings){ .trash_keep_ms = 7 * 86400000ll, .merged_keep_ms = 86400000ll,
                                   .max_chain_depth = 8, .low_space_bytes = 10 * GIB,
                                   .low_space_percent = 5, .warn_space_bytes = 50 * GIB,
                                   .warn_space_percent = 15, .backup_interval_ms = 3600000,
                                   .data_check_interval_ms = 30 * 86400000ll,
                                   .directory_interval_ms = 15 * 60000,
                                   .inspect_imports = TRUE,
                                   .alert_timeout_ms = 30000, .mail_interval_ms = 60000,
                                   .sendmail = g_strdup("/usr/sbin/sendmail"),
                                   .health_user = g_strdup("nobody") };
}

/* The helpers' units, where they are installed and we may use them. */
static void find_units(GuestSettings *guest)
{
    if (guest->socket_dir || geteuid() == 0 || access(UNITS "/guest", W_OK) < 0)
        return;
    guest->socket_dir = g_strdup(UNITS);
    if (!guest->appliance)
        guest->appliance = g_strdup(UNITS_APPLIANCE);
}

/* Empty texts mean "not given"; what depends on the state folder is filled in. */
static gboolean complete(Config *config, GError **error)
{
    char **texts[] = { &config->socket,
                       &config->socket_group,
                       &config->store,
                       &config->listen,
                       &config->listen_vnc,
                       &config->vnc_address,
                       &config->tls_cert,
                       &config->tls_key,
                       &config->settings.image_group,
                       &config->settings.guest.user,
                       &config->settings.guest.socket_dir,
                       &config->settings.guest.appliance,
                       &config->settings.alert_ca,
                       &config->settings.mail_from,
                       &config->settings.health_dir };

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        if (*texts[i] && !**texts[i])
            g_clear_pointer(texts[i], g_free);
    }
    char *absolute = g_canonicalize_filename(config->state_dir, NULL);
    g_free(config->state_dir);
    config->state_dir = absolute;
    if (!config->socket)
        config->socket = g_build_filename(config->state_dir, "imaged.sock", NULL);
    if (!config->store)
        config->store = g_build_filename(config->state_dir, "store", NULL);
    find_units(&config->settings.guest);
    if (!config->settings.health_dir)
        config->settings.health_dir = g_build_filename(config->state_dir, "health", NULL);
    if ((config->listen || config->listen_vnc) && (!config->tls_cert || !config->tls_key)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "%s needs tls_cert and tls_key: TCP is served with TLS alone",
                    config->listen ? "listen" : "listen_vnc");
        return FALSE;
    }
    if (config->interactive_workers < 1 || config->bulk_workers < 1) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "there must be workers");
        return FALSE;
    }
    return TRUE;
}

gboolean config_load(int *argc, char ***argv, Config *config, gboolean *ret_exit, GError **error)
{
    g_autofree char *file = NULL;
    g_autofree char *state = NULL;
    g_autofree char *store = NULL;
    g_autofree char *socket = NULL;
    g_autofree char *format = NULL;
    gboolean version = FALSE, check = FALSE;
    const GOptionEntry entries[] = {
        { "state", 0, 0, G_OPTION_ARG_FILENAME, &state,
          "Folder with the catalog, the socket and (by default) the store", "DIR" },
        { "config", 0, 0, G_OPTION_ARG_FILENAME, &file,
          "Configuration file (default: " CONFIG_DEFAULT_FILE ")", "FILE" },
        { "store", 0, 0, G_OPTION_ARG_FILENAME, &store, "Location of the default store", "DIR" },
        { "socket", 0, 0, G_OPTION_ARG_FILENAME, &socket, "Socket of the API", "PATH" },
        { "layer-format", 0, 0, G_OPTION_ARG_STRING, &format,
          "For stores that are made: extended (QEMU 5.2 and later) or compatible", "FORMAT" },
        { "check-config", 0, 0, G_OPTION_ARG_NONE, &check, "Read the configuration and exit",
          NULL },
        { "version", 0, 0, G_OPTION_ARG_NONE, &version, "Print the version and exit", NULL },
        { NULL },
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);

    g_option_context_set_summary(context,
                                 "imaged keeps the disk images of virtual desktops: golden "
                                 "templates, thin diffs, instant re-imaging.");
    g_option_context_set_description(context, "imaged --state DIR is enough to try it; imagectl "
                                              "talks to it. See imaged(8), imaged.conf(5).");
    g_option_context_add_main_entries(context, entries, NULL);
    set_defaults(config);
    if (!g_option_context_parse(context, argc, argv, error))
        return FALSE;
    if (*argc > 1) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "unexpected argument '%.40s'",
                    (*argv)[1]);
        return FALSE;
    }
    *ret_exit = version || check;
    if (version) {
        puts("imaged " IMAGED_VERSION);
        return TRUE;
    }
    if (!load_file(config, file ? file : CONFIG_DEFAULT_FILE, file != NULL, error))
        return FALSE;
    return (!state || parse_text(state, &config->state_dir, error)) &&
           (!store || parse_text(store, &config->store, error)) &&
           (!socket || parse_text(socket, &config->socket, error)) &&
           (!format || parse_format(format, &config->settings.layer_format, error)) &&
           complete(config, error);
}

void config_clear(Config *config)
{
    g_free(config->state_dir);
    g_free(config->socket);
    g_free(config->socket_group);
    g_free(config->store);
    g_free(config->listen);
    g_free(config->listen_vnc);
    g_free(config->vnc_address);
    g_free(config->tls_cert);
    g_free(config->tls_key);
    g_free(config->settings.image_group);
    g_free(config->settings.guest.user);
    g_free(config->settings.guest.socket_dir);
    g_free(config->settings.guest.appliance);
    g_free(config->settings.alert_ca);
    g_free(config->settings.sendmail);
    g_free(config->settings.mail_from);
    g_free(config->settings.health_dir);
    g_free(config->settings.health_user);
    *config = (Config){ 0 };
}
