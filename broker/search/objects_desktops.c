/* objects_desktops.c: what can be searched of desktops, templates and their versions. */
#include "broker/search/tables.h"

/* Whose desktop: assigned, given out of a pool, or named as its owner. */
#define USERS_OF_DESKTOP                                                                           \
    {                                                                                              \
        { "$.id", "assignment x# JOIN user % ON %.id = x#.user_id", "x#.desktop_id", NULL },       \
            { "$.id", "pool_desktop y# JOIN user % ON %.id = y#.user_id", "y#.desktop_id", NULL }, \
            { "$.owner COLLATE NOCASE", "user %", "%.name_key", "$.owner <> ''" },                 \
    }

#define APPLICATIONS_IN                                                                            \
    " JOIN application_in m# ON m#.set_id = i#.set_id JOIN application % ON"                       \
    " %.id = m#.application_id"

/* As the desktop has it, else its template's version, else as said. */
#define SETTING(key, otherwise)                                                                    \
    "coalesce(" OWN_SETTING("$", key) ", (SELECT " OWN_SETTING(                                    \
        "v", key) " FROM version v WHERE v.id = $.version_id), " otherwise ")"

#define CHANNEL_FIELDS(setting)                                                                    \
    { "clipboard", NULL, TYPE_BOOL, setting("clipboard", "1"), FIELD_SHOW, NULL },                 \
        { "file_transfer", NULL, TYPE_BOOL, setting("file_transfer", "1"), FIELD_SHOW, NULL },     \
        { "shared_folder", NULL, TYPE_BOOL, setting("shared_folder", "1"), FIELD_SHOW, NULL },     \
        { "usb", NULL, TYPE_NAME, setting("usb", "'all'"), FIELD_SHOW, NULL },                     \
    {                                                                                              \
        "audio", NULL, TYPE_NAME, setting("audio", "'both'"), FIELD_SHOW, NULL                     \
    }

static const SearchField desktop_fields[] = {
    { "name", "vm vmname", TYPE_NAME, "$.name", FREE_TABLE, NULL },
    { "id", NULL, TYPE_NAME, "$.id", FREE_SHOW, NULL },
    { "version", NULL, TYPE_NUMBER, "(SELECT v.version FROM version v WHERE v.id = $.version_id)",
      SHOW_TABLE, NULL },
    { "status", "run power running", TYPE_NAME,
      "coalesce((SELECT r.state FROM run r WHERE r.desktop_id = $.id), 'off')", FREE_TABLE, NULL },
    { "cpu_usage", "cpu cpuuse", TYPE_PERCENT, "live_cpu($.id)", SHOW_TABLE | FIELD_LIVE, NULL },
    { "memory", "memory_usage memory_bytes ram", TYPE_SIZE, "live_memory($.id)",
      SHOW_TABLE | FIELD_LIVE, NULL },
    { "uptime", NULL, TYPE_AGE, "(SELECT @ - r.started_at FROM run r WHERE r.desktop_id = $.id)",
      FIELD_SHOW, NULL },
    { "owner", NULL, TYPE_TEXT, "$.owner", FREE_SHOW, NULL },
    { "state", NULL, TYPE_NAME, "$.state", FREE_SHOW, NULL },
    { "generation", NULL, TYPE_NUMBER, "$.generation", FIELD_SHOW, NULL },
    { "mac", NULL, TYPE_NAME, "$.mac", FREE_SHOW, NULL },
    { "ip", "ip_address address addresses", TYPE_WORDS, "live_addresses($.id)",
      FREE_SHOW | FIELD_LIVE, NULL },
    { "uuid", NULL, TYPE_NAME, "$.uuid", FREE_SHOW, NULL },
    { "cpus", "n_cpus", TYPE_NUMBER,
      SETTING("cpus", "(SELECT v.cpus FROM version v WHERE v.id = $.version_id)"), FIELD_SHOW,
      NULL },
    { "memory_size", NULL, TYPE_SIZE,
      SETTING("memory_bytes", "(SELECT v.memory_bytes FROM version v WHERE v.id = $.version_id)"),
      FIELD_SHOW, NULL },
    CHANNEL_FIELDS(SETTING),
    { "disk_size", "size disk virtual_size", TYPE_SIZE,
      "(SELECT l.virtual_size FROM layer l WHERE l.id = $.layer_id)", FIELD_SHOW, NULL },
    { "data_disk_size", NULL, TYPE_SIZE,
      "(SELECT l.virtual_size FROM layer l WHERE l.id = $.data_layer_id)", FIELD_SHOW, NULL },
    { "chain_depth", "depth", TYPE_NUMBER, CHAIN_DEPTH("$.layer_id"), FIELD_SHOW, NULL },
    { "diff_size", "diff", TYPE_SIZE, COUNTED("disk_bytes", "$.layer_id"), FIELD_SHOW, NULL },
    { "saved_bytes", "saved", TYPE_SIZE,
      "(SELECT max(0, c.flattened_bytes - c.data_bytes) FROM layer_counts c WHERE c.layer_id ="
      " $.layer_id)",
      FIELD_SHOW, NULL },
    { "last_archive", "archived last_archive_at", TYPE_TIME,
      "(SELECT max(p.created_at) FROM archive_point p WHERE p.desktop_id = $.id AND"
      " p.deleted_at IS NULL AND p.state = 'ok')",
      FIELD_SHOW, NULL },
    { "n_snapshots", NULL, TYPE_NUMBER,
      "(SELECT count(*) FROM snapshot n WHERE n.desktop_id = $.id AND n.is_trashed = 0 AND"
      " {snapshot n})",
      FIELD_SHOW, NULL },
    { "orphan", "unassigned", TYPE_BOOL,
      "(NOT EXISTS (SELECT 1 FROM assignment x WHERE x.desktop_id = $.id) AND NOT EXISTS"
      " (SELECT 1 FROM pool_desktop y WHERE y.desktop_id = $.id) AND NOT EXISTS"
      " (SELECT 1 FROM user u WHERE $.owner <> '' AND u.name_key = $.owner COLLATE NOCASE))",
      FIELD_SHOW, NULL },
    { "created", "created_at", TYPE_TIME, "$.created_at", FIELD_SHOW, NULL },
    { "changed", "changed_at", TYPE_TIME, "$.changed_at", FIELD_SHOW, NULL },
    { "age", NULL, TYPE_AGE, "@ - $.created_at", 0, NULL },
    FIELDS_END,
};

