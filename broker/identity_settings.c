/* identity_settings.c: see identity_settings.h.  What is refused here is what one of the formats in
 * config_files.c could not carry, or a guest would stumble over. */
#include "broker/identity_settings.h"

#include <string.h>

#include "broker/identity_merge.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/nearest.h"

#define LABEL_MAX 63
#define COMPUTER_MAX 15
#define ALNUM G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS

typedef gboolean (*CheckText)(const char *text);

static gboolean is_label(const char *text, gsize len)
{
    return len >= 1 && len <= LABEL_MAX && g_ascii_isalnum(text[0]) &&
           g_ascii_isalnum(text[len - 1]) && strspn(text, ALNUM "-") >= len;
}

static gboolean is_hostname(const char *text)
{
    return is_label(text, strlen(text));
}

static gboolean is_domain(const char *text)
{
    if (strlen(text) > 253)
        return FALSE;
    for (;; text++) {
        gsize len = strcspn(text, ".");
        if (!is_label(text, len))
            return FALSE;
        text += len;
        if (!*text)
            return TRUE;
    }
}

static gboolean is_ou(const char *text)
{
    return strlen(text) <= 1024 && strchr(text, '=') != NULL;
}

static gboolean is_account(const char *text)
{
    return g_str_equal(text, "keep") || g_str_equal(text, "renew");
}

static gboolean is_user(const char *text)
{
    gsize len = strlen(text);

    return len <= 32 && (g_ascii_isalpha(text[0]) || text[0] == '_') &&
           strspn(text, ALNUM "._-") == len;
}

static gboolean is_short(const char *text)
{
    return strlen(text) <= 256;
}

static const struct {
    const char *name;
    enum { TEXT, TRUTH, SECRET } kind;
    CheckText check;
    const char *hint; /* what it looks like */
} keys[] = {
    { "hostname", TEXT, is_hostname,
      "1 to 63 of A-Z a-z 0-9 and -, which neither begins nor ends it" },
    { "domain", TEXT, is_domain, "a DNS domain, like example.org" },
    { "ou", TEXT, is_ou, "like OU=Lab,DC=example,DC=org" },
    { "join_user", TEXT, is_short, "at most 256 bytes" },
    { "join_password", SECRET, is_short, "at most 256 bytes" },
    { "one_time_password", SECRET, is_short, "at most 256 bytes" },
    { "account", TEXT, is_account, "keep or renew" },
    { "user", TEXT, is_user, "1 to 32 of A-Z a-z 0-9 . _ -, the first a letter or _" },
    { "user_password", SECRET, is_short, "at most 256 bytes" },
    { "auto_login", TRUTH, NULL, "true or false" },
    { "domain_user", TRUTH, NULL, "true or false" },
};

static int find_key(const char *name)
{
    for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (g_str_equal(keys[i].name, name))
            return (int)i;
    }
    return -1;
}

gboolean identity_settings_is_secret(const char *name)
{
    int i = find_key(name);

    return i >= 0 && keys[i].kind == SECRET;
}

/* Neither YAML nor XML has a way to write these. */
static gboolean is_printable(const char *text)
{
    if (!g_utf8_validate(text, -1, NULL))
        return FALSE;
    for (const char *p = text; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        if (g_unichar_iscntrl(c) || (c & 0xfffe) == 0xfffe)
            return FALSE;
    }
    return TRUE;
}

static gboolean unknown_key(const char *name, GError **error)
{
    const char *names[G_N_ELEMENTS(keys) + 1] = { NULL };
    g_autoptr(GPtrArray) words = g_ptr_array_new();
    g_autofree char *shown = text_for_message(name, 40);

    for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
        names[i] = keys[i].name;
        g_ptr_array_add(words, (char *)keys[i].name);
    }
    const char *near = nearest_word(name, words);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "identity has no key '%s'%s%s%s", shown,
                near ? ": is '" : "", near ? near : "", near ? "' meant?" : "");
    g_autofree char *all = g_strjoinv(", ", (char **)names);
    imaged_error_hint(error, "it has: %s", all);
    return FALSE;
}

static gboolean check_key(int i, const json_t *value, IdentityLevel level, GError **error)
{
    const char *why = NULL;

    if (keys[i].check == is_hostname && level != IDENTITY_OF_DESKTOP)
        why = "is a desktop's own: its template cannot give it";
    else if (keys[i].kind == SECRET && level == IDENTITY_OF_RECIPE)
        why = "is a secret, and recipes can be read: set it with 'imagectl template set'";
    if (why) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "identity: '%s' %s", keys[i].name,
                    why);
        return FALSE;
    }
    const char *text = json_string_value(value);
    gboolean ok = json_is_null(value) ||
                  (keys[i].kind == TRUTH
                       ? json_is_boolean(value)
                       : text && strlen(text) == json_string_length(value) && is_printable(text) &&
                             ((!*text && keys[i].kind == TEXT) || keys[i].check(text)));
    gboolean is_empty = text && !*text && keys[i].kind == SECRET;
    if (ok && !is_empty)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "identity: '%s' is %s", keys[i].name,
                is_empty ? "empty" : "not sound"); /* not quoted: it may be a secret */
    if (!is_empty)
        imaged_error_hint(error, "%s", keys[i].hint);
    return FALSE;
}

gboolean identity_settings_check(const json_t *change, IdentityLevel level, GError **error)
{
    const char *name;
    json_t *value;

    if (!json_is_object(change)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "identity is not an object");
        return FALSE;
    }
    json_object_foreach ((json_t *)change, name, value) {
        int i = find_key(name);
        if (i < 0)
            return unknown_key(name, error);
        if (!check_key(i, value, level, error))
            return FALSE;
    }
    if (json_is_string(json_object_get(change, "join_password")) &&
        json_is_string(json_object_get(change, "one_time_password"))) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "identity: 'join_password' and 'one_time_password' are two ways to join");
        imaged_error_hint(error, "give one of them");
        return FALSE;
    }
    return TRUE;
}

json_t *identity_settings_shown(const char *stored)
{
    if (!stored)
        return NULL;
    json_t *object = identity_merge_parse(stored), *value;
    const char *name;
    void *next;

    json_object_foreach_safe(object, next, name, value)
    {
        if (find_key(name) < 0) /* whose a secret is: identity_merge.h */
            json_object_del(object, name);
        else if (identity_settings_is_secret(name))
            json_object_set_new(object, name, json_true());
    }
    return object;
}

char *identity_hostname(const char *name)
{
    g_autofree char *host = g_strdup(name);

    for (char *p = host; *p; p++) {
        if (*p == '.' || *p == '_')
            *p = '-';
    }
    for (gsize len = strlen(host); len > 1 && host[len - 1] == '-'; len--)
        host[len - 1] = '\0';
    return g_steal_pointer(&host);
}

char *identity_computer_name(const char *hostname, const char *desktop_id)
{
    gsize len = strlen(hostname);
    gboolean is_number = strspn(hostname, G_CSET_DIGITS) == len; /* Windows refuses that */

    g_autofree char *name =
        len + (is_number ? 1 : 0) > COMPUTER_MAX
            ? g_strdup_printf("%.10s-%.4s", hostname, desktop_id + strlen(desktop_id) - 4)
            : g_strconcat(is_number ? "D" : "", hostname, NULL);
    return g_ascii_strup(name, -1);
}
