# lib.sh: what the lines of the benchmark share: fresh folders, daemons, clocks, rows of the table.
#
# Read by run.sh.  ext4 makes files up to ten times slower for some minutes where many were deleted
# just before (it does not reuse their inodes at once), and one piece of work must not pay for the
# pages that another left dirty.  So nothing is deleted before the end, each piece of work has a
# fresh folder that ext4 puts elsewhere (chattr +T), and flush goes before each clock.
#
# shellcheck disable=SC2034,SC2154


daemon=
imaged= # another program than $build/imaged
kept_pids=()

say()
{
    printf 'bench: %s\n' "$*" >&2
}

# Ends the whole run, also from within $(...).
fail()
{
    say "$*"
    [ -s "$top/imaged.log" ] && tail -n 5 "$top/imaged.log" >&2
    kill -TERM $$
    exit 1
}

# Only what was started here is ended.
cleanup()
{
    local pid
    trap - EXIT INT TERM
    for pid in "${kept_pids[@]}" $daemon; do
        kill -9 "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    [ -z "${KEEP:-}" ] || { say "kept: $top"; return; }
    rm -rf "$top"
}

selected()
{
    local name
    [ "${BENCH_ONLY:-}" ] || return 0
    for name; do
        case ",$BENCH_ONLY," in *",$name,"*) return 0 ;; esac
    done
    return 1
}

# ---- Clocks ----

now_us()
{
    echo "${EPOCHREALTIME/[.,]/}"
}

# timed COMMAND...: its milliseconds.  What it prints goes to $top/said.
timed()
{
    local start end
    start=$(now_us)
    "$@" >"$top/said" 2>&1 || fail "failed: $* ($(tail -n 2 "$top/said"))"
    end=$(now_us)
    calc "($end - $start) / 1000"
}

calc()
{
    awk "BEGIN { printf \"%.6g\n\", $* }"
}

# median NUMBER...
median()
{
    percentile 50 < <(printf '%s\n' "$@")
}

# percentile P: of the numbers on standard input, the nearest rank.
percentile()
{
    sort -g | awk -v p="$1" '{ v[NR] = $1 } END {
        i = int(NR * p / 100); if (i < NR * p / 100) i++; print NR ? v[i < 1 ? 1 : i] : "-" }'
}

flush()
{
    sync -f "$top"
}

# ---- Folders and daemons ----

# fresh NAME: $dir, an empty folder far from all others.
fresh()
{
    dir=$top/$1
    mkdir "$dir"
}

# start_daemon DIR: with DIR/s as its state; sets $state.
start_daemon()
{
    state=$1/s
    # Not to depend on how full the disk is.
    printf '[imaged]\nlow_space_bytes = 16M\nlow_space_percent = 0\ninspect_imports = no\n' >"$1/conf"
    : >"$top/ready"
    "${imaged:-$build/imaged}" --state "$state" --config "$1/conf" >"$top/ready" 2>>"$top/imaged.log" &
    daemon=$!
    until grep -q '^ready' "$top/ready"; do
        kill -0 "$daemon" 2>/dev/null || fail "imaged ended before it was ready"
        sleep 0.005
    done
}

stop_daemon()
{
    kill -TERM "$daemon"
    wait "$daemon" || fail "imaged ended with exit code $?"
    daemon=
}

ctl()
{
    "$build/imagectl" --state "$state" "$@"
}

api()
{
    curl -sS --fail-with-body --unix-socket "$state/imaged.sock" -H 'Content-Type: application/json' \
        "$@"
}

# api_ms ARG...: milliseconds of one request, the process start not among them.
api_ms()
{
    calc "1000 * $(api -o "$top/body" -w '%{time_total}' "$@")" || fail "$(cat "$top/body")"
}

# import_golden SIZE DATA_MIB: a template "golden" with so much data.
import_golden()
{
    truncate -s "$1" "$dir/golden.raw"
    [ "$2" -eq 0 ] || random_bytes "$2" | dd of="$dir/golden.raw" bs=1M conv=notrunc status=none
    ctl template import golden "$dir/golden.raw" --format raw >"$top/said" || fail "cannot import"
}

create_desktops()
{
    ctl desktop create --prefix "$1" --count "$2" --template golden >"$top/said" ||
        fail "cannot create desktops: $(tail -n 2 "$top/said")"
}

# names_of PREFIX: the names of these desktops, as the daemon made them.
names_of()
{
    ctl -o json desktop list --prefix "$1-" | jq -r '.[].name'
}

