/* schema.c: migrations are only ever appended.  Each runs in a transaction with the number that it
 * leads to (PRAGMA user_version), so a stop in between leaves an old but whole catalog. */
#include "imaged/catalog/schema.h"

#include "imaged/base/error.h"
#include "imaged/catalog/schema_quota.h"

static const char *const migrations[] = {
    /* 1: templates, desktops, layers, trash, jobs, events */
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"

    "CREATE TABLE store (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,"
    " location TEXT NOT NULL, state TEXT NOT NULL, is_default INTEGER NOT NULL,"
    " seq INTEGER NOT NULL, created_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;"

    "CREATE TABLE template (id TEXT PRIMARY KEY, name TEXT NOT NULL, last_version INTEGER NOT NULL,"
    " is_trashed INTEGER NOT NULL, created_at INTEGER NOT NULL, changed_at INTEGER NOT NULL)"
    " STRICT, WITHOUT ROWID;"
    "CREATE UNIQUE INDEX template_name ON template(name) WHERE is_trashed = 0;"

    "CREATE TABLE layer (id TEXT PRIMARY KEY, slot TEXT NOT NULL, store_id TEXT NOT NULL,"
    " parent_id TEXT, owner_kind TEXT NOT NULL, owner_id TEXT NOT NULL, generation INTEGER NOT "
    "NULL,"
    " state TEXT NOT NULL, place TEXT NOT NULL, virtual_size INTEGER NOT NULL, checksum TEXT,"
    " created_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE UNIQUE INDEX layer_slot ON layer(store_id, slot);"
    "CREATE INDEX layer_parent ON layer(parent_id);"

    "CREATE TABLE version (id TEXT PRIMARY KEY, template_id TEXT NOT NULL REFERENCES template(id),"
    " version INTEGER NOT NULL, state TEXT NOT NULL, is_trashed INTEGER NOT NULL,"
    " layer_id TEXT NOT NULL, cpus INTEGER NOT NULL, memory_bytes INTEGER NOT NULL,"
    " os TEXT NOT NULL, description TEXT NOT NULL, source TEXT NOT NULL, notes TEXT NOT NULL,"
    " created_at INTEGER NOT NULL, changed_at INTEGER NOT NULL, UNIQUE (template_id, version))"
    " STRICT, WITHOUT ROWID;"

    "CREATE TABLE desktop (id TEXT PRIMARY KEY, name TEXT NOT NULL,"
    " version_id TEXT NOT NULL REFERENCES version(id), owner TEXT NOT NULL,"
    " generation INTEGER NOT NULL, layer_id TEXT NOT NULL, store_id TEXT NOT NULL,"
    " mac TEXT NOT NULL, uuid TEXT NOT NULL, state TEXT NOT NULL, is_trashed INTEGER NOT NULL,"
    " created_at INTEGER NOT NULL, changed_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE UNIQUE INDEX desktop_name ON desktop(name) WHERE is_trashed = 0;"
    "CREATE INDEX desktop_version ON desktop(version_id);"
    "CREATE INDEX desktop_layer ON desktop(layer_id);"

    "CREATE TABLE trash (id TEXT PRIMARY KEY, kind TEXT NOT NULL, reason TEXT NOT NULL,"
    " name TEXT NOT NULL, desktop_id TEXT, version_id TEXT NOT NULL, layer_id TEXT NOT NULL,"
    " store_id TEXT NOT NULL, generation INTEGER NOT NULL, disk_bytes INTEGER NOT NULL,"
    " trashed_at INTEGER NOT NULL, expires_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE INDEX trash_desktop ON trash(desktop_id, trashed_at);"
    "CREATE INDEX trash_version ON trash(version_id);"
    "CREATE INDEX trash_time ON trash(trashed_at);"
    "CREATE INDEX trash_expiry ON trash(expires_at);"
    "CREATE INDEX trash_layer ON trash(layer_id);"

    "CREATE TABLE layer_counts (layer_id TEXT PRIMARY KEY, inode INTEGER NOT NULL,"
    " length INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,"
    " disk_bytes INTEGER NOT NULL, data_bytes INTEGER NOT NULL, zero_bytes INTEGER NOT NULL,"
    " flattened_bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID;"

    "CREATE TABLE job (id TEXT PRIMARY KEY, kind TEXT NOT NULL, tier TEXT NOT NULL,"
    " state TEXT NOT NULL, owner TEXT NOT NULL, plan TEXT NOT NULL, step INTEGER NOT NULL,"
    " done INTEGER NOT NULL, total INTEGER NOT NULL, unit TEXT NOT NULL, message TEXT NOT NULL,"
    " error_code TEXT, error_message TEXT, error_hint TEXT, result TEXT, idem_key TEXT,"
    " idem_hash TEXT, epoch INTEGER NOT NULL, created_at INTEGER NOT NULL, started_at INTEGER,"
    " finished_at INTEGER) STRICT;"
    "CREATE UNIQUE INDEX job_idem ON job(idem_key) WHERE idem_key IS NOT NULL;"
    "CREATE INDEX job_state ON job(state) WHERE state IN ('queued', 'running');"
    "CREATE INDEX job_time ON job(created_at);"

    "CREATE TABLE event (id INTEGER PRIMARY KEY, time INTEGER NOT NULL, kind TEXT NOT NULL,"
    " severity TEXT NOT NULL, object TEXT NOT NULL, who TEXT NOT NULL, message TEXT NOT NULL)"
    " STRICT;"
    "CREATE INDEX event_time ON event(time);"

    /* one namespace for what a person can name */
    "CREATE TRIGGER desktop_takes_name BEFORE INSERT ON desktop WHEN NEW.is_trashed = 0 AND EXISTS"
    " (SELECT 1 FROM template WHERE name = NEW.name AND is_trashed = 0)"
    " BEGIN SELECT RAISE(ABORT, 'the name is a template''s'); END;"
    "CREATE TRIGGER template_takes_name BEFORE INSERT ON template WHEN NEW.is_trashed = 0 AND "
    "EXISTS"
    " (SELECT 1 FROM desktop WHERE name = NEW.name AND is_trashed = 0)"
    " BEGIN SELECT RAISE(ABORT, 'the name is a desktop''s'); END;"
    "CREATE TRIGGER desktop_changes_name BEFORE UPDATE OF name, is_trashed ON desktop"
    " WHEN NEW.is_trashed = 0 AND EXISTS"
    " (SELECT 1 FROM template WHERE name = NEW.name AND is_trashed = 0)"
    " BEGIN SELECT RAISE(ABORT, 'the name is a template''s'); END;"
    "CREATE TRIGGER template_changes_name BEFORE UPDATE OF name, is_trashed ON template"
    " WHEN NEW.is_trashed = 0 AND EXISTS"
    " (SELECT 1 FROM desktop WHERE name = NEW.name AND is_trashed = 0)"
    " BEGIN SELECT RAISE(ABORT, 'the name is a desktop''s'); END;",

    /* 2: layers by owner: a version's copies, without reading every layer */
    "CREATE INDEX layer_owner ON layer(owner_id);",

    /* 3: snapshots; merges, whose former layers wait in the trash */
    "CREATE TABLE snapshot (id TEXT PRIMARY KEY, desktop_id TEXT NOT NULL, name TEXT NOT NULL,"
    " description TEXT NOT NULL, layer_id TEXT NOT NULL, store_id TEXT NOT NULL,"
    " version_id TEXT NOT NULL, generation INTEGER NOT NULL, is_trashed INTEGER NOT NULL,"
    " created_at INTEGER NOT NULL, changed_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE UNIQUE INDEX snapshot_name ON snapshot(desktop_id, name) WHERE is_trashed = 0;"
    "CREATE INDEX snapshot_layer ON snapshot(layer_id);"
    "ALTER TABLE trash ADD COLUMN snapshot_id TEXT;" /* kind snapshot */
    "ALTER TABLE trash ADD COLUMN slot TEXT;",       /* kind layer: where it was */

    /* 4: archives.  Targets and schedules are facts; points, what they use and which layer is which
     * object are an index of what the targets hold, made again by looking there. */
    "CREATE TABLE archive_target (id TEXT PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL,"
    " location TEXT NOT NULL, store_id TEXT NOT NULL, created_at INTEGER NOT NULL)"
    " STRICT, WITHOUT ROWID;"
    "CREATE UNIQUE INDEX archive_target_name ON archive_target(name);"
    "CREATE TABLE archive_schedule (id TEXT PRIMARY KEY, name TEXT NOT NULL,"
    " target_id TEXT NOT NULL, what TEXT NOT NULL, timing TEXT NOT NULL,"
    " store_id TEXT NOT NULL, last_run INTEGER NOT NULL, created_at INTEGER NOT NULL)"
    " STRICT, WITHOUT ROWID;"
    "CREATE UNIQUE INDEX archive_schedule_name ON archive_schedule(name);"
    "CREATE TABLE archive_point (id TEXT PRIMARY KEY, target_id TEXT NOT NULL,"
    " kind TEXT NOT NULL, name TEXT NOT NULL, desktop_id TEXT, version_id TEXT NOT NULL,"
    " snapshot TEXT, created_at INTEGER NOT NULL, deleted_at INTEGER, state TEXT NOT NULL,"
    " bytes INTEGER NOT NULL, new_bytes INTEGER NOT NULL, manifest TEXT NOT NULL)"
    " STRICT, WITHOUT ROWID;"
    "CREATE INDEX archive_point_target ON archive_point(target_id, created_at);"
    "CREATE INDEX archive_point_desktop ON archive_point(desktop_id, created_at);"
    "CREATE TABLE archive_use (point_id TEXT NOT NULL, object TEXT NOT NULL,"
    " PRIMARY KEY (point_id, object)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX archive_use_object ON archive_use(object);"
    "CREATE TABLE archive_object (target_id TEXT NOT NULL, layer_id TEXT NOT NULL,"
    " object TEXT NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (target_id, layer_id))"
    " STRICT, WITHOUT ROWID;"
    "CREATE INDEX archive_object_layer ON archive_object(layer_id);"
    "CREATE INDEX archive_object_name ON archive_object(target_id, object);"
    "CREATE TABLE archive_scan (target_id TEXT PRIMARY KEY, scanned_at INTEGER NOT NULL,"
    " collected_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;",

    /* 5: exports and leases */
    "CREATE TABLE export (id TEXT PRIMARY KEY, name TEXT NOT NULL, ref TEXT NOT NULL,"
    " kind TEXT NOT NULL, object_id TEXT NOT NULL, is_read_write INTEGER NOT NULL, address TEXT,"
    " tls TEXT NOT NULL, tls_user TEXT, folder TEXT NOT NULL UNIQUE, uri TEXT NOT NULL,"
    " idle_timeout_s INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT, owner TEXT NOT NULL,"
    " created_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE lease (desktop_id TEXT PRIMARY KEY, generation INTEGER NOT NULL,"
    " holder TEXT NOT NULL, host TEXT NOT NULL, incarnation TEXT NOT NULL,"
    " created_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;",

    /* 6: how versions are built and what desktops are told at their first boot */
    "ALTER TABLE version ADD COLUMN firmware TEXT;"
    "ALTER TABLE version ADD COLUMN video TEXT;"
    "ALTER TABLE version ADD COLUMN sealed_at INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE version ADD COLUMN recipe TEXT;"
    "ALTER TABLE version ADD COLUMN identity TEXT;"
    "ALTER TABLE desktop ADD COLUMN draft_of TEXT;"
    "ALTER TABLE desktop ADD COLUMN identity TEXT;"
    /* what is inside of layers: derived from them, gone with them.  A set of applications that
     * many desktops share is there once. */
    "CREATE TABLE application (id INTEGER PRIMARY KEY, name TEXT NOT NULL, version TEXT NOT NULL,"
    " arch TEXT NOT NULL, UNIQUE (name, version, arch)) STRICT;"
    "CREATE TABLE application_set (id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE,"
    " n_applications INTEGER NOT NULL, is_cut INTEGER NOT NULL) STRICT;"
    "CREATE TABLE application_in (set_id INTEGER NOT NULL, application_id INTEGER NOT NULL,"
    " PRIMARY KEY (set_id, application_id)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX application_in_application ON application_in(application_id);"
    "CREATE TABLE inspection (layer_id TEXT PRIMARY KEY, inode INTEGER NOT NULL,"
    " length INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, disk_bytes INTEGER NOT NULL,"
    " inspected_at INTEGER NOT NULL, method TEXT NOT NULL, same_as TEXT, result TEXT, ranges TEXT,"
    " set_id INTEGER, error_code TEXT, error_message TEXT, error_hint TEXT) STRICT, WITHOUT ROWID;"
    "CREATE INDEX inspection_set ON inspection(set_id);"
    "CREATE TRIGGER layer_forgets_inspection AFTER DELETE ON layer"
    " BEGIN DELETE FROM inspection WHERE layer_id = OLD.id; END;"
    "CREATE TRIGGER set_goes_with_inspection AFTER DELETE ON inspection WHEN OLD.set_id IS NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM inspection WHERE set_id = OLD.set_id)"
    " BEGIN DELETE FROM application_set WHERE id = OLD.set_id; END;"
    "CREATE TRIGGER set_goes_with_change AFTER UPDATE OF set_id ON inspection WHEN OLD.set_id IS "
    "NOT"
    " NULL AND OLD.set_id IS NOT NEW.set_id"
    " AND NOT EXISTS (SELECT 1 FROM inspection WHERE set_id = OLD.set_id)"
    " BEGIN DELETE FROM application_set WHERE id = OLD.set_id; END;"
    "CREATE TRIGGER applications_go_with_set AFTER DELETE ON application_set BEGIN"
    " DELETE FROM application WHERE id IN (SELECT application_id FROM application_in WHERE"
    "  set_id = OLD.id) AND NOT EXISTS (SELECT 1 FROM application_in o WHERE"
    "  o.application_id = application.id AND o.set_id <> OLD.id);"
    " DELETE FROM application_in WHERE set_id = OLD.id; END;"
    /* roll-outs: local; while is_open no other roll-out has the desktop, and the trash keeps
     * trash_id.  former_layer_id and generation are those of the move. */
    "CREATE TABLE rollout (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
    " template_id TEXT NOT NULL, version_id TEXT NOT NULL, state TEXT NOT NULL,"
    " is_backward INTEGER NOT NULL, wants_pause INTEGER NOT NULL, canary INTEGER NOT NULL,"
    " batch INTEGER NOT NULL, max_unavailable INTEGER NOT NULL, health TEXT,"
    " health_limit_ms INTEGER NOT NULL, deadline INTEGER NOT NULL, reason TEXT,"
    " owner TEXT NOT NULL, job_id TEXT NOT NULL, created_at INTEGER NOT NULL,"
    " started_at INTEGER NOT NULL, finished_at INTEGER) STRICT, WITHOUT ROWID;"
    "CREATE TABLE rollout_desktop (rollout_id TEXT NOT NULL, position INTEGER NOT NULL,"
    " desktop_id TEXT NOT NULL, name TEXT NOT NULL, version_id TEXT NOT NULL,"
    " state TEXT NOT NULL, health TEXT, layer_id TEXT NOT NULL, trash_id TEXT NOT NULL,"
    " back_id TEXT, former_layer_id TEXT, generation INTEGER, is_open INTEGER NOT NULL,"
    " reason TEXT, changed_at INTEGER NOT NULL, PRIMARY KEY (rollout_id, position))"
    " STRICT, WITHOUT ROWID;"
    "CREATE UNIQUE INDEX rollout_desktop_open ON rollout_desktop(desktop_id) WHERE is_open = 1;"
    "CREATE INDEX rollout_desktop_trash ON rollout_desktop(trash_id) WHERE is_open = 1;"
    "CREATE INDEX rollout_desktop_state ON rollout_desktop(rollout_id, state, health);"
    /* data disks */
    "ALTER TABLE desktop ADD COLUMN data_layer_id TEXT;"
    "ALTER TABLE desktop ADD COLUMN disk_size INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE snapshot ADD COLUMN data_layer_id TEXT;"
    "ALTER TABLE trash ADD COLUMN data_layer_id TEXT;"
    /* who else would be told this host name: broker/config_disk.c */
    "CREATE INDEX desktop_hostname ON desktop(lower(rtrim(replace(replace(name, '.', '-'), '_',"
    " '-'), '-'))) WHERE is_trashed = 0;"
    "CREATE INDEX desktop_data_layer ON desktop(data_layer_id) WHERE data_layer_id IS NOT NULL;"
    "CREATE INDEX snapshot_data_layer ON snapshot(data_layer_id) WHERE data_layer_id IS NOT NULL;"
    "CREATE INDEX trash_data_layer ON trash(data_layer_id) WHERE data_layer_id IS NOT NULL;",

    /* 7: hosts, and what runs there: local, because hosts can be asked */
    "CREATE TABLE host (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, uri TEXT NOT NULL UNIQUE,"
    " display_address TEXT, proxy TEXT, accelerator TEXT NOT NULL, store_paths TEXT NOT NULL,"
    " is_maintenance INTEGER NOT NULL, created_at INTEGER NOT NULL, fenced_at INTEGER)"
    " STRICT, WITHOUT ROWID;"
    /* what ran on a host when it was declared off: it ends there should the host come back */
    "CREATE TABLE fenced_run (host_id TEXT NOT NULL REFERENCES host(id) ON DELETE CASCADE,"
    " incarnation TEXT NOT NULL, uuid TEXT NOT NULL, name TEXT NOT NULL,"
    " PRIMARY KEY (host_id, incarnation)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE run (desktop_id TEXT PRIMARY KEY, host_id TEXT NOT NULL REFERENCES host(id),"
    " incarnation TEXT NOT NULL, generation INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT,"
    " started_at INTEGER NOT NULL, changed_at INTEGER NOT NULL, target_host_id TEXT REFERENCES"
    " host(id)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX run_host ON run(host_id);"
    "CREATE INDEX run_target_host ON run(target_host_id) WHERE target_host_id IS NOT NULL;"
    /* what a roll-out does with desktops that run (now, idle, next-stop; NULL: they are busy), and
     * as what and where those that it has stopped are started again (to do, done) */
    "ALTER TABLE rollout ADD COLUMN when_running TEXT;"
    "ALTER TABLE rollout_desktop ADD COLUMN start_id TEXT;"
    "ALTER TABLE rollout_desktop ADD COLUMN start_host TEXT;"
    "ALTER TABLE rollout_desktop ADD COLUMN start_state TEXT;",

    /* 8: host groups, networks, a desktop's own hardware */
    "CREATE TABLE host_group (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, cpu_model TEXT,"
    " machine TEXT, store_paths TEXT, created_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "ALTER TABLE host ADD COLUMN group_id TEXT;"
    "ALTER TABLE host ADD COLUMN listen TEXT;"
    "ALTER TABLE host ADD COLUMN tls_subject TEXT;" /* set: clients come by TLS alone */
    "ALTER TABLE host ADD COLUMN tls_ca TEXT;"      /* PEM */
    "ALTER TABLE host ADD COLUMN driver_iso TEXT;"
    "ALTER TABLE host ADD COLUMN found_accelerator TEXT;" /* kvm or tcg, once it was tried */
    "CREATE TABLE network (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,"
    " bridge TEXT, vlan INTEGER, group_id TEXT, created_at INTEGER NOT NULL)"
    " STRICT, WITHOUT ROWID;"
    "ALTER TABLE version ADD COLUMN hardware TEXT;"
    "ALTER TABLE desktop ADD COLUMN hardware TEXT;"
    /* what a desktop that is suspended had in its memory: a file of its store, which holds for
     * one state of its disks alone */
    "CREATE TABLE suspension (desktop_id TEXT PRIMARY KEY, incarnation TEXT NOT NULL,"
    " generation INTEGER NOT NULL, layer_id TEXT NOT NULL, data_layer_id TEXT,"
    " disk_stamp TEXT NOT NULL, store_id TEXT NOT NULL, host_id TEXT NOT NULL,"
    " bytes INTEGER NOT NULL, created_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    /* what the users of a pool or a group may do through their clients */
    "CREATE TABLE channel_policy (subject_id TEXT PRIMARY KEY, policy TEXT NOT NULL)"
    " STRICT, WITHOUT ROWID;",

    /* 9: who may do what.  external_id is the directory's objectGUID or entryUUID. */
    "CREATE TABLE directory (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,"
    " settings TEXT NOT NULL, created_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE user (id TEXT PRIMARY KEY, name TEXT NOT NULL, name_key TEXT NOT NULL UNIQUE,"
    " full_name TEXT NOT NULL, email TEXT NOT NULL, directory_id TEXT, external_id TEXT,"
    " password_hash TEXT, is_disabled INTEGER NOT NULL, created_at INTEGER NOT NULL,"
    " changed_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE UNIQUE INDEX user_external ON user(directory_id, external_id)"
    " WHERE external_id IS NOT NULL;"
    "CREATE TABLE user_group (id TEXT PRIMARY KEY, name TEXT NOT NULL, name_key TEXT NOT NULL"
    " UNIQUE, directory_id TEXT, external_id TEXT, created_at INTEGER NOT NULL)"
    " STRICT, WITHOUT ROWID;"
    "CREATE TABLE group_member (group_id TEXT NOT NULL, user_id TEXT NOT NULL,"
    " PRIMARY KEY (group_id, user_id)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX group_member_user ON group_member(user_id);"
    "CREATE TABLE role (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, permissions TEXT NOT NULL,"
    " is_own INTEGER NOT NULL, is_built_in INTEGER NOT NULL, created_at INTEGER NOT NULL)"
    " STRICT, WITHOUT ROWID;"
    /* subject: user or group; scope: all, template, pool or desktop */
    "CREATE TABLE role_grant (id TEXT PRIMARY KEY, role_id TEXT NOT NULL REFERENCES role(id),"
    " subject_kind TEXT NOT NULL, subject_id TEXT NOT NULL, scope_kind TEXT NOT NULL,"
    " scope_id TEXT, created_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE INDEX role_grant_subject ON role_grant(subject_id);"
    "CREATE TABLE token (id TEXT PRIMARY KEY, name TEXT NOT NULL, user_id TEXT NOT NULL,"
    " hash TEXT NOT NULL UNIQUE, permissions TEXT, scope_kind TEXT NOT NULL, scope_id TEXT,"
    " is_login INTEGER NOT NULL, expires_at INTEGER, used_at INTEGER, created_at INTEGER NOT NULL)"
    " STRICT, WITHOUT ROWID;"
    "CREATE INDEX token_user ON token(user_id);"
    "ALTER TABLE event ADD COLUMN address TEXT;" /* who asked from there; NULL: this machine */
    "CREATE TABLE quota (subject_id TEXT PRIMARY KEY, subject_kind TEXT NOT NULL,"
    " n_desktops INTEGER, n_running INTEGER, disk_bytes INTEGER, n_snapshots INTEGER)"
    " STRICT, WITHOUT ROWID;"
    /* what a job that has not ended is about to make: thing_id is the incarnation of a run, or the
     * snapshot's id; kind: running or snapshots */
    "CREATE TABLE quota_hold (thing_id TEXT PRIMARY KEY, kind TEXT NOT NULL,"
    " desktop_id TEXT NOT NULL, job_id TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE INDEX quota_hold_desktop ON quota_hold(desktop_id, kind);"
    "CREATE INDEX quota_hold_job ON quota_hold(job_id);"
    "CREATE TRIGGER quota_hold_ends AFTER UPDATE OF state ON job WHEN NEW.state NOT IN ('queued',"
    " 'running') BEGIN DELETE FROM quota_hold WHERE job_id = NEW.id; END;",

    /* 10: pools and who has which desktop.  attachment: which users a desktop's generation has
     * seen; a pooled one is given to nobody else. */
    "CREATE TABLE assignment (desktop_id TEXT NOT NULL, user_id TEXT NOT NULL,"
    " is_owner INTEGER NOT NULL, may_take_over INTEGER NOT NULL, lease TEXT,"
    " lease_until INTEGER, warned_at INTEGER, n_extensions INTEGER NOT NULL DEFAULT 0,"
    " created_at INTEGER NOT NULL, PRIMARY KEY (desktop_id, user_id))"
    " STRICT, WITHOUT ROWID;"
    "CREATE INDEX assignment_user ON assignment(user_id);"
    "CREATE TABLE pool (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, type TEXT NOT NULL,"
    " template_id TEXT NOT NULL, version_id TEXT, size INTEGER NOT NULL, spares INTEGER NOT NULL,"
    " max_per_user INTEGER NOT NULL, disconnect_limit_s INTEGER, settings TEXT NOT NULL,"
    " created_at INTEGER NOT NULL, changed_at INTEGER NOT NULL,"
    " is_deleting INTEGER NOT NULL DEFAULT 0, reason TEXT) STRICT, WITHOUT ROWID;"
    "CREATE TABLE pool_grant (pool_id TEXT NOT NULL, subject_kind TEXT NOT NULL,"
    " subject_id TEXT NOT NULL, created_at INTEGER NOT NULL, PRIMARY KEY (pool_id, subject_id))"
    " STRICT, WITHOUT ROWID;"
    "CREATE INDEX pool_grant_subject ON pool_grant(subject_id);"
    /* state: making, free, given, archiving, returning, leaving, broken */
    /* clean_generation: the one in which the pool last laid it fresh on its template; nothing that
     * is in it is older.  job_id: of what is done to it while it is made or comes back */
    "CREATE TABLE pool_desktop (desktop_id TEXT PRIMARY KEY, pool_id TEXT NOT NULL,"
    " state TEXT NOT NULL, user_id TEXT, clean_generation INTEGER NOT NULL, job_id TEXT,"
    " given_at INTEGER, lease_until INTEGER, warned_at INTEGER,"
    " n_extensions INTEGER NOT NULL, reason TEXT, changed_at INTEGER NOT NULL,"
    " n_failures INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;"
    "CREATE INDEX pool_desktop_lease ON pool_desktop(lease_until) WHERE lease_until IS NOT NULL;"
    "CREATE INDEX assignment_lease ON assignment(lease_until) WHERE lease_until IS NOT NULL;"
    "CREATE INDEX pool_desktop_pool ON pool_desktop(pool_id, state);"
    "CREATE INDEX pool_desktop_user ON pool_desktop(user_id, pool_id, state) WHERE user_id IS NOT"
    " NULL;"
    "CREATE TABLE attachment (desktop_id TEXT NOT NULL, generation INTEGER NOT NULL,"
    " user_id TEXT NOT NULL, created_at INTEGER NOT NULL,"
    " PRIMARY KEY (desktop_id, generation, user_id)) STRICT, WITHOUT ROWID;"
    /* What is still to be done because a lease is over.  generation: as it was then */
    "CREATE TABLE lease_end (desktop_id TEXT PRIMARY KEY, user_id TEXT NOT NULL,"
    " action TEXT NOT NULL, target TEXT, generation INTEGER NOT NULL,"
    " created_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;",

    /* 11: sessions.  state: opening, connected, disconnected, ending, ended.  user_id '': root. */
    "CREATE TABLE session (id TEXT PRIMARY KEY, user_id TEXT NOT NULL, desktop_id TEXT NOT NULL,"
    " pool_id TEXT, host_id TEXT, generation INTEGER NOT NULL, incarnation TEXT,"
    " protocol TEXT NOT NULL, client_address TEXT, state TEXT NOT NULL, reason TEXT,"
    " created_at INTEGER NOT NULL, connected_at INTEGER, disconnected_at INTEGER,"
    " logged_in_at INTEGER, ended_at INTEGER) STRICT, WITHOUT ROWID;"
    "CREATE UNIQUE INDEX session_desktop ON session(desktop_id) WHERE ended_at IS NULL;"
    "CREATE INDEX session_user ON session(user_id, created_at);"
    "CREATE INDEX session_old ON session(ended_at) WHERE ended_at IS NOT NULL;",

    /* 12: saved searches, and what makes searching fast */
    "CREATE TABLE saved_search (id TEXT PRIMARY KEY, name TEXT NOT NULL, user_id TEXT,"
    " text TEXT NOT NULL, created_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE UNIQUE INDEX saved_search_name ON saved_search(coalesce(user_id, ''),"
    " name COLLATE NOCASE);"
    /* is_trashed is in them, not in a WHERE: so that they alone answer */
    "CREATE INDEX desktop_search ON desktop(name COLLATE NOCASE, is_trashed, owner,"
    " version_id);"
    "CREATE INDEX desktop_hardware ON desktop(id) WHERE hardware IS NOT NULL;"
    "CREATE INDEX desktop_of_version ON desktop(version_id, is_trashed);"
    "CREATE INDEX desktop_owner ON desktop(owner COLLATE NOCASE);"
    "CREATE INDEX user_owner ON user(name_key COLLATE NOCASE);"
    "CREATE INDEX template_search ON template(name COLLATE NOCASE, is_trashed);"
    "CREATE INDEX host_search ON host(name COLLATE NOCASE);"
    "CREATE INDEX session_time ON session(created_at);"
    "CREATE INDEX session_of_desktop ON session(desktop_id);"
    /* of the many that there were, those that there are */
    "CREATE INDEX session_live ON session(host_id, desktop_id, user_id) WHERE ended_at IS NULL;"
    "CREATE INDEX snapshot_desktop ON snapshot(desktop_id);"
    "CREATE INDEX archive_point_version ON archive_point(version_id);"
    "CREATE INDEX event_object ON event(object);"
    /* Which texts have which three letters in them: what is searched for is looked up here, then
     * compared.  Only the letters are kept (detail none); the texts stay where they are. */
    "CREATE VIRTUAL TABLE application_text USING fts5(name, content='application',"
    " content_rowid='id', tokenize='trigram', detail=none);"
    "CREATE TRIGGER application_text_new AFTER INSERT ON application BEGIN"
    " INSERT INTO application_text(rowid, name) VALUES (NEW.id, NEW.name); END;"
    "CREATE TRIGGER application_text_gone AFTER DELETE ON application BEGIN"
    " INSERT INTO application_text(application_text, rowid, name)"
    " VALUES ('delete', OLD.id, OLD.name); END;"
    "INSERT INTO application_text(application_text) VALUES ('rebuild');"
    "CREATE VIRTUAL TABLE event_text USING fts5(kind, object, who, message, content='event',"
    " content_rowid='id', tokenize='trigram', detail=none);"
    "CREATE TRIGGER event_text_new AFTER INSERT ON event BEGIN"
    " INSERT INTO event_text(rowid, kind, object, who, message)"
    " VALUES (NEW.id, NEW.kind, NEW.object, NEW.who, NEW.message); END;"
    "CREATE TRIGGER event_text_gone AFTER DELETE ON event BEGIN"
    " INSERT INTO event_text(event_text, rowid, kind, object, who, message)"
    " VALUES ('delete', OLD.id, OLD.kind, OLD.object, OLD.who, OLD.message); END;"
    "INSERT INTO event_text(event_text) VALUES ('rebuild');",

    /* 13: who is told of events, and up to which one.  kind: webhook or mail; kinds: of events */
    "CREATE TABLE alert (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,"
    " target TEXT NOT NULL, severity TEXT NOT NULL, kinds TEXT, has_secret INTEGER NOT NULL,"
    " is_on INTEGER NOT NULL, last_event INTEGER NOT NULL, created_at INTEGER NOT NULL)"
    " STRICT, WITHOUT ROWID;",

    /* 14: which machine a host is; same_as: the host that was found to be this one, by its id */
    "ALTER TABLE host ADD COLUMN machine_uuid TEXT;"
    "ALTER TABLE host ADD COLUMN same_as TEXT;"
    "CREATE UNIQUE INDEX host_machine ON host(machine_uuid);"
    "ALTER TABLE run ADD COLUMN hardware TEXT;" /* as it was started with; JSON */
    "ALTER TABLE suspension ADD COLUMN hardware TEXT;",

    /* 15: the few events of a kind among the many (broker/alert/event_filter.h) */
    "CREATE INDEX event_kind ON event(kind, severity);",

    /* 16: what counts for quotas, reckoned up where it changes */
    schema_quota_use,
};

int schema_version(void)
{
    return G_N_ELEMENTS(migrations);
}

static gboolean current_version(Db *db, int *ret_version, GError **error)
{
    Query *q = db_query(db, "PRAGMA user_version", "");

    *ret_version = query_next(q) ? (int)query_int(q, "user_version") : 0;
    return query_end(q, error);
}

gboolean schema_migrate_to(Db *db, int version, GError **error)
{
    int now;

    if (!current_version(db, &now, error))
        return FALSE;
    if (now > schema_version()) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "the catalog was made by a newer version of imaged (schema %d, this one knows "
                    "%d)", now, schema_version());
        imaged_error_hint(error, "install that version again; nothing was changed");
        return FALSE;
    }
    for (; now < version; now++) {
        /* user_version takes no bound value; now is ours. */
        g_autofree char *script = g_strdup_printf("BEGIN IMMEDIATE; %s PRAGMA user_version = %d; "
                                                  "COMMIT;", migrations[now], now + 1);
        if (!db_script(db, script, error)) {
            db_script(db, "ROLLBACK", NULL);
            return FALSE;
        }
    }
    return TRUE;
}

gboolean schema_migrate(Db *db, GError **error)
{
    return schema_migrate_to(db, schema_version(), error);
}
