/* objects_people.c: what can be searched of users, hosts, pools, sessions, jobs and events. */
#include "broker/search/tables.h"

/* May the caller see the desktop of this row? */
#define SEEN_DESKTOP(row) \
    "{desktop d: EXISTS (SELECT 1 FROM desktop d WHERE d.id = " row ".desktop_id AND ~)}"

static const SearchField user_fields[] = {
    { "name", "username user_name login", TYPE_TEXT, "$.name", FREE_TABLE, "$.name_key" },
    { "id", NULL, TYPE_NAME, "$.id", FREE_SHOW, NULL },
    { "full_name", NULL, TYPE_TEXT, "$.full_name", FREE_TABLE, NULL },
    { "email", "mail", TYPE_TEXT, "nullif($.email, '')", FREE_TABLE, NULL },
    { "directory", "domain", TYPE_NAME,
      "coalesce((SELECT y.name FROM directory y WHERE y.id = $.directory_id), 'local')", FREE_TABLE,
      NULL },
    { "disabled", "is_disabled", TYPE_BOOL, "$.is_disabled", FIELD_SHOW, NULL },
    { "n_desktops", NULL, TYPE_NUMBER,
      "(SELECT count(*) FROM assignment x JOIN desktop d ON d.id = x.desktop_id WHERE"
      " x.user_id = $.id AND d.is_trashed = 0 AND {desktop d})",
      SHOW_TABLE, NULL },
    { "created", "created_at", TYPE_TIME, "$.created_at", FIELD_SHOW, NULL },
    { "changed", "changed_at", TYPE_TIME, "$.changed_at", FIELD_SHOW, NULL },
    { "age", NULL, TYPE_AGE, "@ - $.created_at", 0, NULL },
    FIELDS_END,
};

static const SearchLink user_links[] = {
    { "groups",
      "group",
      "groups",
      { { "$.id", "group_member m# JOIN user_group % ON %.id = m#.group_id", "m#.user_id", NULL } },
      FIELD_SHOW,
      TRUE },
    { "desktops",
      "desktop vm vms",
      "desktops",
      { { "$.id", "assignment x# JOIN desktop % ON %.id = x#.desktop_id", "x#.user_id", NULL },
        { "$.id", "pool_desktop y# JOIN desktop % ON %.id = y#.desktop_id", "y#.user_id", NULL },
        { "$.name_key COLLATE NOCASE", "desktop %", "%.owner", NULL } },
      0,
      TRUE },
    { "sessions", "session", "sessions", { { "$.id", "session %", "%.user_id", NULL } }, 0, TRUE },
    { "pools",
      "pool",
      "pools",
      { { "$.id", "pool_grant g# JOIN pool % ON %.id = g#.pool_id", "g#.subject_id", NULL },
        { "$.id",
          "group_member m# JOIN pool_grant g# ON g#.subject_id = m#.group_id JOIN pool % ON"
          " %.id = g#.pool_id",
          "m#.user_id", NULL },
        { "$.id", "pool_desktop y# JOIN pool % ON %.id = y#.pool_id", "y#.user_id", NULL } },
      0,
      TRUE },
    { "roles",
      "role",
      "roles",
      { { "$.id", "role_grant g# JOIN role % ON %.id = g#.role_id", "g#.subject_id", NULL },
        { "$.id",
          "group_member m# JOIN role_grant g# ON g#.subject_id = m#.group_id JOIN role % ON"
          " %.id = g#.role_id",
          "m#.user_id", NULL } },
      FIELD_SHOW,
      TRUE },
    { "events", "event", "events", { { "$.name", "event %", "%.who", NULL } }, 0, TRUE },
    LINKS_END,
};

const SearchObject search_users = {
    "users", "user", "user", "user",      NULL,       "name",
    "name",  FALSE,  NULL,   user_fields, user_links, FALSE,
};

