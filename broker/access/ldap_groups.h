/* ldap_groups.h: who is in which group of a directory, be it through other groups.  Asks over a
 * link; knows nothing of the catalog. */
#pragma once

#include "broker/access/ldap_people.h"

#define LDAP_MAX_GROUPS 10000

/* The ids (char *) of all groups that he is in, be it through others. */
GPtrArray *ldap_groups_of(LdapLink *link, const LdapShape *shape, const LdapPerson *person,
                          GError **error);

/* A group by its name: its id, name (as the directory writes it) and dn; caller frees.  NOT_FOUND.
 */
gboolean ldap_find_group(LdapLink *link, const LdapShape *shape, const char *name, char **ret_id,
                         char **ret_name, GError **error);

/* People (of ldap_list_people(); they have to outlive it), to be found by what groups say of their
 * members, and which of these are groups.  Made once for many groups. */
typedef struct LdapCrowd LdapCrowd;
LdapCrowd *ldap_crowd_new(LdapLink *link, const LdapShape *shape, const GPtrArray *people,
                          GError **error);
void ldap_crowd_free(LdapCrowd *crowd);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LdapCrowd, ldap_crowd_free)

/* The ids of all of the crowd who are in the group with this id, be it through others.  NOT_FOUND:
 * the group is gone.  *ret_name: what it is called there; caller frees. */
GHashTable *ldap_members_of(LdapLink *link, const LdapShape *shape, const char *group_id,
                            const LdapCrowd *crowd, char **ret_name, GError **error);
