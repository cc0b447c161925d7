/* desktop_tell.c: see desktop_tell.h. */
#include "imaged/ops/desktop_tell.h"

#include "broker/run/guest_agent.h"
#include "imaged/ops/identity.h"

gboolean desktop_tell(World *world, const char *desktop_id, const char *text, GError **error)
{
    g_auto(RunRow) run = { 0 };
    g_auto(DesktopRow) desktop = { 0 };
    g_autofree char *os_type = NULL;
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = run_lookup(db, desktop_id, &run, error) &&
                  lookup_desktop_by_id(db, desktop_id, &desktop, error);

    if (ok)
        os_type = identity_os_type(db, &desktop);
    catalog_read_end(world->catalog, db);
    return ok && guest_agent_tell(world, &run, os_type, text, error);
}
