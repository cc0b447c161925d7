/* ldap_groups.c: see ldap_groups.h.
 *
 * An Active Directory resolves nested groups itself (LDAP_MATCHING_RULE_IN_CHAIN); only the primary
 * group is no member's attribute and is looked for by its SID.  It is asked for groups in groups
 * alone: their members are read, range by range, since a search for people by that rule makes the
 * server try each one that it knows.  Elsewhere we go from group to group, each once; what else is
 * a member is known by then, or is of no interest, so that nothing is asked for each member. */
#include "broker/access/ldap_groups.h"

#include <string.h>

#include "broker/access/ldap_text.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"

#define IN_CHAIN ":1.2.840.113556.1.4.1941:="
#define MAX_MEMBERS 200000
#define MAX_ALL_GROUPS 200000
#define AD_AT_ONCE 1000 /* values; it shows at most 1,500, and some servers of its kind all */

static const char *const group_attributes[] = { "objectGUID", "entryUUID",      "objectSid",
                                                "cn",         "sAMAccountName", NULL };

/* ---- Groups of a user ---- */

/* Add the ids of the groups that the filter finds; those that are new by their names to next. */
static gboolean add_groups(LdapLink *link, const LdapShape *shape, const char *condition,
                           GHashTable *ids, GPtrArray *next, GError **error)
{
    g_autofree char *filter = g_strdup_printf("(&%s%s)", ldap_shape_group_filter(shape), condition);
    g_autoptr(GPtrArray) found =
        ldap_link_search(link, shape->base, filter, group_attributes, LDAP_MAX_GROUPS, error);

    for (guint i = 0; found && i < found->len; i++) {
        const LdapEntry *entry = found->pdata[i];
        char *id = ldap_shape_id(shape, entry);
        if (!id || !g_hash_table_add(ids, id)) /* a cycle ends here */
            continue;
        if (next)
            g_ptr_array_add(next, g_strdup(entry->dn));
    }
    return found != NULL;
}

static gboolean add_ad_groups(LdapLink *link, const LdapShape *shape, const LdapPerson *p,
                              GHashTable *ids, GError **error)
{
    g_autofree char *dn = ldap_text_escape((const guint8 *)p->dn, strlen(p->dn));
    g_autofree char *filter = g_strdup_printf("(member" IN_CHAIN "%s)", dn);
    g_autoptr(GPtrArray) primary = g_ptr_array_new_with_free_func(g_free);
    gsize len = 0;
    const guint8 *sid = p->sid ? g_bytes_get_data(p->sid, &len) : NULL;
    g_autofree char *group =
        sid && p->primary_rid ? ldap_text_sid_sibling(sid, len, p->primary_rid) : NULL;

    if (!add_groups(link, shape, filter, ids, NULL, error))
        return FALSE;
    if (!group)
        return TRUE;
    g_autofree char *by_sid = g_strdup_printf("(objectSid=%s)", group);
    if (!add_groups(link, shape, by_sid, ids, primary, error))
        return FALSE;
    for (guint i = 0; i < primary->len; i++) {
        g_autofree char *name = ldap_text_escape(primary->pdata[i], strlen(primary->pdata[i]));
        g_autofree char *above = g_strdup_printf("(member" IN_CHAIN "%s)", name);
        if (!add_groups(link, shape, above, ids, NULL, error))
            return FALSE;
    }
    return TRUE;
}

GPtrArray *ldap_groups_of(LdapLink *link, const LdapShape *shape, const LdapPerson *p,
                          GError **error)
{
    g_autoptr(GHashTable) ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GPtrArray) next = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter iter;
    gpointer id;

    if (shape->is_ad) {
        if (!add_ad_groups(link, shape, p, ids, error))
            return NULL;
    } else {
        g_autofree char *dn = ldap_text_escape((const guint8 *)p->dn, strlen(p->dn));
        g_autofree char *uid = ldap_text_escape((const guint8 *)p->name, strlen(p->name));
        g_autofree char *filter =
            g_strdup_printf("(|(member=%s)(uniqueMember=%s)(memberUid=%s))", dn, dn, uid);
        if (!add_groups(link, shape, filter, ids, next, error))
            return NULL;
        for (guint i = 0; i < next->len; i++) { /* it grows meanwhile */
            g_autofree char *name = ldap_text_escape(next->pdata[i], strlen(next->pdata[i]));
            g_autofree char *above = g_strdup_printf("(|(member=%s)(uniqueMember=%s))", name, name);
            if (!add_groups(link, shape, above, ids, next, error))
                return NULL;
        }
    }
    GPtrArray *out = g_ptr_array_new_with_free_func(g_free);
    g_hash_table_iter_init(&iter, ids);
    while (g_hash_table_iter_next(&iter, &id, NULL))
        g_ptr_array_add(out, g_strdup(id));
    return out;
}

