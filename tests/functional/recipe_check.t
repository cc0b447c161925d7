#!/bin/bash
# recipe_check.t: what is wrong with a recipe is told with its line, all at once; and a check refuses
# what the build refuses, in the same words.  Nothing is built.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$top" || exit 1
start_daemon || exit 1

# ---- Recipes that are wrong ----
cat >wrong.yaml <<'E1'
version: 1
base: {suite: bookworm}
size: 2G
pakages: [vim]
hardware:
  cpu: 2
users:
  - name: Bob
E1
fails_with 2 '3 problems' "a wrong recipe" ctl template build wrong.yaml --name x
said=$(ctl template build wrong.yaml --check 2>&1)
like "$said" "^wrong.yaml:4: unknown key 'pakages': is 'packages' meant" "its line, the nearest key"
like "$said" "^wrong.yaml:6: unknown key 'cpu' in 'hardware': is 'cpus' meant" "below another key"
like "$said" "^wrong.yaml:8: 'Bob' is not a user's name" "a bad value, all in one go"
printf 'version: 1\nbase: [\n' >broken.yaml
fails_with 2 "1 problem" "no YAML" ctl template build broken.yaml --check
fails_with 3 'no-such.yaml' "no file" ctl template build no-such.yaml
head -c 100 /dev/urandom >bytes.yaml
fails_with 2 'UTF-8' "not even text" ctl template build bytes.yaml
printf 'version: 1\nname: x\nbase: {suite: bookworm}\nsize: 2G\nfiles:\n  - {path: /a, source: gone}\n' \
    >source.yaml
printf 'version: 1\nbase: {suite: bookworm}\nsize: 2G\n' >anonymous.yaml
# ---- Recipes that are right ----
for recipe in minimal debian-xfce kiosk; do
    ok "recipe $recipe is sound" ctl template build "$recipe" --check
done

# ---- A check says what the build would ----
# both CODE REGEX NAME ARGS...: a check and a build end alike.
both()
{
    fails_with "$1" "$2" "$3: checked" ctl template build "${@:4}" --check
    fails_with "$1" "$2" "$3" ctl template build "${@:4}"
}
on() { printf 'version: 1\nname: %s\nbase: {%s}\n' "$1" "$2"; }
json_ok "what is wrong, in JSON" "$(ctlj template build wrong.yaml --check 2>/dev/null)" '(.is_sound | not) and (.problems | map(.line) == [4, 6, 8])'
json_ok "what would be made" "$(ctlj template build minimal --check --name lab)" '.name == "lab" and .version == 1 and .state == "published" and .chain_depth == 1 and .size_bytes == 2147483648 and .is_sound'
both 2 'stands on nothing' "a flat one of a suite" minimal --flat
both 2 'a b' "a name that is none" minimal --name 'a b'
both 3 nosuch "a store that is not there" minimal --store nosuch
both 2 '\-\-name' "no name" anonymous.yaml
both 3 gone "a file that it names is not there" source.yaml
both 3 minimal "a recipe that is not ours: the nearest" minmal
on x 'template: nothing' >base.yaml
both 3 nothing "a base that is not there" base.yaml
on x 'image: none.raw, format: raw' >base.yaml
both '[13]' none.raw "an image that is not there" base.yaml
{ cat anonymous.yaml; printf 'name: x\ntimezone: Mars/Base\nkeyboard: zz qq\nidentity: {usr: x}\n'; } >names.yaml
both 2 "3 problems" "a place, a keyboard, a setting that do not exist" names.yaml
truncate -s 64M small.raw
ctl template import small small.raw --format raw --draft >/dev/null 2>&1
on x 'template: small' >base.yaml
json_ok "what stands on a version" "$(ctlj template build base.yaml --check)" '.chain_depth == 2 and .size_bytes == 67108864 and .base == "small"'
json_ok "... flat" "$(ctlj template build base.yaml --check --flat)" '.chain_depth == 1'
on x 'image: small.raw, format: raw' >base.yaml
ok "... on an image" ctl template build base.yaml --check
ctl template delete small --yes >/dev/null
ctl trash empty --yes >/dev/null
is "$(ctl job list -o json | jq '[.[] | select((.kind | startswith("template.build")) and .state != "failed")] | length')" 0 "no check has made a job"


# ---- A machine where nothing can be built: known before anything is fetched ----
chmod 711 "$top"
mkdir "$top/n"
chown nobody "$top/n"
setpriv --reuid nobody --regid nogroup --clear-groups "$BUILD/imaged" --state "$top/n" >nobody.log 2>&1 &
keep_pid $!
ok "imaged runs as somebody without numbers for builds" wait_for 20 grep -q '^ready' nobody.log
as_nobody() { "$BUILD/imagectl" --state "$top/n" "$@"; }
fails_with '[1-5]' "no 65536 numbers" "a build fails" as_nobody template build minimal --quiet
unlike "$(as_nobody job log "$(as_nobody job list -o json | jq -r '.[0].id')")" 'Get:|fetched' "... before anything is fetched"
done_testing
