/* fuzz_ldap.c: libFuzzer target: what a directory answers, and what people type for it.
 *
 * Identities come back as they went, and nothing that means something in a filter is left of a
 * name. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "broker/access/ldap_text.h"
#include "broker/access/permission.h"
#include "broker/access/users.h"
#include "imaged/base/ident.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_identities(const uint8_t *data, size_t size)
{
    g_autofree char *guid = ldap_text_guid(data, size);
    g_autofree char *uuid = ldap_text_uuid(data, size);
    g_autofree char *sid = ldap_text_sid_sibling(data, size, 513);
    guint32 rid;

    g_assert_true(!guid || id_is_valid(guid));
    g_assert_true(!uuid || id_is_valid(uuid));
    g_assert_true(!!sid == !!ldap_text_sid_rid(data, size, &rid));
    if (!uuid)
        return;
    g_autofree char *filter = ldap_text_uuid_filter(uuid);
    g_autofree char *again = ldap_text_uuid((const guint8 *)filter, strlen(filter));
    g_assert_cmpstr(again, ==, uuid);
}

static void try_text(const char *text)
{
    PermissionSet set = { { 0 } }, again = { { 0 } };
    guint next;

    ldap_text_range(text, "member", &next);
    ldap_text_is_filter(text);
    if (user_check_name("user", text, NULL)) {
        g_autofree char *key = user_name_key(text);
        g_assert_true(*key && !strpbrk(text, " '\"\\/:%()*"));
    }
    if (!permission_parse_set(text, &set, NULL))
        return;
    g_autofree char *printed = permission_set_text(&set);
    g_assert_true(permission_parse_set(printed, &again, NULL));
    g_assert_true(permission_has_all(&set, &again) && permission_has_all(&again, &set));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autofree char *escaped = ldap_text_escape(data, size);
    g_autofree char *utf8 = ldap_text_utf8(data, size, 256);

    g_assert_null(strpbrk(escaped, "()*"));
    g_assert_true(!utf8 || (strlen(utf8) == size && g_utf8_validate(utf8, -1, NULL)));
    ldap_text_int(data, size, 0);
    try_identities(data, size);
    try_text(text);
    return 0;
}
