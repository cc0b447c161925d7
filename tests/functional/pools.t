#!/bin/bash
# pools.t: pools make, keep and clean their desktops by themselves; whose desktops are.  Without hosts:
# what runs is in pool_runs.t.
. "$(dirname "$0")/lib.sh"

# One statement in the catalog, for what other parts do: users, sessions.
sql()
{
    sqlite3 -cmd '.timeout 10000' "$state/catalog.db" "$1"
}

# counts POOL STATE N: as many of its desktops are so.
counts()
{
    [ "$(ctlj pool show "$1" --desktops | jq "map(select(.state == \"$2\")) | length")" = "$3" ]
}

gone()
{
    ! ctl pool show "$1" 2>/dev/null
}

# all_on POOL VERSION: all of its desktops are free and on it.
all_on()
{
    ctlj pool show "$1" --desktops | jq -e "length > 0 and all(.state == \"free\" and .version == $2)"
}

# give DESKTOP USER: as a connect does it.
give()
{
    sql "BEGIN IMMEDIATE;
        INSERT INTO attachment SELECT id, generation, '$2', 0 FROM desktop WHERE name = '$1' AND is_trashed = 0;
        UPDATE pool_desktop SET state = 'given', user_id = '$2', given_at = 1, lease_until = ${3:-NULL}
            WHERE desktop_id = (SELECT id FROM desktop WHERE name = '$1' AND is_trashed = 0); COMMIT"
}

member()
{
    ctlj pool show "$1" --desktops | jq -r ".[] | select(.name == \"$2\") | $3"
}

make_raw "$top/office.raw" 16M 0 0x11 1M
configure
start_daemon || exit 1
ctl template import office "$top/office.raw" --format raw >/dev/null || exit 1
for u in alice bob carol; do
    sql "INSERT INTO user (id, name, name_key, full_name, email, is_disabled, created_at, changed_at)
        VALUES ('u-$u', '$u', '$u', '', '', 0, 0, 0)"
done
sql "INSERT INTO user_group (id, name, name_key, created_at) VALUES ('g-staff', 'staff', 'staff', 0);
    INSERT INTO group_member VALUES ('g-staff', 'u-alice')"

# ---- making ----

ok "a pool is made" ctl pool create lab --template office --size 4 --max-per-user 2
ok "and makes its desktops" wait_for 30 counts lab free 4
is "$(ctlj desktop list --prefix lab- | jq -r 'map(.name) | join(" ")')" "lab-001 lab-002 lab-003 lab-004" "their names"
json_ok "what it says" "$(ctlj pool show lab)" '.type == "automatic" and .template == "office" and .version == null
    and .wanted_version == 1 and .size == 4 and .n_free == 4 and .disconnect_limit_s == 7200 and .reason == null'
fails_with 1 'already' "its name is taken" ctl pool create lab --template office --size 1
fails_with 3 'no template' "no such template" ctl pool create x --template nothing --size 1
fails_with 3 'version' "no such version" ctl pool create x --template office:9 --size 1
fails_with 2 '' "no such type" ctl pool create x --template office --type weekly
like "$(ctl pool list)" '^lab +automatic +office +1 +4 +4 +4' "a table"

# ---- who may ----

ok "granted to a group and a user" ctl pool grant lab --group staff --user bob
is "$(ctlj pool show lab | jq -r '.grants | map(.kind + ":" + .name) | join(" ")')" "group:staff user:bob" "both are told"
like "$(ctl pool show lab)" '^bob +user' "who that is, pool show tells"
fails_with 3 'no user' "an unknown user" ctl pool grant lab --user nobody
ok "revoked" ctl pool revoke lab --user bob
is "$(ctlj pool show lab | jq -r '.grants | map(.name) | join(" ")')" staff "one is left"

fails_with 3 "not granted to 'bob'" "what is not granted is not revoked" ctl pool revoke lab --user bob

# ---- size ----

ok "grown" ctl pool resize lab 6
ok "there are six" wait_for 30 counts lab free 6
give lab-006 u-alice
ok "shrunk" ctl pool resize lab 3
ok "free ones are deleted" wait_for 30 eval '[ "$(ctlj pool show lab | jq .n_desktops)" = 3 ]'
is "$(member lab lab-006 .state)" given "not the one that somebody has"
ok "and nobody deletes it" check_is_clean

# ---- coming back ----

before=$(ctlj desktop show lab-006 | jq .generation)
mark lab-006 0x77
fails_with 3 'no desktop' "one of no pool" ctl pool return lab nothing --yes
ok "returned" ctl pool return lab lab-006 --yes
ok "it is free again" wait_for 30 counts lab free 3
is "$(ctlj desktop show lab-006 | jq .generation)" $((before + 1)) "its disk was replaced"
not_ok "what was on it is gone" has lab-006 0x77
is "$(sql "SELECT count(*) FROM attachment a JOIN desktop d ON d.id = a.desktop_id AND d.generation = a.generation")" 0 \
    "nobody has seen what it holds now"
is "$(member lab lab-006 .user)" null "it is nobody's"

# ---- another version ----

give lab-001 u-alice
ctl desktop create maker --template office >/dev/null
mark maker 0x55
ok "a second version" ctl template create-from maker office --unsealed
ok "free ones follow it" wait_for 30 eval '[ "$(ctlj pool show lab --desktops | jq "map(select(.state == \"free\" and .version == 2)) | length")" = 2 ]'
is "$(member lab lab-001 .version)" 1 "one that somebody has does not"
ok "pinned" ctl pool set lab --template office:1
ok "they go back" wait_for 30 eval '[ "$(ctlj pool show lab --desktops | jq "map(select(.state == \"free\" and .version == 1)) | length")" = 2 ]'
ok "follow again" ctl pool set lab --template office:latest
fails_with 4 'pool' "its template is not deleted" ctl template delete office --yes

# ---- behind its back ----

fails_with '[15]' 'pool' "a desktop of a pool is not deleted" ctl desktop delete lab-001 --yes
ctl pool return lab --all --yes >/dev/null
ok "all are free" wait_for 30 all_on lab 2
ctl desktop reset lab-002 --yes >/dev/null 2>&1
ok "one that was replaced behind its back is cleaned" wait_for 30 eval \
    '[ "$(member lab lab-002 "(.generation == .clean_generation and .state == \"free\")")" = true ]'

# ---- whose they are ----

ctl desktop create own-1 --template office >/dev/null
ok "assigned" ctl desktop assign own-1 alice
json_ok "the list says whose it is" "$(ctlj desktop list)" 'any(.[]; .name == "own-1" and .users == ["alice"] and .pool == null)'
json_ok "... and which are a pool's" "$(ctlj desktop list --prefix lab-)" 'all(.[]; .pool == "lab")'
fails_with 1 'another user' "not to two" ctl desktop assign own-1 bob
fails_with 1 'another user' "nor shared, having an owner" ctl desktop share own-1 bob
ok "taken" ctl desktop unassign own-1
ok "shared" ctl desktop share own-1 alice
ok "with a second, who may take over" ctl desktop share own-1 bob --may-take-over
is "$(ctlj desktop assignments own-1 | jq -r 'map(.user + " " + (.may_take_over | tostring)) | join(",")')" \
    "alice false,bob true" "who has it"
fails_with 2 'pool' "not one of a pool" ctl desktop assign lab-001 alice
fails_with 3 'no user' "nor to nobody" ctl desktop assign own-1 zoe
ok "with a lease" ctl desktop share own-1 carol --until 2099-01-31
is "$(ctlj desktop assignments own-1 | jq -r '.[] | select(.user == "carol") | .until')" "2099-01-31T23:59:59Z" "until the end of that day"
fails_with 2 'is over' "not in the past" ctl desktop share own-1 carol --until 2001-01-31

# ---- leases ----

fails_with 2 'needs a lease' "time-based without times" ctl pool create t --template office --size 1 --type time-based
fails_with 2 'time zone' "no such zone" ctl pool create t --template office --size 1 --type time-based --hours 'daily 00:00-24:00' --zone Mars/Olympus
fails_with 2 'no hours|no days' "no such hours" ctl pool create t --template office --size 1 --type time-based --hours 'mon 9-17'
fails_with 2 'are for time-based pools' "a lease of a pool that has none" ctl pool create t --template office --lease 8h
ok "time-based" ctl pool create exam --template office --size 2 --type time-based --lease 2h --warn 10m --grace 0s \
    --max-extensions 1 --extension 30m
ok "its desktops" wait_for 30 counts exam free 2
now=$(($(date +%s) * 1000))
give exam-001 u-alice $((now + 300000))
ctl pool set exam --warn 11m >/dev/null # wakes it, as the pick would
ok "its user is warned" wait_for 30 eval '[ "$(member exam exam-001 .warned_at)" != null ]'
like "$(ctlj event list | jq -r '.[] | select(.name == "lease.warning") | .message')" 'alice: until .*not delivered' "which is told"
ok "extended" ctl desktop extend exam-001
fails_with 5 'all that its terms allow' "once" ctl desktop extend exam-001
sql "UPDATE pool_desktop SET lease_until = 1000 WHERE user_id = 'u-alice' AND lease_until IS NOT NULL"
ctl pool set exam --warn 5m >/dev/null # wakes it
ok "at its end it comes back" wait_for 30 counts exam free 2
is "$(ctlj desktop show exam-001 | jq .generation)" 2 "with a new disk"
ok "a lease on one's own desktop" ctl desktop assign maker alice --until 2099-01-01
sql "UPDATE assignment SET lease_until = 1000 WHERE desktop_id = (SELECT id FROM desktop WHERE name = 'maker')"
ctl pool set exam --warn 6m >/dev/null
ok "ends too" wait_for 30 eval '[ "$(ctlj desktop assignments maker | jq length)" = 0 ]'

# ---- every way around a clean hand-over ----

mkdir "$top/archive"
ctl archive target add vault "$top/archive" >/dev/null
ok "a pool to be cheated" ctl pool create safe --template office --size 1 --type manual
ok "its desktop" wait_for 30 counts safe free 1
give safe-001 u-alice
mark safe-001 0x66 # what is alice's
ctl snapshot create safe-001 hers >/dev/null
ctl archive create safe-001 --to vault >/dev/null
ok "her own snapshot comes back" ctl snapshot revert safe-001 hers --yes
ok "... and what it replaced" ctl desktop undo-reset safe-001 --yes
ok "she may have it fresh" ctl desktop reset safe-001 --yes
ok "... and undo that" ctl desktop undo-reset safe-001 --yes
ok "with her data" has safe-001 0x66
ctl pool return safe --user alice --yes >/dev/null
ok "she gives it back" wait_for 30 counts safe free 1
for who in nobody u-bob; do
    [ $who = u-bob ] && give safe-001 u-bob
    for cheat in "desktop undo-reset safe-001" "snapshot revert safe-001 hers" "desktop delete safe-001"; do
        not_ok "$who has it: $cheat" ctl $cheat --yes
    done
    not_ok "$who: her disk from the trash" ctl trash restore \
        "$(ctlj trash list | jq -r 'map(select(.desktop == "safe-001" and .kind == "disk")) | .[0].id')"
    point=$(ctlj archive list | jq -r '.[0].id')
    isnt "$point" null "there is her archive"
    fails_with 5 'pool' "$who: her archive, in place" ctl archive restore "$point" --in-place --yes
    [ $who = u-bob ] || fails_with 5 'nobody has it now' "$who: it is not served for writing" ctl export start safe-001 --read-write
    fails_with 5 'pool' "$who: a data disk" ctl desktop data-disk add safe-001 --size 1M
    fails_with 5 'pool' "$who: a roll-out" ctl rollout start safe-001 --template office --to 1 --yes
    not_ok "$who does not find her data" has safe-001 0x66
done
is "$(sql "SELECT count(*) FROM (SELECT 1 FROM attachment a JOIN pool_desktop m ON m.desktop_id = a.desktop_id AND
    a.generation >= m.clean_generation GROUP BY a.desktop_id HAVING count(DISTINCT a.user_id) > 1)")" 0 \
    "no two users have seen one"
ctl pool delete safe --force --yes >/dev/null

# ---- an end ----

give lab-006 u-bob
fails_with 4 'given' "a pool whose desktops are given is not deleted" ctl pool delete lab --yes
ok "by force" ctl pool delete lab --force --yes
ok "it goes" wait_for 30 gone lab
is "$(ctlj desktop list --prefix lab- | jq length)" 0 "with its desktops"

# ---- restarts ----

ok "a big one" ctl pool create big --template office --size 40
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
start_daemon || exit 1
ok "killed in the making: it is made to the end" wait_for 60 counts big free 40
is "$(ctlj desktop list --prefix big- | jq length)" 40 "no more than that"
sql "UPDATE pool_desktop SET state = 'returning' WHERE pool_id = (SELECT id FROM pool WHERE name = 'big')"
ctl pool set big --warn 1m >/dev/null
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
start_daemon || exit 1
ok "killed while they come back: all do" wait_for 60 counts big free 40
is "$(ctlj pool show big --desktops | jq 'map(select(.generation == .clean_generation)) | length')" 40 "clean"
ok "and all is accounted for" check_is_clean
stop_daemon
done_testing
