/* tables.h: the objects, for objects.c alone. */
#pragma once

#include "broker/search/objects.h"

extern const SearchObject search_desktops, search_templates, search_versions, search_snapshots,
    search_archives, search_layers, search_applications, search_stores;
extern const SearchObject search_networks, search_users, search_groups, search_roles, search_hosts,
    search_pools, search_sessions, search_jobs, search_events;

#define FREE_SHOW (FIELD_FREE | FIELD_SHOW)
#define SHOW_TABLE (FIELD_SHOW | FIELD_TABLE)
#define FREE_TABLE (FIELD_FREE | FIELD_SHOW | FIELD_TABLE)

#define FIELDS_END                                                                                 \
    {                                                                                              \
        NULL, NULL, TYPE_TEXT, NULL, 0, NULL                                                       \
    }
#define LINKS_END                                                                                  \
    {                                                                                              \
        NULL, NULL, NULL, { { NULL, NULL, NULL, NULL } }, 0, FALSE                                 \
    }

/* A setting of the machine in a row's own "hardware", or NULL. */
#define OWN_SETTING(row, key)                                                                      \
    "CASE WHEN json_valid(" row ".hardware) THEN json_extract(" row ".hardware, '$$." key "') END"

/* (row, name): the networks that rows of desktop or version name themselves. */
#define NETWORKS_OF(table)                                                                         \
    "(SELECT h.id AS row, e.value AS name FROM " table                                             \
    " h, json_each(CASE WHEN json_valid(h.hardware) THEN h.hardware END, '$$.networks') e WHERE"   \
    " h.hardware IS NOT NULL)"

/* Layers from $.layer_id down to the base. */
#define CHAIN_DEPTH(layer)                                                                         \
    "(WITH RECURSIVE c(id, n) AS (SELECT " layer ", 1 UNION ALL SELECT l.parent_id, n + 1 FROM c"  \
    " JOIN layer l ON l.id = c.id WHERE l.parent_id IS NOT NULL AND n < 1000)"                     \
    " SELECT max(n) FROM c)"

/* A figure of a layer's file, as the last report counted it. */
#define COUNTED(column, layer)                                                                     \
    "(SELECT c." column " FROM layer_counts c WHERE c.layer_id = " layer ")"
