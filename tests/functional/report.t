#!/bin/bash
# report.t: the savings report against figures reckoned by hand: the reference case scaled down in
# real data, and at full size on images that have tables and no data.
. "$(dirname "$0")/lib.sh"

M=1048576
G=1073741824

start_daemon || exit 1

# ---- real data: a template of 64 MiB, 8 desktops of 6.5 MiB diffs ----

random_file "$top/gold.raw" 64 1
truncate -s 128M "$top/gold.raw"
random_file "$top/diff.raw" 7 2
diff=$((13 * M / 2)) # a whole number of clusters, in one piece
ctl template import over "$top/gold.raw" --format raw >/dev/null
ctl template import beside "$top/gold.raw" --format raw >/dev/null
ctl desktop create --prefix o --count 8 --template over >/dev/null
ctl desktop create --prefix b --count 8 --template beside >/dev/null
for i in $(seq 8); do
    qio "$(path_of o-00$i)" "write -q -s $top/diff.raw $((i * 6 * M)) $diff" >/dev/null
    qio "$(path_of b-00$i)" "write -q -s $top/diff.raw $(((64 + i * 6) * M)) $diff" >/dev/null
done
report=$(ctlj report savings)
row() { jq -c ".rows[] | select(.name == \"$1\")" <<<"$report"; }
same() # NAME ROW N TEMPLATE DIFF FULL
{
    local stored=$(($4 + $3 * $5)) full=$6
    json_ok "$1" "$2" ".n_desktops == $3 and .template_bytes == $4 and .diff_bytes == $3 * $5
        and .stored_bytes == $stored and .full_copy_bytes == $full and .saved_bytes == $full - $stored
        and ((.saved_ratio - ($full - $stored) / $full) | fabs < 1e-9) and .n_missing == 0"
}
same 'diffs that overwrite the template: a full copy is as large as the template' "$(row over:1)" \
    8 $((64 * M)) $diff $((8 * 64 * M))
same 'diffs beside it: a full copy is larger by the diff' "$(row beside:1)" \
    8 $((64 * M)) $diff $((8 * (64 * M + diff)))
for name in o-003 b-005; do
    qemu-img convert -O raw "$(path_of $name)" "$top/flat.raw"
    flat=$(qemu-img map --output=json -f raw "$top/flat.raw" | jq 'map(select(.data)) | map(.length) | add')
    # A raw copy's blocks are 4 KiB, so it may be a few smaller than whole clusters.
    wanted=$(($(row "$([ $name = o-003 ] && echo over:1 || echo beside:1)" | jq .full_copy_bytes) / 8))
    ok "what QEMU makes of $name when it is flattened holds that much" \
        test $((flat - wanted)) -lt 262144 -a $((wanted - flat)) -lt 262144
done
json_ok 'totals are the sum of the rows' "$report" '. as $r | [paths(numbers) | select(.[0] == "totals") | .[1]]
    | map(select(endswith("_ratio") | not)) | length > 8 and all(.[]; . as $k | ($r.rows | map(.[$k]) | add) == $r.totals[$k])'
json_ok 'on disk likewise' "$report" '.totals | .stored_disk_bytes == .template_disk_bytes + .diff_disk_bytes
    and .saved_disk_bytes == .full_copy_disk_bytes - .stored_disk_bytes and .diff_disk_bytes >= .diff_bytes'
is "$(row over:1 | jq .template_disk_bytes)" $(($(stat -c %b "$(template_path over)") * 512)) "the template's blocks are stat's"
sum=0
for i in $(seq 8); do sum=$((sum + $(stat -c %b "$(path_of o-00$i)") * 512)); done
is "$(row over:1 | jq .diff_disk_bytes)" $sum "the diffs' blocks are stat's"

# ---- every byte of the store is in it ----

