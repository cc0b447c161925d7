/* ldap_people.h: users and groups in a directory: an Active Directory, or an LDAP server as people
 * set it up.  Asks over a link; knows nothing of the catalog. */
#pragma once

#include "broker/access/ldap_link.h"

#define LDAP_MAX_USERS 200000
#define LDAP_MAX_GROUPS 10000

typedef struct {
    gboolean is_ad;
    const char *base;
    const char *user_filter, *group_filter, *user_attribute; /* NULL: as usual for its kind */
} LdapShape;

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

/* The ids (char *) of all groups that he is in, be it through others. */
GPtrArray *ldap_groups_of(LdapLink *link, const LdapShape *shape, const LdapPerson *person,
                          GError **error);

/* A group by its name: its id, name (as the directory writes it) and dn; caller frees.  NOT_FOUND.
 */
gboolean ldap_find_group(LdapLink *link, const LdapShape *shape, const char *name, char **ret_id,
                         char **ret_name, GError **error);

/* The ids of all users (among people, of ldap_list_people()) who are in the group with this id, be
 * it through others.  NOT_FOUND: the group is gone. */
GHashTable *ldap_members_of(LdapLink *link, const LdapShape *shape, const char *group_id,
                            const GPtrArray *people, char **ret_name, GError **error);