static const SearchLink desktop_links[] = {
    { "template",
      "templates",
      "templates",
      { { "$.version_id", "version v# JOIN template % ON %.id = v#.template_id", "v#.id", NULL } },
      FREE_TABLE,
      FALSE },
    { "user", "users", "users", USERS_OF_DESKTOP, FREE_TABLE, TRUE },
    { "host",
      "hosts",
      "hosts",
      { { "$.id", "run r# JOIN host % ON %.id = r#.host_id", "r#.desktop_id", NULL, "run r#" } },
      FREE_TABLE,
      FALSE },
    { "pool",
      "pools",
      "pools",
      { { "$.id", "pool_desktop q# JOIN pool % ON %.id = q#.pool_id", "q#.desktop_id", NULL } },
      SHOW_TABLE,
      FALSE },
    { "apps",
      "app application applications",
      "applications",
      { { "$.layer_id", "inspection i#" APPLICATIONS_IN, "i#.layer_id", NULL },
        /* as long as nobody looked into it, what its template has */
        { "$.version_id",
          "version v# JOIN inspection i# ON i#.layer_id = v#.layer_id" APPLICATIONS_IN, "v#.id",
          "NOT EXISTS (SELECT 1 FROM inspection o WHERE o.layer_id = $.layer_id)" } },
      0,
      TRUE },
    { "sessions",
      "session",
      "sessions",
      { { "$.id", "session %", "%.desktop_id", NULL } },
      0,
      TRUE },
    { "snapshots",
      "snapshot",
      "snapshots",
      { { "$.id", "snapshot %", "%.desktop_id", NULL } },
      0,
      TRUE },
    { "archives",
      "archive",
      "archives",
      { { "$.id", "archive_point %", "%.desktop_id", NULL } },
      0,
      TRUE },
    { "network",
      "networks nic",
      "networks",
      { { "$.id", NETWORKS_OF("desktop") " x# JOIN network % ON %.name = x#.name", "x#.row",
          "$.hardware IS NOT NULL" },
        { "$.version_id", NETWORKS_OF("version") " x# JOIN network % ON %.name = x#.name", "x#.row",
          "(" OWN_SETTING("$", "networks") ") IS NULL" } },
      FIELD_SHOW,
      TRUE },
    { "events", "event", "events", { { "$.name", "event %", "%.object", NULL } }, 0, TRUE },
    { "layers",
      "layer",
      "layers",
      { { "$.layer_id", "layer %", "%.id", NULL },
        { "$.data_layer_id", "layer %", "%.id", "$.data_layer_id IS NOT NULL" } },
      0,
      TRUE },
    { "store",
      "stores",
      "stores",
      { { "$.store_id", "store %", "%.id", NULL } },
      FREE_SHOW,
      FALSE },
    LINKS_END,
};

