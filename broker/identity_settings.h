/* identity_settings.h: what a desktop is told at its first boot: the settings, checked.
 *
 * Kept as one JSON object with a template version and another with a desktop: identity_merge.h
 * puts them together.  A text that is empty says "none", whatever the version says.  Nothing here
 * reads or writes files or the catalog.  Any thread.
 *
 *   hostname            of a desktop alone; else it is made of the desktop's name
 *   domain              the DNS domain: a part of the full name, and what is joined
 *   ou                  where the computer's account is, "OU=Lab,DC=example,DC=org"
 *   join_user           who may join; with the secret join_password
 *   one_time_password   a secret that was put on the computer's account beforehand, instead
 *   account             the computer's account: keep (used again) or renew (deleted and made anew)
 *   user                is made in the guest, if domain_user is not set
 *   user_password       a secret
 *   auto_login          truth: user is logged in by itself
 *   domain_user         truth: user is the domain's */
#pragma once

#include <glib.h>
#include <jansson.h>

/* May the key's value be told, or is it the id of a secret (identity_secrets.h)? */
gboolean identity_settings_is_secret(const char *key);

/* Is this change sound: known keys, each with null (take it away) or a value?  Secrets are the
 * secrets themselves here; is_recipe refuses them, because recipes can be read.  INVALID. */
typedef enum { IDENTITY_OF_DESKTOP, IDENTITY_OF_VERSION, IDENTITY_OF_RECIPE } IdentityLevel;
gboolean identity_settings_check(const json_t *change, IdentityLevel level, GError **error);

/* For people: secrets are true.  NULL if stored is.  Caller unrefs. */
json_t *identity_settings_shown(const char *stored);

/* The host name for a desktop's name (RFC 1123: one label).  Caller frees. */
char *identity_hostname(const char *name);

/* What Windows and Active Directory know a computer by: at most 15 capitals; a longer host name
 * is cut, and told from others by the desktop's id.  Caller frees. */
char *identity_computer_name(const char *hostname, const char *desktop_id);
