/* ldap_shape.c: see ldap_shape.h. */
#include "broker/access/ldap_shape.h"

#include "broker/access/ldap_text.h"

const char *ldap_shape_user_attribute(const LdapShape *shape)
{
    return shape->user_attribute ? shape->user_attribute : shape->is_ad ? "sAMAccountName" : "uid";
}

const char *ldap_shape_user_filter(const LdapShape *shape)
{
    return shape->user_filter ? shape->user_filter
           : shape->is_ad     ? "(&(objectCategory=person)(objectClass=user))"
                              : "(|(objectClass=inetOrgPerson)(objectClass=posixAccount))";
}

const char *ldap_shape_group_filter(const LdapShape *shape)
{
    return shape->group_filter ? shape->group_filter
           : shape->is_ad      ? "(objectClass=group)"
                               : "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)"
                                 "(objectClass=posixGroup))";
}

const char *ldap_shape_id_attribute(const LdapShape *shape)
{
    return shape->is_ad ? "objectGUID" : "entryUUID";
}

char *ldap_shape_text(const LdapEntry *entry, const char *attribute, gsize max)
{
    GBytes *value = ldap_entry_value(entry, attribute);
    gsize len = 0;
    const guint8 *bytes = value ? g_bytes_get_data(value, &len) : NULL;

    return bytes && len ? ldap_text_utf8(bytes, len, max) : NULL;
}

gint64 ldap_shape_int(const LdapEntry *entry, const char *attribute, gint64 fallback)
{
    GBytes *value = ldap_entry_value(entry, attribute);
    gsize len = 0;
    const guint8 *bytes = value ? g_bytes_get_data(value, &len) : NULL;

    return bytes ? ldap_text_int(bytes, len, fallback) : fallback;
}

char *ldap_shape_id(const LdapShape *shape, const LdapEntry *entry)
{
    GBytes *value = ldap_entry_value(entry, ldap_shape_id_attribute(shape));
    gsize len = 0;
    const guint8 *bytes = value ? g_bytes_get_data(value, &len) : NULL;

    return !bytes ? NULL : shape->is_ad ? ldap_text_guid(bytes, len) : ldap_text_uuid(bytes, len);
}