whole()
{
    report=$(ctlj report savings)
    is "$(jq '.totals.stored_disk_bytes + (.other | map(.disk_bytes) | add)' <<<"$report")" "$(disk_bytes "$store")" \
        "totals and other rows are what du counts: $1"
    is "$(jq .store_disk_bytes <<<"$report")" "$(disk_bytes "$store")" '... and the report says that number'
}
whole 'templates and desktops'
ctl desktop reset o-001 o-002 --yes >/dev/null
ctl desktop delete b-001 --yes >/dev/null
whole 'with trash'
json_ok '... of the size that it has' "$report" ".other[] | select(.name == \"trash\") | .n_files == 3 and .disk_bytes >= 3 * $diff"
cp "$(path_of o-003)" "$store/layers/00000000000000000000000000000001"
ctl store check >/dev/null 2>&1
whole 'with quarantine'
json_ok '... of the size that it has' "$report" ".other[] | select(.name == \"quarantine\") | .n_files == 1 and .disk_bytes >= $diff"
rm "$store"/quarantine/*
ctl catalog backup >/dev/null
whole 'with a backup'
ctl store add second "$top/second" >/dev/null
ctl desktop create far --template over --store second >/dev/null
report=$(ctlj report savings)
is "$(jq .store_disk_bytes <<<"$report")" $(($(disk_bytes "$store") + $(disk_bytes "$top/second"))) 'over two stores'
is "$(jq '.totals.stored_disk_bytes + (.other | map(.disk_bytes) | add)' <<<"$report")" "$(jq .store_disk_bytes <<<"$report")" '... it adds up too'
is "$(row over:1 | jq .template_bytes)" $((2 * 64 * M)) 'a base that is there twice is counted twice'
ctl desktop delete far --yes >/dev/null

# ---- again, and after a change ----

report=$(ctlj report savings)
is "$(ctlj report savings | jq -S 'del(.created_at)')" "$(jq -S 'del(.created_at)' <<<"$report")" 'asked again it says the same'
stop_daemon
start_daemon
is "$(ctlj report savings | jq -S 'del(.created_at, .other, .store_disk_bytes)')" \
    "$(jq -S 'del(.created_at, .other, .store_disk_bytes)' <<<"$report")" 'after a restart too'
before=$(row over:1 | jq .diff_bytes)
qio "$(path_of o-003)" "write -q -P 9 100M 1M" >/dev/null
report=$(ctlj report savings)
is "$(row over:1 | jq .diff_bytes)" $((before + M)) 'a desktop that was written in between is counted anew'
qio "$(path_of o-003)" "write -q -P 8 100M 1M" >/dev/null
report=$(ctlj report savings)
is "$(row over:1 | jq .diff_bytes)" $((before + M)) '... written over once more it holds no more'
qio "$(path_of o-003)" "write -q -z 100M 1M" "discard 100M 1M" >/dev/null
report=$(ctlj report savings)
is "$(row over:1 | jq .diff_bytes)" "$before" '... zeroed it holds less'
full=$(row over:1 | jq .full_copy_bytes)
qio "$(path_of o-003)" "write -q -z 0 1M" >/dev/null
report=$(ctlj report savings)
is "$(row over:1 | jq .full_copy_bytes)" $((full - M)) "zeros over the template's data make a full copy smaller"

# ---- a desktop that runs ----

exec 9> >(exec qemu-io -f qcow2 "$(path_of o-004)" >/dev/null 2>&1)
qemu=$!
keep_pid $qemu
echo 'write -q -P 7 120M 2M' >&9
is_live() { report=$(ctlj report savings) && [ "$(row over:1 | jq .n_live)" = 1 ]; }
ok 'a desktop that QEMU has open is counted as live' wait_for 20 is_live
json_ok '... it is marked' "$(ctlj report savings --largest 8)" \
    '.rows[] | select(.name == "over:1") | .largest | map(select(.live)) | length == 1 and .[0].name == "o-004"'
json_ok '... by its blocks' "$(ctlj report savings --largest 8)" \
    '.rows[] | select(.name == "over:1") | .largest[] | select(.live) | .diff_bytes == .diff_disk_bytes and .diff_disk_bytes > 0'
exec 9>&-
is_dead() { report=$(ctlj report savings) && [ "$(row over:1 | jq .n_live)" = 0 ]; }
ok '... until it has closed it' wait_for 20 is_dead
is "$(ctlj report savings --largest 8 | jq '.rows[] | select(.name == "over:1") | .largest[] | select(.name == "o-004") | .diff_bytes')" \
    $((diff + 2 * M)) '... then to the byte'

# ---- how it is shown ----

json_ok '--largest: the largest first' "$(ctlj report savings --largest 3)" \
    'all(.rows[]; (.largest | length == 3) and (.largest | map(.diff_bytes) | . == (sort | reverse)))'
json_ok '--template' "$(ctlj report savings --template beside)" '(.rows | length == 1) and .rows[0].name == "beside:1" and .totals.n_desktops == 7'
fails_with 3 template '--template that is not there' ctl report savings --template nosuch
table=$(ctl report savings)
like "$table" '^TEMPLATE +DESKTOPS' 'the table has headings'
like "$table" '^total' '... and a total'
like "$table" '^The stores use .*bytes' '... and what the stores use'
unlike "$(ctl report savings --template over)" 'use 0 B' '... which is left out where it is not known'
csv=$(ctl -o csv report savings)
is "$(wc -l <<<"$csv")" 3 'csv: a header and a line for each version'
is "$(/usr/bin/python3 -c 'import csv, sys
rows = list(csv.DictReader(sys.stdin)); print(rows[1]["name"], rows[1]["full_copy_bytes"])' <<<"$csv")" \
    "over:1 $(ctlj report savings | jq '.rows[1].full_copy_bytes')" '... that a program can read'
ctl report savings -o html >"$top/report.html"
ok 'html is one whole page' /usr/bin/python3 - "$top/report.html" <<'PY'
import html.parser, sys
text = open(sys.argv[1], encoding="utf-8").read()
open_tags = []
class Page(html.parser.HTMLParser):
    def handle_starttag(self, tag, attrs):
        for key, value in attrs:
            assert key not in ("src", "href") or value.startswith("#"), (key, value)
        if tag not in ("meta", "br", "link", "img", "hr", "col", "rect", "path", "line"):
            open_tags.append(tag)
    def handle_endtag(self, tag):
        if open_tags and open_tags[-1] == tag: open_tags.pop()
        elif tag not in ("rect", "path", "line"): raise AssertionError(tag)
page = Page()
page.feed(text)
assert not open_tags, open_tags
assert text.lstrip().lower().startswith("<!doctype html")
for wanted in ("over:1", "beside:1"): assert wanted in text, wanted
assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text
PY

# ---- the reference case at full size: tables without data ----

ctl desktop delete --all-of-prefix o- --yes >/dev/null
ctl desktop delete --all-of-prefix b- --yes >/dev/null
make_raw "$top/seed.raw" 12G 0 1 64k
reference() # KIND START: a template of 10 GiB; 100 diffs of 1 GiB, which begin at START
{
    local kind=$1 start=$2 i
    ctl template import "big-$kind" "$top/seed.raw" --format raw >/dev/null || return
    ctl desktop create --prefix "$kind" --count 100 --template "big-$kind" >/dev/null || return
    chmod u+w "$(template_path "big-$kind")"
    "$mkmeta" --into --map-range 0 10G "$(template_path "big-$kind")" || return
    chmod u-w "$(template_path "big-$kind")"
    for i in $(ctlj desktop list --prefix "$kind-" | jq -r '.[].layer'); do
        "$mkmeta" --into --map-range "$start" 1G "$store/layers/$i" || return
    done
}
ok 'make 100 desktops whose diffs overwrite the template' reference in 3G
ok 'make 100 desktops whose diffs lie beside it' reference out 10G
ok 'what was made is sound' eval 'qemu-img check -q "$(path_of in-050)" && qemu-img check -q "$(path_of out-100)" && qemu-img check -q "$(template_path big-in)"'
is "$(qemu-img map --output=json "$(path_of in-007)" | jq 'map(select(.data and .depth == 0).length) | add')" $G 'QEMU too finds 1 GiB in a diff'
is "$(qemu-img map --output=json "$(path_of out-007)" | jq 'map(select(.data).length) | add')" $((11 * G)) '... and 11 GiB in a chain'
report=$(ctlj report savings --template big-in)
same '1 TB as full copies, 110 GB stored, 89 % saved' "$(row big-in:1)" 100 $((10 * G)) $G $((1000 * G))
json_ok '... 89 %' "$(row big-in:1)" ".stored_bytes == 110 * $G and .saved_bytes == 890 * $G and .saved_ratio == 0.89"
report=$(ctlj report savings --template big-out)
same '1.1 TB as full copies, 110 GB stored, 90 % saved' "$(row big-out:1)" 100 $((10 * G)) $G $((1100 * G))
json_ok '... 90 %' "$(row big-out:1)" ".stored_bytes == 110 * $G and .saved_bytes == 990 * $G and .saved_ratio == 0.9"
like "$(ctl report savings --template big-in)" '^big-in:1 +100 +10.0 GiB +100.0 GiB +110.0 GiB +1000.0 GiB +890.0 GiB +89.0 %' 'as people read it'
done_testing
