/* adopt.h: facts from the layers' own headers, for a store whose journal is lost. */
#pragma once

#include "imaged/job/world.h"

/* Take every layer of the store that the catalog does not know, and whose file name, identity and
 * parent agree, for what its header says: the newest generation of a desktop is its disk, older
 * ones go to the trash.  Files that do not agree are left for the check to report. */
gboolean adopt_layers(World *world, Store *store, GError **error);