const SearchObject search_desktops = {
    "desktops",
    "desktop",
    "desktop vms vm",
    "desktop",
    "$.is_trashed = 0",
    "name",
    "name",
    FALSE,
    NULL,
    desktop_fields,
    desktop_links,
    FALSE,
};

#define NEWEST_VERSION(column)                                                                     \
    "(SELECT w." column " FROM version w WHERE w.template_id = $.id AND w.is_trashed = 0 ORDER BY" \
    " w.version DESC LIMIT 1)"

static const SearchField template_fields[] = {
    { "name", NULL, TYPE_NAME, "$.name", FREE_TABLE, NULL },
    { "id", NULL, TYPE_NAME, "$.id", FREE_SHOW, NULL },
    { "latest", NULL, TYPE_NUMBER,
      "(SELECT max(w.version) FROM version w WHERE w.template_id = $.id AND w.is_trashed = 0 AND"
      " w.state = 'published')",
      SHOW_TABLE, NULL },
    { "state", "status", TYPE_NAME,
      "(SELECT CASE WHEN sum(w.state = 'published') > 0 THEN 'published' WHEN"
      " sum(w.state = 'draft') > 0 THEN 'draft' ELSE 'retired' END FROM version w WHERE"
      " w.template_id = $.id AND w.is_trashed = 0)",
      FREE_TABLE, NULL },
    { "os", NULL, TYPE_TEXT, NEWEST_VERSION("os"), FREE_TABLE, NULL },
    { "description", NULL, TYPE_TEXT, NEWEST_VERSION("description"), FREE_SHOW, NULL },
    { "n_versions", NULL, TYPE_NUMBER,
      "(SELECT count(*) FROM version w WHERE w.template_id = $.id AND w.is_trashed = 0 AND"
      " {version w})",
      FIELD_SHOW, NULL },
    { "n_desktops", NULL, TYPE_NUMBER,
      "(SELECT count(*) FROM version w JOIN desktop d ON d.version_id = w.id WHERE"
      " w.template_id = $.id AND d.is_trashed = 0 AND {desktop d})",
      SHOW_TABLE, NULL },
    { "disk_size", "size virtual_size", TYPE_SIZE,
      "(SELECT l.virtual_size FROM version w JOIN layer l ON l.id = w.layer_id WHERE"
      " w.template_id = $.id AND w.is_trashed = 0 ORDER BY w.version DESC LIMIT 1)",
      SHOW_TABLE, NULL },
    { "chain_depth", "depth", TYPE_NUMBER, CHAIN_DEPTH(NEWEST_VERSION("layer_id")), FIELD_SHOW,
      NULL },
    { "saved_bytes", "saved", TYPE_SIZE,
      "(SELECT sum(max(0, c.flattened_bytes - c.data_bytes)) FROM version w JOIN desktop d ON"
      " d.version_id = w.id JOIN layer_counts c ON c.layer_id = d.layer_id WHERE"
      " w.template_id = $.id AND d.is_trashed = 0 AND {desktop d})",
      FIELD_SHOW, NULL },
    { "last_archive", "archived", TYPE_TIME,
      "(SELECT max(p.created_at) FROM version w JOIN archive_point p ON p.version_id = w.id WHERE"
      " w.template_id = $.id AND p.desktop_id IS NULL AND p.deleted_at IS NULL AND"
      " p.state = 'ok')",
      FIELD_SHOW, NULL },
    { "created", "created_at", TYPE_TIME, "$.created_at", FIELD_SHOW, NULL },
    { "changed", "changed_at", TYPE_TIME, "$.changed_at", FIELD_SHOW, NULL },
    { "age", NULL, TYPE_AGE, "@ - $.created_at", 0, NULL },
    FIELDS_END,
};

