/* ldap_people.h: users in a directory: an Active Directory, or an LDAP server as people set it up.
 * Asks over a link; knows nothing of the catalog. */
#pragma once

#include "broker/access/ldap_shape.h"

#define LDAP_MAX_USERS 200000
#define LDAP_MAX_NAME 252 /* bytes of a log-in name, or a group's */

typedef struct {
    char *dn, *id; /* id: 32 digits of objectGUID or entryUUID */
    char *name, *full_name, *email;
    gboolean is_disabled;
    guint32 primary_rid; /* of an Active Directory: his primary group; 0: none */
    GBytes *sid;         /* likewise; or NULL */
} LdapPerson;
void ldap_person_free(LdapPerson *person);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LdapPerson, ldap_person_free)

/* The user with this log-in name, or NULL: DENIED, there is none, or more than one. */
LdapPerson *ldap_find_person(LdapLink *link, const LdapShape *shape, const char *name,
                             GError **error);

/* All users: array of LdapPerson.  Those without an id or name are left out. */
GPtrArray *ldap_list_people(LdapLink *link, const LdapShape *shape, GError **error);
