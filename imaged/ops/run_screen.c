/* run_screen.c: what is on a desktop's display. */
#include "broker/run/picture.h"
#include "broker/run/runs.h"
#include "imaged/base/error.h"
#include "imaged/ops/args.h"

#define CALL_LIMIT_MS 30000

typedef struct {
    char *uuid, *incarnation, *type;
    GByteArray *picture;
} Shot;

static void shot_clear(gpointer data)
{
    Shot *shot = data;

    g_free(shot->uuid);
    g_free(shot->incarnation);
    g_free(shot->type);
    g_clear_pointer(&shot->picture, g_byte_array_unref);
}

static gboolean shoot(const HostDriver *driver, gpointer link, gpointer data, GError **error)
{
    Shot *shot = data;
    HostDomain *d = driver->find(link, shot->uuid, error);
    gboolean is_ours = d && g_strcmp0(d->incarnation, shot->incarnation) == 0;

    if (d && !is_ours)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                    "its host runs another incarnation of it, which is left alone");
    host_domain_free(d);
    if (is_ours)
        shot->picture = driver->screenshot(link, shot->uuid, &shot->type, error);
    return shot->picture != NULL;
}

static json_t *picture_object(const RunRow *run, const Shot *shot, GError **error)
{
    guint width, height;
    g_autoptr(GByteArray) png =
        picture_png(shot->picture->data, shot->picture->len, &width, &height, error);

    if (!png)
        return NULL;
    g_autofree char *text = g_base64_encode(png->data, png->len);
    return json_pack("{s:s,s:s,s:s,s:i,s:i,s:s}", "id", run->desktop_id, "name", run->name, "type",
                     "image/png", "width", (int)width, "height", (int)height, "data", text);
}

json_t *ops_desktop_screenshot(OpsCall *call, GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(RunRow) run = { 0 };
    const char *name = args_text(call, "desktop", TRUE, error);
    json_t *out = NULL;

    if (!name || !args_check(call, "desktop", error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok =
        lookup_desktop(db, name, &desktop, error) && run_lookup_on(db, desktop.id, &run, error);
    catalog_read_end(call->world->catalog, db);
    if (!ok) {
        if (desktop.id)
            g_prefix_error(error, "'%s': ", desktop.name);
        return NULL;
    }
    Shot *shot = g_atomic_rc_box_new0(Shot);
    shot->uuid = g_strdup(run.uuid);
    shot->incarnation = g_strdup(run.incarnation);
    if (hosts_call_apart(call->world->hosts, run.host_id, shoot, shot, shot_clear, CALL_LIMIT_MS,
                         error))
        out = picture_object(&run, shot, error);
    g_atomic_rc_box_release_full(shot, shot_clear);
    return out;
}
