# data_disk_lib.sh: for tests of desktops with a data disk.  Read by bash after lib.sh.

data_of() { ctl desktop path "$1" --data; }
# both DESKTOP SYSTEM DATA: QEMU writes a byte into the disk and one into the data disk.
both() { mark "$1" "$2" && qio "$(data_of "$1")" "write -q -P $3 8M 64k" >/dev/null; }
has_data()
{
    local said
    said=$(qio "$(data_of "$1")" "read -P $2 8M 64k" 2>&1)
    [[ $said == "read 65536/65536 bytes"* && $said != *failed* ]]
}
has_both() { has "$1" "$2" && has_data "$1" "$3"; }
# trash_of KIND REASON: the id of the first such entry.
trash_of() { ctlj trash list | jq -r --arg k "$1" --arg r "$2" 'map(select(.kind == $k and .reason == $r)) | .[0].id'; }
