/* ldap_shape.h: what a kind of directory calls things: attributes and filters, and an entry's
 * values by them.  Pure; any thread. */
#pragma once

#include "broker/access/ldap_link.h"

typedef struct {
    gboolean is_ad;
    const char *base;
    const char *user_filter, *group_filter, *user_attribute; /* NULL: as usual for its kind */
} LdapShape;

/* The attribute that is a user's log-in name, and what all users and groups fit. */
const char *ldap_shape_user_attribute(const LdapShape *shape);
const char *ldap_shape_user_filter(const LdapShape *shape);
const char *ldap_shape_group_filter(const LdapShape *shape);

/* "objectGUID" or "entryUUID": the identity that outlives a rename. */
const char *ldap_shape_id_attribute(const LdapShape *shape);

/* An entry's identity as 32 hexadecimal digits, or NULL.  Caller frees. */
char *ldap_shape_id(const LdapShape *shape, const LdapEntry *entry);

/* An attribute's first value as a text of at most max bytes, or NULL (caller frees); as a number,
 * or fallback. */
char *ldap_shape_text(const LdapEntry *entry, const char *attribute, gsize max);
gint64 ldap_shape_int(const LdapEntry *entry, const char *attribute, gint64 fallback);