static const SearchField group_fields[] = {
    { "name", "groupname", TYPE_TEXT, "$.name", FREE_TABLE, "$.name_key" },
    { "id", NULL, TYPE_NAME, "$.id", FREE_SHOW, NULL },
    { "directory", "domain", TYPE_NAME,
      "coalesce((SELECT y.name FROM directory y WHERE y.id = $.directory_id), 'local')", FREE_TABLE,
      NULL },
    { "n_users", "n_members", TYPE_NUMBER,
      "(SELECT count(*) FROM group_member m JOIN user u ON u.id = m.user_id WHERE"
      " m.group_id = $.id AND {user u})",
      SHOW_TABLE, NULL },
    { "created", "created_at", TYPE_TIME, "$.created_at", FIELD_SHOW, NULL },
    FIELDS_END,
};

static const SearchLink group_links[] = {
    { "users",
      "user member members",
      "users",
      { { "$.id", "group_member m# JOIN user % ON %.id = m#.user_id", "m#.group_id", NULL } },
      0,
      TRUE },
    { "pools",
      "pool",
      "pools",
      { { "$.id", "pool_grant g# JOIN pool % ON %.id = g#.pool_id", "g#.subject_id", NULL } },
      FIELD_SHOW,
      TRUE },
    { "roles",
      "role",
      "roles",
      { { "$.id", "role_grant g# JOIN role % ON %.id = g#.role_id", "g#.subject_id", NULL } },
      FIELD_SHOW,
      TRUE },
    { "desktops",
      "desktop vm vms",
      "desktops",
      { { "$.id",
          "group_member m# JOIN assignment x# ON x#.user_id = m#.user_id JOIN desktop % ON"
          " %.id = x#.desktop_id",
          "m#.group_id", NULL },
        { "$.id",
          "group_member m# JOIN pool_desktop y# ON y#.user_id = m#.user_id JOIN desktop % ON"
          " %.id = y#.desktop_id",
          "m#.group_id", NULL } },
      0,
      TRUE },
    LINKS_END,
};

const SearchObject search_groups = {
    "groups", "group", "group usergroups", "user_group", NULL,  "name", "name",
    FALSE,    NULL,    group_fields,       group_links,  FALSE,
};

static const SearchField role_fields[] = {
    { "name", NULL, TYPE_NAME, "$.name", FREE_TABLE, NULL },
    { "id", NULL, TYPE_NAME, "$.id", FREE_SHOW, NULL },
    { "permissions", NULL, TYPE_TEXT, "$.permissions", FREE_TABLE, NULL },
    { "built_in", "is_built_in", TYPE_BOOL, "$.is_built_in", FIELD_SHOW, NULL },
    FIELDS_END,
};

static const SearchLink role_links[] = {
    { "users",
      "user",
      "users",
      { { "$.id", "role_grant g# JOIN user % ON %.id = g#.subject_id", "g#.role_id", NULL } },
      0,
      TRUE },
    { "groups",
      "group",
      "groups",
      { { "$.id", "role_grant g# JOIN user_group % ON %.id = g#.subject_id", "g#.role_id", NULL } },
      0,
      TRUE },
    LINKS_END,
};

const SearchObject search_roles = {
    "roles", "role", "role", "role",      NULL,       "name",
    "name",  FALSE,  NULL,   role_fields, role_links, FALSE,
};

