/* schema_quota.c: see schema_quota.h.  A migration is never edited afterwards. */
#include "imaged/catalog/schema_quota.h"

/* ---- Pieces of triggers ---- */

#define QUOTA_SUBJECTS(row)                                                                        \
    " WHERE subject_id IN (SELECT " row ".user_id UNION ALL SELECT group_id FROM group_member"     \
    " WHERE user_id = " row ".user_id); END;"

#define QUOTA_MEMBER(sign, row)                                                                    \
    " BEGIN UPDATE quota SET (used_desktops, used_running, used_snapshots) = (SELECT"              \
    " used_desktops " sign " count(*), used_running " sign " coalesce(sum(n_running), 0),"         \
    " used_snapshots " sign " coalesce(sum(n_snapshots), 0) FROM held WHERE user_id = " row        \
    ".user_id) WHERE subject_id = " row ".group_id; END;"

#define HELD_AGAIN(name, when, id)                                                                 \
    "CREATE TRIGGER held_" name " AFTER " when " BEGIN DELETE FROM held WHERE desktop_id = " id    \
    "; INSERT INTO held SELECT * FROM held_now WHERE desktop_id = " id "; END;"

#define IF_HELD(row) " WHEN EXISTS (SELECT 1 FROM held WHERE desktop_id = " row ".desktop_id)"

/* clang-format off */
const char schema_quota_use[] =
    "CREATE VIEW desktop_use AS SELECT d.id AS desktop_id, EXISTS (SELECT 1 FROM run r WHERE"
    " r.desktop_id = d.id) OR EXISTS (SELECT 1 FROM quota_hold h WHERE h.desktop_id = d.id AND"
    " h.kind = 'running') AS n_running, (SELECT count(*) FROM (SELECT s.id FROM snapshot s WHERE"
    " s.desktop_id = d.id AND s.is_trashed = 0 UNION SELECT h.thing_id FROM quota_hold h WHERE"
    " h.desktop_id = d.id AND h.kind = 'snapshots')) AS n_snapshots FROM desktop d;"
    "CREATE VIEW held_now AS SELECT * FROM (SELECT d.id AS desktop_id, coalesce((SELECT"
    " min(a.user_id) FROM assignment a WHERE a.desktop_id = d.id AND a.is_owner = 1 AND"
    " d.is_trashed = 0), (SELECT p.user_id FROM pool_desktop p WHERE p.desktop_id = d.id)) AS"
    " user_id, n_running, n_snapshots FROM desktop d JOIN desktop_use u ON u.desktop_id = d.id)"
    " WHERE user_id IS NOT NULL;"
    "CREATE TABLE held (desktop_id TEXT PRIMARY KEY, user_id TEXT NOT NULL,"
    " n_running INTEGER NOT NULL, n_snapshots INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE INDEX held_user ON held(user_id, n_running, n_snapshots);"
    "ALTER TABLE quota ADD COLUMN used_desktops INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE quota ADD COLUMN used_running INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE quota ADD COLUMN used_snapshots INTEGER NOT NULL DEFAULT 0;"
    "CREATE TRIGGER held_more AFTER INSERT ON held BEGIN UPDATE quota SET used_desktops ="
    " used_desktops + 1, used_running = used_running + NEW.n_running, used_snapshots ="
    " used_snapshots + NEW.n_snapshots" QUOTA_SUBJECTS("NEW")
    "CREATE TRIGGER held_less AFTER DELETE ON held BEGIN UPDATE quota SET used_desktops ="
    " used_desktops - 1, used_running = used_running - OLD.n_running, used_snapshots ="
    " used_snapshots - OLD.n_snapshots" QUOTA_SUBJECTS("OLD")
    "CREATE TRIGGER quota_joined AFTER INSERT ON group_member" QUOTA_MEMBER("+", "NEW")
    "CREATE TRIGGER quota_left AFTER DELETE ON group_member" QUOTA_MEMBER("-", "OLD")
    "CREATE TRIGGER quota_new AFTER INSERT ON quota BEGIN UPDATE quota SET (used_desktops,"
    " used_running, used_snapshots) = (SELECT count(*), coalesce(sum(n_running), 0),"
    " coalesce(sum(n_snapshots), 0) FROM held WHERE user_id IN (SELECT NEW.subject_id UNION ALL"
    " SELECT user_id FROM group_member WHERE group_id = NEW.subject_id)) WHERE subject_id ="
    " NEW.subject_id; END;"
    HELD_AGAIN("assigned", "INSERT ON assignment WHEN NEW.is_owner = 1", "NEW.desktop_id")
    HELD_AGAIN("shared", "UPDATE OF is_owner ON assignment WHEN NEW.is_owner <> OLD.is_owner",
               "NEW.desktop_id")
    HELD_AGAIN("unassigned", "DELETE ON assignment WHEN OLD.is_owner = 1", "OLD.desktop_id")
    HELD_AGAIN("pooled", "INSERT ON pool_desktop WHEN NEW.user_id IS NOT NULL", "NEW.desktop_id")
    HELD_AGAIN("given", "UPDATE OF user_id ON pool_desktop WHEN NEW.user_id IS NOT OLD.user_id",
               "NEW.desktop_id")
    HELD_AGAIN("taken", "DELETE ON pool_desktop WHEN OLD.user_id IS NOT NULL", "OLD.desktop_id")
    HELD_AGAIN("known",
               "INSERT ON desktop WHEN EXISTS (SELECT 1 FROM assignment WHERE desktop_id = NEW.id)"
               " OR EXISTS (SELECT 1 FROM pool_desktop WHERE desktop_id = NEW.id AND user_id IS NOT"
               " NULL)",
               "NEW.id")
    HELD_AGAIN("trashed", "UPDATE OF is_trashed ON desktop WHEN NEW.is_trashed <> OLD.is_trashed",
               "NEW.id")
    HELD_AGAIN("gone", "DELETE ON desktop", "OLD.id")
    HELD_AGAIN("run", "INSERT ON run" IF_HELD("NEW"), "NEW.desktop_id")
    HELD_AGAIN("run_over", "DELETE ON run" IF_HELD("OLD"), "OLD.desktop_id")
    HELD_AGAIN("hold", "INSERT ON quota_hold" IF_HELD("NEW"), "NEW.desktop_id")
    HELD_AGAIN("hold_over", "DELETE ON quota_hold" IF_HELD("OLD"), "OLD.desktop_id")
    HELD_AGAIN("snapshot", "INSERT ON snapshot" IF_HELD("NEW"), "NEW.desktop_id")
    HELD_AGAIN("snapshot_trashed",
               "UPDATE OF is_trashed ON snapshot WHEN NEW.is_trashed <> OLD.is_trashed",
               "NEW.desktop_id")
    HELD_AGAIN("snapshot_gone", "DELETE ON snapshot" IF_HELD("OLD"), "OLD.desktop_id")
    "INSERT INTO held SELECT * FROM held_now;";
