/* schema.h: the catalog's tables, as an append-only list of migrations. */
#pragma once

#include "imaged/catalog/db.h"

/* The version this program knows. */
int schema_version(void);

/* Bring the database up to schema_version().  UNSUPPORTED if it is newer than we are. */
gboolean schema_migrate(Db *db, GError **error);

/* The same up to a given version: for the tests of migrations. */
gboolean schema_migrate_to(Db *db, int version, GError **error);