static const SearchField host_fields[] = {
    { "name", "hostname", TYPE_NAME, "$.name", FREE_TABLE, NULL },
    { "id", NULL, TYPE_NAME, "$.id", FREE_SHOW, NULL },
    { "state", "status", TYPE_NAME, "host_state($.id)", SHOW_TABLE | FIELD_LIVE, NULL },
    { "maintenance", "is_maintenance", TYPE_BOOL, "$.is_maintenance", SHOW_TABLE, NULL },
    { "group", "host_group cluster", TYPE_NAME,
      "(SELECT y.name FROM host_group y WHERE y.id = $.group_id)", FREE_SHOW, NULL },
    { "n_desktops", NULL, TYPE_NUMBER,
      "(SELECT count(*) FROM run r WHERE r.host_id = $.id AND " SEEN_DESKTOP("r") ")", SHOW_TABLE,
      NULL },
    { "cpus", "n_cpus", TYPE_NUMBER, "host_cpus($.id)", SHOW_TABLE | FIELD_LIVE, NULL },
    { "cpu_usage", "cpu cpuuse", TYPE_PERCENT, "host_cpu($.id)", SHOW_TABLE | FIELD_LIVE, NULL },
    { "memory", "memory_bytes ram", TYPE_SIZE, "host_memory($.id)", SHOW_TABLE | FIELD_LIVE, NULL },
    { "memory_given", "domains_memory_bytes", TYPE_SIZE, "host_memory_given($.id)",
      FIELD_SHOW | FIELD_LIVE, NULL },
    { "uri", "address", TYPE_TEXT, "$.uri", FREE_TABLE, NULL },
    { "accelerator", NULL, TYPE_NAME, "$.accelerator", FREE_SHOW, NULL },
    { "display_address", NULL, TYPE_TEXT, "$.display_address", FREE_SHOW, NULL },
    { "created", "created_at", TYPE_TIME, "$.created_at", FIELD_SHOW, NULL },
    FIELDS_END,
};

static const SearchLink host_links[] = {
    { "desktops",
      "desktop vm vms",
      "desktops",
      { { "$.id", "run r# JOIN desktop % ON %.id = r#.desktop_id", "r#.host_id", NULL } },
      0,
      TRUE },
    { "sessions", "session", "sessions", { { "$.id", "session %", "%.host_id", NULL } }, 0, TRUE },
    { "events", "event", "events", { { "$.name", "event %", "%.object", NULL } }, 0, TRUE },
    LINKS_END,
};

const SearchObject search_hosts = {
    "hosts", "host", "host", "host",      NULL,       "name",
    "name",  FALSE,  NULL,   host_fields, host_links, FALSE,
};

static const SearchField network_fields[] = {
    { "name", NULL, TYPE_NAME, "$.name", FREE_TABLE, NULL },
    { "id", NULL, TYPE_NAME, "$.id", FREE_SHOW, NULL },
    { "kind", "type", TYPE_NAME, "$.kind", FREE_TABLE, NULL },
    { "bridge", NULL, TYPE_NAME, "$.bridge", FREE_TABLE, NULL },
    { "vlan", NULL, TYPE_NUMBER, "nullif($.vlan, 0)", SHOW_TABLE, NULL },
    { "group", "host_group", TYPE_NAME, "(SELECT y.name FROM host_group y WHERE y.id = $.group_id)",
      FREE_TABLE, NULL },
    { "created", "created_at", TYPE_TIME, "$.created_at", FIELD_SHOW, NULL },
    FIELDS_END,
};

static const SearchLink network_links[] = {
    { "desktops",
      "desktop vm vms",
      "desktops",
      { { "$.name", NETWORKS_OF("desktop") " x# JOIN desktop % ON %.id = x#.row", "x#.name", NULL },
        { "$.name",
          NETWORKS_OF("version") " x# JOIN desktop % ON %.version_id = x#.row AND (" OWN_SETTING(
              "%", "networks") ") IS NULL",
          "x#.name", NULL } },
      0,
      TRUE },
    LINKS_END,
};

const SearchObject search_networks = {
    "networks", "network", "network", "network",      NULL,          "name",
    "name",     FALSE,     NULL,      network_fields, network_links, FALSE,
};

static const SearchField pool_fields[] = {
    { "name", NULL, TYPE_NAME, "$.name", FREE_TABLE, NULL },
    { "id", NULL, TYPE_NAME, "$.id", FREE_SHOW, NULL },
    { "type", "kind", TYPE_NAME, "$.type", FREE_TABLE, NULL },
    { "size", NULL, TYPE_NUMBER, "$.size", SHOW_TABLE, NULL },
    { "spares", NULL, TYPE_NUMBER, "$.spares", FIELD_SHOW, NULL },
    { "max_per_user", NULL, TYPE_NUMBER, "$.max_per_user", FIELD_SHOW, NULL },
    { "n_desktops", NULL, TYPE_NUMBER,
      "(SELECT count(*) FROM pool_desktop q WHERE q.pool_id = $.id AND " SEEN_DESKTOP("q") ")",
      SHOW_TABLE, NULL },
    { "n_free", "free", TYPE_NUMBER,
      "(SELECT count(*) FROM pool_desktop q WHERE q.pool_id = $.id AND q.state = 'free' "
      "AND " SEEN_DESKTOP("q") ")",
      SHOW_TABLE, NULL },
    { "created", "created_at", TYPE_TIME, "$.created_at", FIELD_SHOW, NULL },
    { "changed", "changed_at", TYPE_TIME, "$.changed_at", FIELD_SHOW, NULL },
    FIELDS_END,
};