static const SearchLink template_links[] = {
    { "versions",
      "version",
      "versions",
      { { "$.id", "version %", "%.template_id", NULL } },
      0,
      TRUE },
    { "desktops",
      "desktop vm vms",
      "desktops",
      { { "$.id", "version v# JOIN desktop % ON %.version_id = v#.id", "v#.template_id", NULL } },
      0,
      TRUE },
    { "pools", "pool", "pools", { { "$.id", "pool %", "%.template_id", NULL } }, 0, TRUE },
    { "apps",
      "app application applications",
      "applications",
      { { "$.id",
          "version v# JOIN inspection i# ON i#.layer_id = v#.layer_id AND v#.is_trashed = "
          "0" APPLICATIONS_IN,
          "v#.template_id", NULL } },
      0,
      TRUE },
    { "archives",
      "archive",
      "archives",
      { { "$.id", "version v# JOIN archive_point % ON %.version_id = v#.id", "v#.template_id",
          NULL } },
      0,
      TRUE },
    { "events", "event", "events", { { "$.name", "event %", "%.object", NULL } }, 0, TRUE },
    LINKS_END,
};

const SearchObject search_templates = {
    "templates", "template", "template", "template",      "$.is_trashed = 0", "name",
    "name",      FALSE,      NULL,       template_fields, template_links,     FALSE,
};

#define VERSION_SETTING(key, otherwise) "coalesce(" OWN_SETTING("$", key) ", " otherwise ")"

static const SearchField version_fields[] = {
    { "version", "number", TYPE_NUMBER, "$.version", SHOW_TABLE, NULL },
    { "id", NULL, TYPE_NAME, "$.id", FREE_SHOW, NULL },
    { "state", "status", TYPE_NAME, "$.state", FREE_TABLE, NULL },
    { "os", NULL, TYPE_TEXT, "$.os", FREE_TABLE, NULL },
    { "cpus", NULL, TYPE_NUMBER, "$.cpus", SHOW_TABLE, NULL },
    { "memory", "memory_bytes", TYPE_SIZE, "$.memory_bytes", SHOW_TABLE, NULL },
    { "firmware", NULL, TYPE_NAME, "$.firmware", FIELD_SHOW, NULL },
    CHANNEL_FIELDS(VERSION_SETTING),
    { "description", NULL, TYPE_TEXT, "$.description", FREE_SHOW, NULL },
    { "notes", NULL, TYPE_TEXT, "$.notes", FREE_SHOW, NULL },
    { "source", NULL, TYPE_TEXT, "$.source", FREE_SHOW, NULL },
    { "disk_size", "size virtual_size", TYPE_SIZE,
      "(SELECT l.virtual_size FROM layer l WHERE l.id = $.layer_id)", FIELD_SHOW, NULL },
    { "chain_depth", "depth", TYPE_NUMBER, CHAIN_DEPTH("$.layer_id"), FIELD_SHOW, NULL },
    { "created", "created_at", TYPE_TIME, "$.created_at", SHOW_TABLE, NULL },
    { "age", NULL, TYPE_AGE, "@ - $.created_at", 0, NULL },
    FIELDS_END,
};

static const SearchLink version_links[] = {
    { "template",
      "templates",
      "templates",
      { { "$.template_id", "template %", "%.id", NULL } },
      FREE_TABLE,
      FALSE },
    { "desktops",
      "desktop vm vms",
      "desktops",
      { { "$.id", "desktop %", "%.version_id", NULL } },
      0,
      TRUE },
    { "apps",
      "app application applications",
      "applications",
      { { "$.layer_id", "inspection i#" APPLICATIONS_IN, "i#.layer_id", NULL } },
      0,
      TRUE },
    { "network",
      "networks nic",
      "networks",
      { { "$.id", NETWORKS_OF("version") " x# JOIN network % ON %.name = x#.name", "x#.row",
          NULL } },
      FIELD_SHOW,
      TRUE },
    LINKS_END,
};

const SearchObject search_versions = {
    "versions", "version", "version", "version",      "$.is_trashed = 0", "version",
    "created",  TRUE,      NULL,      version_fields, version_links,      FALSE,
};
