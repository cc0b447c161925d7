/* stand_in.c: see stand_in.h. */
#include "snapshot/stand_in.h"

char *stand_in_name(Db *db, const LayerRow *row)
{
    g_auto(LayerRow) version = { 0 };

    if (!row->parent_id || !lookup_layer(db, row->parent_id, &version, NULL))
        return g_strdup("a stand-in");
    g_autofree char *name = lookup_version_name(db, version.owner_id);
    return g_strdup_printf("%s (stand-in)", name);
}