# Files of all desktops by name, for a daemon that is stopped.
layer_paths()
{
    sqlite3 "$state/catalog.db" "SELECT l.slot FROM desktop d JOIN layer l ON l.id = d.layer_id
        ORDER BY d.name" | sed "s,^,$state/store/layers/,"
}

template_path()
{
    sqlite3 "$state/catalog.db" "SELECT slot FROM layer WHERE parent_id IS NULL LIMIT 1" |
        sed "s,^,$state/store/layers/,"
}

random_bytes()
{
    head -c $(($1 * 1048576)) /dev/zero |
        openssl enc -aes-128-ctr -nosalt -K 2a -iv 0 2>/dev/null
}

# A sound image, in the eyes of QEMU.
check_images()
{
    local image
    for image; do
        qemu-img check -q "$image" || fail "qemu-img check does not like $image"
    done
}

# ---- The table ----

# row UNIT WHAT OURS PEER LIMIT GOALS NOTE: "-" where there is none.  GOALS are words: peer>=N (so
# many times as good as the peer), limit<=N (at most so many times the limit), ours<=N.
row()
{
    local IFS=$'\t'
    printf '%s\n' "$*" >>"$top/rows"
    say "$2: ours $3, peer $4, limit $5 $1"
}

# One line of tab-separated text for each row: what, ours, peer, limit, two ratios, goal, met, note.
judge()
{
    awk -F '\t' '
    function shown(v, unit) {
        if (v == "-") return "-"
        v += 0
        if (unit == "ms" && v >= 1000) return sprintf("%.2f s", v / 1000)
        return sprintf(v < 10 ? "%.2f %s" : v < 100 ? "%.1f %s" : "%.0f %s", v, unit)
    }
    function ratio(a, b) { return a == "-" || b == "-" || b == 0 ? "-" : a / b }
    function times(r) { return r == "-" ? "-" : sprintf(r < 10 ? "%.2fx" : "%.0fx", r) }
    {
        over_peer = ratio($4, $3); over_limit = ratio($3, $5); met = $6 == "-" ? "-" : "yes"
        n = split($6, goals, " ")
        for (i = 1; i <= n && $6 != "-"; i++) {
            split(goals[i], g, /[<>]=/)
            v = g[1] == "peer" ? over_peer : g[1] == "limit" ? over_limit : $3
            if (v == "-") { if (met == "yes") met = "unknown" }
            else if (goals[i] ~ />=/ ? v + 0 < g[2] + 0 : v + 0 > g[2] + 0) met = "NO"
        }
        goal = $6; gsub(/peer>=/, "peer / ", goal); gsub(/limit<=/, "limit x ", goal)
        gsub(/ours<=/, "", goal)
        if ($6 ~ /ours/) goal = "<= " shown(goal, $1)
        gsub(/ limit/, ", limit", goal)
        if (json)
            printf "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", $2, $1, $3, $4, $5, over_peer, \
                over_limit, $6, met, $7
        else
            printf "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", $2, shown($3, $1), shown($4, $1), \
                shown($5, $1), times(over_peer), times(over_limit), goal, met
    }' "json=${1:-0}" "$top/rows"
}

print_table()
{
    {
        printf 'what\tours\tpeer\tlimit\tpeer/ours\tours/limit\tgoal\tmet\n'
        judge
    } | awk -F '\t' '
        { for (i = 1; i <= NF; i++) { c[NR, i] = $i; if (length($i) > w[i]) w[i] = length($i) } }
        END { for (r = 1; r <= NR; r++) {
            line = ""
            for (i = 1; i <= 8; i++)
                line = line sprintf(i == 1 || i > 6 ? "%-" w[i] "s  " : "%" w[i] "s  ", c[r, i])
            sub(/ +$/, "", line); print line } }'
}

print_notes()
{
    awk -F '\t' '$7 != "" { print "  " $2 ": " $7 }' "$top/rows"
}

write_json()
{
    judge 1 | jq -R -s --arg machine "$1" '
        def number: if . == "-" then null else tonumber end;
        { machine: $machine, rows: [ split("\n")[] | select(. != "") | split("\t")
          | { what: .[0], unit: .[1], ours: (.[2] | number), peer: (.[3] | number),
              limit: (.[4] | number), peer_over_ours: (.[5] | number),
              ours_over_limit: (.[6] | number), goal: (if .[7] == "-" then null else .[7] end),
              met: (.[8] | { yes: true, NO: false }[.]), note: .[9] } ] }'
}
