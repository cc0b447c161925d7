/* identity_merge.h: the settings of identity_settings.h, changed and put together.
 *
 * Each secret is stored with whose it is: the user that was meant when it was given, the domain,
 * or who joins which domain.  It counts for that one alone.  So no user is given another's
 * password and no domain is sent another's, whichever of both, at the version or at the desktop,
 * is changed, and in which order.  What else belongs to a user or to a domain (auto_login, ou ...)
 * goes with it.  Nothing here reads or writes files or the catalog.  Any thread. */
#pragma once

#include <glib.h>
#include <jansson.h>

/* A row's text (or NULL) as an object.  Caller unrefs. */
json_t *identity_merge_parse(const char *stored);

/* stored (a row's text, or NULL) with change applied to it, as text, *ret: NULL if nothing is left.
 * of_version: of the version below, if stored is a desktop's.  Secrets that are not of who is
 * meant now are dropped.  INVALID if a secret is given that would be nobody's. */
gboolean identity_merge_apply(const char *of_version, const char *stored, const json_t *change,
                              char **ret, GError **error);

/* What counts for a desktop.  Caller unrefs. */
json_t *identity_merge(const char *of_version, const char *of_desktop);

/* What whoever made this change from before to after should be told, texts: what was dropped
 * besides, and that nothing will join.  Never NULL.  Caller unrefs. */
json_t *identity_merge_warnings(const char *of_version, const char *before, const char *after,
                                const json_t *change);
