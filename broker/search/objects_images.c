/* objects_images.c: what can be searched of images: snapshots, archives, layers, stores, and the
 * applications in them. */
#include "broker/search/tables.h"

static const SearchField snapshot_fields[] = {
    { "name", NULL, TYPE_NAME, "$.name", FREE_TABLE, NULL },
    { "id", NULL, TYPE_NAME, "$.id", FREE_SHOW, NULL },
    { "description", NULL, TYPE_TEXT, "$.description", FREE_TABLE, NULL },
    { "generation", NULL, TYPE_NUMBER, "$.generation", FIELD_SHOW, NULL },
    { "diff_size", "diff", TYPE_SIZE, COUNTED("disk_bytes", "$.layer_id"), SHOW_TABLE, NULL },
    { "chain_depth", "depth", TYPE_NUMBER, CHAIN_DEPTH("$.layer_id"), FIELD_SHOW, NULL },
    { "orphan", NULL, TYPE_BOOL,
      "NOT EXISTS (SELECT 1 FROM desktop d WHERE d.id = $.desktop_id AND d.is_trashed = 0)",
      FIELD_SHOW, NULL },
    { "created", "created_at time", TYPE_TIME, "$.created_at", SHOW_TABLE, NULL },
    { "age", NULL, TYPE_AGE, "@ - $.created_at", 0, NULL },
    FIELDS_END,
};

static const SearchLink snapshot_links[] = {
    { "desktop",
      "desktops vm vms",
      "desktops",
      { { "$.desktop_id", "desktop %", "%.id", NULL } },
      FREE_TABLE,
      FALSE },
    { "template",
      "templates",
      "templates",
      { { "$.version_id", "version v# JOIN template % ON %.id = v#.template_id", "v#.id", NULL } },
      FIELD_SHOW,
      FALSE },
    { "version",
      "versions",
      "versions",
      { { "$.version_id", "version %", "%.id", NULL } },
      FIELD_SHOW,
      FALSE },
    { "layer", "layers", "layers", { { "$.layer_id", "layer %", "%.id", NULL } }, 0, FALSE },
    { "store",
      "stores",
      "stores",
      { { "$.store_id", "store %", "%.id", NULL } },
      FREE_SHOW,
      FALSE },
    LINKS_END,
};

const SearchObject search_snapshots = {
    "snapshots", "snapshot", "snapshot", "snapshot",      "$.is_trashed = 0", "name",
    "created",   TRUE,       NULL,       snapshot_fields, snapshot_links,     FALSE,
};

static const SearchField archive_fields[] = {
    { "name", NULL, TYPE_NAME, "$.name", FREE_TABLE, NULL },
    { "id", NULL, TYPE_NAME, "$.id", FREE_SHOW, NULL },
    { "kind", "type", TYPE_NAME, "$.kind", FREE_TABLE, NULL },
    { "target", NULL, TYPE_NAME, "(SELECT g.name FROM archive_target g WHERE g.id = $.target_id)",
      FREE_TABLE, NULL },
    { "state", "status", TYPE_NAME, "$.state", FREE_TABLE, NULL },
    { "snapshot", NULL, TYPE_NAME, "$.snapshot", FREE_SHOW, NULL },
    { "size", "bytes", TYPE_SIZE, "$.bytes", SHOW_TABLE, NULL },
    { "new_bytes", NULL, TYPE_SIZE, "$.new_bytes", FIELD_SHOW, NULL },
    { "orphan", NULL, TYPE_BOOL,
      "($.desktop_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM desktop d WHERE"
      " d.id = $.desktop_id AND d.is_trashed = 0))",
      FIELD_SHOW, NULL },
    { "created", "created_at time", TYPE_TIME, "$.created_at", SHOW_TABLE, NULL },
    { "age", NULL, TYPE_AGE, "@ - $.created_at", 0, NULL },
    FIELDS_END,
};

static const SearchLink archive_links[] = {
    { "desktop",
      "desktops vm vms",
      "desktops",
      { { "$.desktop_id", "desktop %", "%.id", NULL } },
      FIELD_SHOW,
      FALSE },
    { "template",
      "templates",
      "templates",
      { { "$.version_id", "version v# JOIN template % ON %.id = v#.template_id", "v#.id", NULL } },
      FIELD_SHOW,
      FALSE },
    { "version",
      "versions",
      "versions",
      { { "$.version_id", "version %", "%.id", NULL } },
      FIELD_SHOW,
      FALSE },
    LINKS_END,
};

const SearchObject search_archives = {
    "archives",
    "archive",
    "archive archive_points points",
    "archive_point",
    "$.deleted_at IS NULL",
    "name",
    "created",
    TRUE,
    NULL,
    archive_fields,
    archive_links,
    FALSE,
};