static const SearchLink pool_links[] = {
    { "template",
      "templates",
      "templates",
      { { "$.template_id", "template %", "%.id", NULL } },
      FREE_TABLE,
      FALSE },
    { "desktops",
      "desktop vm vms",
      "desktops",
      { { "$.id", "pool_desktop q# JOIN desktop % ON %.id = q#.desktop_id", "q#.pool_id", NULL } },
      0,
      TRUE },
    /* who may have one: by name, by group, or because he has one */
    { "users",
      "user",
      "users",
      { { "$.id", "pool_grant g# JOIN user % ON %.id = g#.subject_id", "g#.pool_id", NULL },
        { "$.id",
          "pool_grant g# JOIN group_member m# ON m#.group_id = g#.subject_id JOIN user % ON"
          " %.id = m#.user_id",
          "g#.pool_id", NULL },
        { "$.id", "pool_desktop y# JOIN user % ON %.id = y#.user_id", "y#.pool_id", NULL } },
      0,
      TRUE },
    { "groups",
      "group",
      "groups",
      { { "$.id", "pool_grant g# JOIN user_group % ON %.id = g#.subject_id", "g#.pool_id", NULL } },
      FIELD_SHOW,
      TRUE },
    { "sessions", "session", "sessions", { { "$.id", "session %", "%.pool_id", NULL } }, 0, TRUE },
    LINKS_END,
};

const SearchObject search_pools = {
    "pools", "pool", "pool", "pool",      NULL,       "name",
    "name",  FALSE,  NULL,   pool_fields, pool_links, FALSE,
};

static const SearchField session_fields[] = {
    { "id", "name", TYPE_NAME, "$.id", FREE_SHOW, NULL },
    { "state", "status", TYPE_NAME, "$.state", FREE_TABLE, NULL },
    { "active", NULL, TYPE_BOOL, "$.ended_at IS NULL", FIELD_SHOW, NULL },
    { "protocol", NULL, TYPE_NAME, "$.protocol", FREE_TABLE, NULL },
    { "client_address", "client address", TYPE_NAME, "$.client_address", FREE_TABLE, NULL },
    { "reason", NULL, TYPE_TEXT, "$.reason", FREE_SHOW, NULL },
    { "generation", NULL, TYPE_NUMBER, "$.generation", FIELD_SHOW, NULL },
    { "started", "created created_at time", TYPE_TIME, "$.created_at", SHOW_TABLE, NULL },
    { "connected", "connected_at", TYPE_TIME, "$.connected_at", FIELD_SHOW, NULL },
    { "disconnected", "disconnected_at", TYPE_TIME, "$.disconnected_at", FIELD_SHOW, NULL },
    { "ended", "ended_at", TYPE_TIME, "$.ended_at", FIELD_SHOW, NULL },
    { "duration", "age length", TYPE_AGE, "coalesce($.ended_at, @) - $.created_at", FIELD_SHOW,
      NULL },
    FIELDS_END,
};

static const SearchLink session_links[] = {
    { "user", "users", "users", { { "$.user_id", "user %", "%.id", NULL } }, FREE_TABLE, FALSE },
    { "desktop",
      "desktops vm vms",
      "desktops",
      { { "$.desktop_id", "desktop %", "%.id", NULL } },
      FREE_TABLE,
      FALSE },
    { "pool", "pools", "pools", { { "$.pool_id", "pool %", "%.id", NULL } }, FREE_TABLE, FALSE },
    { "host", "hosts", "hosts", { { "$.host_id", "host %", "%.id", NULL } }, FREE_TABLE, FALSE },
    LINKS_END,
};

