/* ldap_link.h: one connection to a directory's server, with TLS, bounds and time limits.
 *
 * One thread at a time uses a link.  Nothing here knows users or the catalog. */
#pragma once

#include <glib.h>

typedef struct LdapLink LdapLink;

typedef struct {
    char **servers; /* ldaps://HOST[:PORT], or ldap://HOST[:PORT] with StartTLS always */
    char *ca_pem;   /* who vouches for them, or NULL: the system's authorities */
    char *bind_dn, *bind_password; /* of a service account, or NULL: nobody */
} LdapServers;

/* Connect to the first server that answers and can prove who it is, as the service account.
 * UNAVAILABLE says why the last one failed; DENIED: the account is refused. */
LdapLink *ldap_link_open(const LdapServers *servers, GError **error);
void ldap_link_close(LdapLink *link);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LdapLink, ldap_link_close)

const char *ldap_link_server(const LdapLink *link);

/* Become this account.  DENIED: it is not so, or the password is empty; UNAVAILABLE.
 * *ret_refusal (may be NULL): if the password was right, but the server does not let him in, why:
 * static; otherwise left as it is. */
gboolean ldap_link_bind(LdapLink *link, const char *dn, const char *password,
                        const char **ret_refusal, GError **error);

/* An entry that was found: attributes in lower case -> GPtrArray of GBytes. */
typedef struct {
    char *dn;
    GHashTable *values;
} LdapEntry;
void ldap_entry_free(LdapEntry *entry);

/* The name of an entry as a key: however it is written (blanks, escapes, case), the same.  Caller
 * frees. */
char *ldap_dn_key(const char *dn);

/* Its first value of the attribute, or NULL; its n values. */
GBytes *ldap_entry_value(const LdapEntry *entry, const char *attribute);
GPtrArray *ldap_entry_values(const LdapEntry *entry, const char *attribute); /* or NULL */

/* Search below base, page by page, at most max entries (more are UNSUPPORTED).  Returns an array of
 * LdapEntry (freed with it). */
GPtrArray *ldap_link_search(LdapLink *link, const char *base, const char *filter,
                            const char *const *attributes, guint max, GError **error);

/* All values of one attribute of an entry, at most max.  Array of GBytes.  at_once: how many to ask
 * for at a time, of a server that knows ranges (an Active Directory); 0: as it likes. */
GPtrArray *ldap_link_values(LdapLink *link, const char *dn, const char *attribute, guint at_once,
                            guint max, GError **error);
