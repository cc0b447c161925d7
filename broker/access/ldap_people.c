/* ldap_people.c: see ldap_people.h. */
#include "broker/access/ldap_people.h"

#include <string.h>

#include "broker/access/ldap_text.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define ACCOUNT_DISABLED 2 /* of userAccountControl */

static const char *const person_attributes[] = { "objectGUID",
                                                 "entryUUID",
                                                 "objectSid",
                                                 "primaryGroupID",
                                                 "uid",
                                                 "sAMAccountName",
                                                 "cn",
                                                 "displayName",
                                                 "mail",
                                                 "userAccountControl",
                                                 "accountExpires",
                                                 "nsAccountLock",
                                                 "pwdAccountLockedTime",
                                                 "loginDisabled",
                                                 "shadowExpire",
                                                 NULL };

void ldap_person_free(LdapPerson *person)
{
    if (!person)
        return;
    g_free(person->dn);
    g_free(person->id);
    g_free(person->name);
    g_free(person->full_name);
    g_free(person->email);
    if (person->sid)
        g_bytes_unref(person->sid);
    g_free(person);
}

static gboolean is_true(const LdapEntry *entry, const char *attribute)
{
    g_autofree char *text = ldap_shape_text(entry, attribute, 8);

    return text && g_ascii_strcasecmp(text, "TRUE") == 0;
}

static gboolean is_disabled(const LdapEntry *entry)
{
    g_autofree char *locked = ldap_shape_text(entry, "pwdAccountLockedTime", 32);
    gint64 expires_day = ldap_shape_int(entry, "shadowExpire", -1);
    gint64 now = units_now_ms();

    return (ldap_shape_int(entry, "userAccountControl", 0) & ACCOUNT_DISABLED) ||
           ldap_text_is_expired(ldap_shape_int(entry, "accountExpires", 0), now) ||
           is_true(entry, "nsAccountLock") || is_true(entry, "loginDisabled") ||
           g_strcmp0(locked, "000001010000Z") == 0 || /* for good */
           (expires_day >= 0 && expires_day <= now / 86400000);
}

static LdapPerson *read_person(const LdapShape *shape, const LdapEntry *entry)
{
    g_autoptr(LdapPerson) p = g_new0(LdapPerson, 1);
    GBytes *sid = ldap_entry_value(entry, "objectSid");
    gint64 rid = ldap_shape_int(entry, "primaryGroupID", 0);

    p->dn = g_strdup(entry->dn);
    p->id = ldap_shape_id(shape, entry);
    p->name = ldap_shape_text(entry, ldap_shape_user_attribute(shape), LDAP_MAX_NAME);
    p->full_name = ldap_shape_text(entry, "displayName", 200);
    if (!p->full_name)
        p->full_name = ldap_shape_text(entry, "cn", 200);
    p->email = ldap_shape_text(entry, "mail", 254);
    p->is_disabled = is_disabled(entry);
    p->primary_rid = rid > 0 && rid <= G_MAXUINT32 ? (guint32)rid : 0;
    p->sid = sid ? g_bytes_ref(sid) : NULL;
    return p->id && p->name && *p->dn ? g_steal_pointer(&p) : NULL;
}

/* ---- Users ---- */

static const char **with_attribute(const char *const *known, const char *more)
{
    guint n = g_strv_length((char **)known);
    const char **all = g_new0(const char *, n + 2);

    memcpy(all, known, n * sizeof *all);
    if (!g_strv_contains(known, more))
        all[n] = more;
    return all;
}

LdapPerson *ldap_find_person(LdapLink *link, const LdapShape *shape, const char *name,
                             GError **error)
{
    g_autofree char *escaped = ldap_text_escape((const guint8 *)name, strlen(name));
    g_autofree char *upn =
        shape->is_ad ? g_strdup_printf("(userPrincipalName=%s)", escaped) : g_strdup("");
    g_autofree char *filter = g_strdup_printf("(&%s(|(%s=%s)%s))", ldap_shape_user_filter(shape),
                                              ldap_shape_user_attribute(shape), escaped, upn);
    g_autofree const char **attributes =
        with_attribute(person_attributes, ldap_shape_user_attribute(shape));
    g_autoptr(GPtrArray) found = ldap_link_search(link, shape->base, filter, attributes, 10, error);

    if (!found)
        return NULL;
    LdapPerson *person = found->len == 1 ? read_person(shape, found->pdata[0]) : NULL;
    if (!person)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED, "%s: %s of that name",
                    ldap_link_server(link), found->len > 1 ? "more than one user" : "no user");
    return person;
}

GPtrArray *ldap_list_people(LdapLink *link, const LdapShape *shape, GError **error)
{
    g_autofree const char **attributes =
        with_attribute(person_attributes, ldap_shape_user_attribute(shape));
    g_autoptr(GPtrArray) found = ldap_link_search(link, shape->base, ldap_shape_user_filter(shape),
                                                  attributes, LDAP_MAX_USERS, error);

    if (!found)
        return NULL;
    GPtrArray *people = g_ptr_array_new_with_free_func((GDestroyNotify)ldap_person_free);
    for (guint i = 0; i < found->len; i++) {
        LdapPerson *person = read_person(shape, found->pdata[i]);
        if (person)
            g_ptr_array_add(people, person);
    }
    return people;
}
