/* identity.h: what is known of the system in a desktop. */
#pragma once

#include "imaged/catalog/lookup.h"

/* What was found in the desktop's disk ("linux", "windows"), or else in its template's; NULL if
 * nobody looked.  Caller frees. */
char *identity_os_type(Db *db, const DesktopRow *desktop);