/* ---- Members of a group ---- */

static GPtrArray *search_group(LdapLink *link, const LdapShape *shape, const char *condition,
                               GError **error)
{
    g_autofree char *filter = g_strdup_printf("(&%s%s)", ldap_shape_group_filter(shape), condition);

    return ldap_link_search(link, shape->base, filter, group_attributes, LDAP_MAX_GROUPS, error);
}

static GPtrArray *search_group_id(LdapLink *link, const LdapShape *shape, const char *id,
                                  GError **error)
{
    g_autofree char *value = shape->is_ad ? ldap_text_guid_filter(id) : ldap_text_uuid_filter(id);
    g_autofree char *condition = g_strdup_printf("(%s=%s)", ldap_shape_id_attribute(shape), value);

    return search_group(link, shape, condition, error);
}

static char *group_name(const LdapShape *shape, const LdapEntry *entry)
{
    return ldap_shape_text(entry, shape->is_ad ? "sAMAccountName" : "cn", LDAP_MAX_NAME);
}

gboolean ldap_find_group(LdapLink *link, const LdapShape *shape, const char *name, char **ret_id,
                         char **ret_name, GError **error)
{
    g_autofree char *escaped = ldap_text_escape((const guint8 *)name, strlen(name));
    g_autofree char *condition =
        shape->is_ad ? g_strdup_printf("(|(sAMAccountName=%s)(cn=%s))", escaped, escaped)
                     : g_strdup_printf("(cn=%s)", escaped);
    g_autoptr(GPtrArray) found = search_group(link, shape, condition, error);

    if (!found)
        return FALSE;
    *ret_id = found->len == 1 ? ldap_shape_id(shape, found->pdata[0]) : NULL;
    *ret_name = *ret_id ? group_name(shape, found->pdata[0]) : NULL;
    if (*ret_name)
        return TRUE;
    g_clear_pointer(ret_id, g_free);
    g_autofree char *shown = text_for_message(name, 80);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "%s: %s '%s'", ldap_link_server(link),
                found->len > 1 ? "there is more than one group" : "there is no group", shown);
    return FALSE;
}

struct LdapCrowd {
    const GPtrArray *people;
    GHashTable *by_dn, *by_name; /* key of a dn, log-in name -> LdapPerson */
    GHashTable *groups;          /* keys of their dns; NULL: an Active Directory resolves them */
};

static GHashTable *list_groups(LdapLink *link, const LdapShape *shape, GError **error)
{
    static const char *const nothing[] = { "1.1", NULL }; /* but its dn: RFC 4511 */
    g_autoptr(GPtrArray) found = ldap_link_search(link, shape->base, ldap_shape_group_filter(shape),
                                                  nothing, MAX_ALL_GROUPS, error);
    GHashTable *keys;

    if (!found)
        return NULL;
    keys = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (guint i = 0; i < found->len; i++)
        g_hash_table_add(keys, ldap_dn_key(((LdapEntry *)found->pdata[i])->dn));
    return keys;
}

LdapCrowd *ldap_crowd_new(LdapLink *link, const LdapShape *shape, const GPtrArray *people,
                          GError **error)
{
    GHashTable *groups = shape->is_ad ? NULL : list_groups(link, shape, error);

    if (!shape->is_ad && !groups)
        return NULL;
    LdapCrowd *crowd = g_new(LdapCrowd, 1);
    *crowd = (LdapCrowd){ people, g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
                          g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL), groups };
    for (guint i = 0; i < people->len; i++) {
        LdapPerson *p = people->pdata[i];
        g_hash_table_insert(crowd->by_dn, ldap_dn_key(p->dn), p);
        g_hash_table_insert(crowd->by_name, g_utf8_casefold(p->name, -1), p);
    }
    return crowd;
}

void ldap_crowd_free(LdapCrowd *crowd)
{
    if (!crowd)
        return;
    g_hash_table_unref(crowd->by_dn);
    g_hash_table_unref(crowd->by_name);
    if (crowd->groups)
        g_hash_table_unref(crowd->groups);
    g_free(crowd);
}

typedef struct {
    const LdapCrowd *crowd;
    GHashTable *seen; /* keys of groups' dns; NULL: groups are of no interest */
    GPtrArray *todo;
    GHashTable *ids;
} Walk;