static const SearchField layer_fields[] = {
    { "id", "name", TYPE_NAME, "$.id", FREE_TABLE, NULL },
    { "slot", NULL, TYPE_NAME, "$.slot", FREE_SHOW, NULL },
    { "kind", "owner_kind type", TYPE_NAME, "$.owner_kind", FREE_TABLE, NULL },
    { "state", "status", TYPE_NAME, "$.state", FREE_TABLE, NULL },
    { "place", NULL, TYPE_NAME, "$.place", FREE_SHOW, NULL },
    { "generation", NULL, TYPE_NUMBER, "$.generation", FIELD_SHOW, NULL },
    { "size", "virtual_size disk_size", TYPE_SIZE, "$.virtual_size", SHOW_TABLE, NULL },
    { "diff_size", "diff disk_bytes", TYPE_SIZE, COUNTED("disk_bytes", "$.id"), SHOW_TABLE, NULL },
    { "saved_bytes", "saved", TYPE_SIZE,
      "(SELECT max(0, c.flattened_bytes - c.data_bytes) FROM layer_counts c WHERE c.layer_id ="
      " $.id)",
      FIELD_SHOW, NULL },
    { "chain_depth", "depth", TYPE_NUMBER, CHAIN_DEPTH("$.id"), FIELD_SHOW, NULL },
    { "n_children", "children", TYPE_NUMBER,
      "(SELECT count(*) FROM layer l WHERE l.parent_id = $.id)", FIELD_SHOW, NULL },
    { "parent", NULL, TYPE_NAME, "$.parent_id", FIELD_SHOW, NULL },
    { "checksum", NULL, TYPE_NAME, "$.checksum", FREE_SHOW, NULL },
    /* nothing stands on it, nothing uses it, and the trash does not know it */
    { "orphan", NULL, TYPE_BOOL,
      "(NOT EXISTS (SELECT 1 FROM layer l WHERE l.parent_id = $.id)"
      " AND NOT EXISTS (SELECT 1 FROM desktop d WHERE d.layer_id = $.id)"
      " AND NOT EXISTS (SELECT 1 FROM desktop d WHERE d.data_layer_id = $.id)"
      " AND NOT EXISTS (SELECT 1 FROM snapshot n WHERE n.layer_id = $.id)"
      " AND NOT EXISTS (SELECT 1 FROM snapshot n WHERE n.data_layer_id = $.id)"
      " AND NOT EXISTS (SELECT 1 FROM version v WHERE v.id = $.owner_id)"
      " AND NOT EXISTS (SELECT 1 FROM trash x WHERE x.layer_id = $.id)"
      " AND NOT EXISTS (SELECT 1 FROM trash x WHERE x.data_layer_id = $.id))",
      FIELD_SHOW, NULL },
    { "created", "created_at", TYPE_TIME, "$.created_at", SHOW_TABLE, NULL },
    { "age", NULL, TYPE_AGE, "@ - $.created_at", 0, NULL },
    FIELDS_END,
};

static const SearchLink layer_links[] = {
    { "desktop",
      "desktops vm vms",
      "desktops",
      { { "$.id", "desktop %", "%.layer_id", NULL },
        { "$.id", "desktop %", "%.data_layer_id", NULL } },
      SHOW_TABLE,
      FALSE },
    { "version",
      "versions",
      "versions",
      { { "$.owner_id", "version %", "%.id", NULL } },
      FIELD_SHOW,
      FALSE },
    { "template",
      "templates",
      "templates",
      { { "$.owner_id", "version v# JOIN template % ON %.id = v#.template_id", "v#.id", NULL } },
      SHOW_TABLE,
      FALSE },
    { "snapshots",
      "snapshot",
      "snapshots",
      { { "$.id", "snapshot %", "%.layer_id", NULL } },
      FIELD_SHOW,
      TRUE },
    { "store",
      "stores",
      "stores",
      { { "$.store_id", "store %", "%.id", NULL } },
      FREE_TABLE,
      FALSE },
    LINKS_END,
};

const SearchObject search_layers = {
    "layers",  "layer", "layer", "layer",      NULL,        "id",
    "created", TRUE,    NULL,    layer_fields, layer_links, FALSE,
};

static const SearchField application_fields[] = {
    { "name", NULL, TYPE_TEXT, "$.name", FREE_TABLE | FIELD_FTS, NULL },
    { "version", NULL, TYPE_TEXT, "$.version", SHOW_TABLE, NULL },
    { "arch", NULL, TYPE_NAME, "$.arch", SHOW_TABLE, NULL },
    { "id", NULL, TYPE_NUMBER, "$.id", FIELD_SHOW, NULL },
    FIELDS_END,
};

static const SearchLink application_links[] = { LINKS_END };

const SearchObject search_applications = {
    "applications",
    NULL,
    "application apps app",
    "application",
    NULL,
    "name",
    "name",
    FALSE,
    "application_text",
    application_fields,
    application_links,
    TRUE,
};

static const SearchField store_fields[] = {
    { "name", NULL, TYPE_NAME, "$.name", FREE_TABLE, NULL },
    { "id", NULL, TYPE_NAME, "$.id", FREE_SHOW, NULL },
    { "kind", "type", TYPE_NAME, "$.kind", FREE_TABLE, NULL },
    { "location", NULL, TYPE_TEXT, "$.location", FREE_TABLE, NULL },
    { "created", "created_at", TYPE_TIME, "$.created_at", FIELD_SHOW, NULL },
    FIELDS_END,
};

static const SearchLink store_links[] = {
    { "desktops",
      "desktop vm vms",
      "desktops",
      { { "$.id", "desktop %", "%.store_id", NULL } },
      0,
      TRUE },
    { "layers", "layer", "layers", { { "$.id", "layer %", "%.store_id", NULL } }, 0, TRUE },
    LINKS_END,
};

const SearchObject search_stores = {
    "stores", "store", "store", "store",      NULL,        "name",
    "name",   FALSE,   NULL,    store_fields, store_links, FALSE,
};
