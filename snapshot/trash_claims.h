/* trash_claims.h: hold of desktops' layers for the moment in which some of them are given up.
 *
 * For the files of this folder. */
#pragma once

#include "imaged/job/claims.h"

typedef struct {
    Claims *claims;    /* borrowed */
    GHashTable *known; /* desktop id -> keys of its claim, or NULL if it is busy */
} TrashClaims;

#define TRASH_CLAIMS_INIT(claims)                                                                  \
    {                                                                                              \
        (claims), trash_claims_table()                                                             \
    }
GHashTable *trash_claims_table(void);

/* While an archive or a merge works with a desktop's layers, none of them may go; and no merge
 * begins until what goes is committed.  Claim first, then read the rows.  TRUE if it was claimed
 * just now. */
gboolean trash_claims_take(TrashClaims *claims, const char *desktop_id);

/* Is it claimed here? */
gboolean trash_claims_has(const TrashClaims *claims, const char *desktop_id);

void trash_claims_clear(TrashClaims *claims); /* releases them */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(TrashClaims, trash_claims_clear)