static void take_values(Walk *w, GPtrArray *values, gboolean are_names)
{
    for (guint i = 0; values && i < values->len; i++) {
        gsize len = 0;
        const guint8 *bytes = g_bytes_get_data(values->pdata[i], &len);
        g_autofree char *text = ldap_text_utf8(bytes, len, 4096);
        g_autofree char *key = !text       ? NULL
                               : are_names ? g_utf8_casefold(text, -1)
                                           : ldap_dn_key(text);
        const LdapPerson *p =
            !key ? NULL : g_hash_table_lookup(are_names ? w->crowd->by_name : w->crowd->by_dn, key);
        if (p)
            g_hash_table_add(w->ids, g_strdup(p->id));
        else if (key && w->seen && !are_names && g_hash_table_contains(w->crowd->groups, key) &&
                 g_hash_table_add(w->seen, g_steal_pointer(&key)))
            g_ptr_array_add(w->todo, g_steal_pointer(&text));
    }
}

/* What is gone has no values. */
static gboolean walk_values(LdapLink *link, Walk *w, const char *dn, const char *attribute,
                            guint at_once, gboolean are_names, GError **error)
{
    g_autoptr(GError) local = NULL;
    g_autoptr(GPtrArray) values =
        ldap_link_values(link, dn, attribute, at_once, MAX_MEMBERS, &local);

    if (!values && !g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND) &&
        !g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_INVALID)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    take_values(w, values, are_names);
    return TRUE;
}

/* Members of an Active Directory's group, and those whose primary group is it or one in it. */
static gboolean add_ad_members(LdapLink *link, const LdapShape *shape, const LdapEntry *group,
                               const LdapCrowd *crowd, GHashTable *ids, GError **error)
{
    g_autofree char *dn = ldap_text_escape((const guint8 *)group->dn, strlen(group->dn));
    g_autofree char *groups = g_strdup_printf("(memberOf" IN_CHAIN "%s)", dn);
    g_autoptr(GPtrArray) inside = search_group(link, shape, groups, error);
    g_autoptr(GHashTable) rids = g_hash_table_new(NULL, NULL);
    Walk w = { .crowd = crowd, .ids = ids };
    guint32 rid;

    if (!inside)
        return FALSE;
    for (guint i = 0; i <= inside->len; i++) {
        const LdapEntry *g = i < inside->len ? inside->pdata[i] : group;
        GBytes *sid = ldap_entry_value(g, "objectSid");
        gsize len = 0;
        const guint8 *bytes = sid ? g_bytes_get_data(sid, &len) : NULL;
        if (bytes && ldap_text_sid_rid(bytes, len, &rid))
            g_hash_table_add(rids, GUINT_TO_POINTER(rid));
        if (!walk_values(link, &w, g->dn, "member", AD_AT_ONCE, FALSE, error))
            return FALSE;
    }
    for (guint i = 0; i < crowd->people->len; i++) {
        const LdapPerson *p = crowd->people->pdata[i];
        if (p->primary_rid && g_hash_table_contains(rids, GUINT_TO_POINTER(p->primary_rid)))
            g_hash_table_add(ids, g_strdup(p->id));
    }
    return TRUE;
}

static gboolean add_members(LdapLink *link, const LdapEntry *group, const LdapCrowd *crowd,
                            GHashTable *ids, GError **error)
{
    static const char *const attributes[] = { "member", "uniqueMember", "memberUid" };
    Walk w = { .crowd = crowd,
               .seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
               .todo = g_ptr_array_new_with_free_func(g_free),
               .ids = ids };
    gboolean ok = TRUE;

    g_hash_table_add(w.seen, ldap_dn_key(group->dn));
    g_ptr_array_add(w.todo, g_strdup(group->dn));
    for (guint i = 0; ok && i < w.todo->len; i++) { /* it grows meanwhile */
        for (guint k = 0; ok && k < G_N_ELEMENTS(attributes); k++)
            ok = walk_values(link, &w, w.todo->pdata[i], attributes[k], 0, k == 2, error);
    }
    g_hash_table_unref(w.seen);
    g_ptr_array_unref(w.todo);
    return ok;
}

GHashTable *ldap_members_of(LdapLink *link, const LdapShape *shape, const char *group_id,
                            const LdapCrowd *crowd, char **ret_name, GError **error)
{
    g_autoptr(GPtrArray) found = search_group_id(link, shape, group_id, error);
    g_autoptr(GHashTable) ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    if (!found)
        return NULL;
    if (found->len != 1) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "%s: the group is gone",
                    ldap_link_server(link));
        return NULL;
    }
    gboolean ok = shape->is_ad ? add_ad_members(link, shape, found->pdata[0], crowd, ids, error)
                               : add_members(link, found->pdata[0], crowd, ids, error);
    if (!ok)
        return NULL;
    *ret_name = group_name(shape, found->pdata[0]);
    return g_steal_pointer(&ids);
}
