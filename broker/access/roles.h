/* roles.h: roles and their grants as rows of the catalog.  Any thread. */
#pragma once

#include "broker/access/caller.h"
#include "imaged/catalog/catalog.h"

/* At every start: the built-in roles are as this program knows them. */
gboolean roles_prepare(Catalog *catalog, GError **error);