const SearchObject search_sessions = {
    "sessions", "session", "session", "session",      NULL,          "state",
    "started",  TRUE,      NULL,      session_fields, session_links, FALSE,
};

static const SearchField job_fields[] = {
    { "kind", "name type", TYPE_NAME, "$.kind", FREE_TABLE, NULL },
    { "id", NULL, TYPE_NAME, "$.id", FREE_TABLE, NULL },
    { "state", "status", TYPE_NAME, "$.state", FREE_TABLE, NULL },
    { "tier", NULL, TYPE_NAME, "$.tier", FIELD_SHOW, NULL },
    { "owner", "who", TYPE_TEXT, "$.owner", FREE_TABLE, NULL },
    { "done", NULL, TYPE_NUMBER, "$.done", FIELD_SHOW, NULL },
    { "total", NULL, TYPE_NUMBER, "$.total", FIELD_SHOW, NULL },
    { "message", NULL, TYPE_TEXT, "$.message", FREE_SHOW, NULL },
    { "error_code", NULL, TYPE_NAME, "$.error_code", FREE_SHOW, NULL },
    { "error", "error_message", TYPE_TEXT, "$.error_message", FREE_TABLE, NULL },
    { "created", "created_at time", TYPE_TIME, "$.created_at", SHOW_TABLE, NULL },
    { "started", "started_at", TYPE_TIME, "$.started_at", FIELD_SHOW, NULL },
    { "finished", "finished_at ended", TYPE_TIME, "$.finished_at", FIELD_SHOW, NULL },
    { "duration", "length", TYPE_AGE, "coalesce($.finished_at, @) - $.started_at", FIELD_SHOW,
      NULL },
    { "age", NULL, TYPE_AGE, "@ - $.created_at", 0, NULL },
    FIELDS_END,
};

static const SearchLink job_links[] = {
    { "user", "users", "users", { { "$.owner", "user %", "%.name", NULL } }, 0, FALSE },
    LINKS_END,
};

const SearchObject search_jobs = {
    "jobs", "job", "job", "job", NULL, "kind", "created", TRUE, NULL, job_fields, job_links, FALSE,
};

static const SearchField event_fields[] = {
    { "message", "text", TYPE_TEXT, "$.message", FREE_TABLE | FIELD_FTS, NULL },
    { "id", NULL, TYPE_NUMBER, "$.id", FIELD_SHOW, NULL },
    { "time", "created created_at date", TYPE_TIME, "$.time", SHOW_TABLE, NULL },
    { "kind", "name type", TYPE_NAME, "$.kind", FREE_TABLE | FIELD_FTS, NULL },
    { "severity", "level", TYPE_NAME, "$.severity", SHOW_TABLE, NULL },
    { "object", NULL, TYPE_NAME, "$.object", FREE_TABLE | FIELD_FTS, NULL },
    { "who", "owner", TYPE_TEXT, "$.who", FREE_TABLE | FIELD_FTS, NULL },
    { "address", NULL, TYPE_NAME, "$.address", FIELD_SHOW, NULL },
    { "age", NULL, TYPE_AGE, "@ - $.time", 0, NULL },
    FIELDS_END,
};

static const SearchLink event_links[] = {
    { "desktop",
      "desktops vm vms",
      "desktops",
      { { "$.object", "desktop %", "%.name", NULL } },
      0,
      FALSE },
    { "template",
      "templates",
      "templates",
      { { "$.object", "template %", "%.name", NULL } },
      0,
      FALSE },
    { "host", "hosts", "hosts", { { "$.object", "host %", "%.name", NULL } }, 0, FALSE },
    { "user", "users", "users", { { "$.who", "user %", "%.name", NULL } }, 0, FALSE },
    LINKS_END,
};

const SearchObject search_events = {
    "events", "event", "event",      "event",      NULL,        "message",
    "id",     TRUE,    "event_text", event_fields, event_links, FALSE,
};
