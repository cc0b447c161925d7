/* identity_merge.c: see identity_merge.h.  Whose the secret KEY is stands beside it as KEY_of. */
#include "broker/identity_merge.h"

#include "broker/identity_settings.h"
#include "imaged/base/error.h"

/* What belongs to what: another user, and none of these is known of him. */
static const struct {
    const char *key, *owner;
} owned[] = {
    { "user_password", "user" },       { "auto_login", "user" },
    { "domain_user", "user" },         { "ou", "domain" },
    { "join_user", "domain" },         { "join_password", "domain" },
    { "one_time_password", "domain" },
};
static const char *const secrets[] = { "user_password", "join_password", "one_time_password" };

json_t *identity_merge_parse(const char *stored)
{
    json_t *object = stored ? json_loads(stored, 0, NULL) : NULL;

    if (json_is_object(object))
        return object;
    json_decref(object);
    return json_object();
}

/* "" for none. */
static const char *text_of(const json_t *settings, const char *key)
{
    const char *text = json_string_value(json_object_get(settings, key));

    return text ? text : "";
}

static gboolean is_same_text(const json_t *a, const json_t *b, const char *key)
{
    return g_str_equal(text_of(a, key), text_of(b, key));
}

/* ---- Whose secrets are ---- */

static char *key_of(const char *secret)
{
    return g_strconcat(secret, "_of", NULL);
}

/* Whose the secret is if it is given now; NULL: nobody's.  Caller frees. */
static char *whose(const json_t *merged, const char *secret)
{
    const char *domain = text_of(merged, "domain"), *joiner = text_of(merged, "join_user");
    const char *user = text_of(merged, "user");

    if (g_str_equal(secret, "user_password") && !*user)
        return NULL;
    if (g_str_equal(secret, "user_password")) /* the domain's alice is not the local one */
        return json_is_true(json_object_get(merged, "domain_user"))
                   ? g_strdup_printf("%s@%s", user, domain)
                   : g_strdup(user);
    if (!*domain)
        return NULL;
    return g_str_equal(secret, "join_password")
               ? g_strdup_printf("%s@%s", *joiner ? joiner : "Administrator", domain)
               : g_strdup(domain);
}

static gboolean fits(const json_t *settings, const char *secret, const json_t *merged)
{
    g_autofree char *owner = whose(merged, secret), *key = key_of(secret);

    return json_object_get(settings, secret) && owner && g_str_equal(owner, text_of(settings, key));
}

/* The other way to join. */
static const char *other_way(const char *secret)
{
    return g_str_equal(secret, "join_password")       ? "one_time_password"
           : g_str_equal(secret, "one_time_password") ? "join_password"
                                                      : NULL;
}

/* Do settings, or a change, name the other way to join? */
static gboolean is_replaced(const char *secret, const json_t *by)
{
    const char *other = other_way(secret);

    return other && json_is_string(json_object_get(by, other));
}

static void drop(json_t *settings, const char *secret)
{
    g_autofree char *key = key_of(secret);

    json_object_del(settings, secret);
    json_object_del(settings, key);
}

/* ---- Version and desktop together ---- */

/* All but secrets: the desktop's win. */
static json_t *merge_open(const json_t *version, const json_t *desktop)
{
    json_t *merged = json_copy((json_t *)version);

    for (guint i = 0; i < G_N_ELEMENTS(owned); i++) {
        if (json_object_get(desktop, owned[i].owner) &&
            !is_same_text(desktop, version, owned[i].owner))
            json_object_del(merged, owned[i].key);
    }
    json_object_update(merged, (json_t *)desktop);
    for (guint i = 0; i < G_N_ELEMENTS(secrets); i++)
        drop(merged, secrets[i]);
    return merged;
}

/* Each from the level that is nearest to the desktop. */
static json_t *merge_levels(const json_t *version, const json_t *desktop)
{
    const json_t *const levels[] = { desktop, version };
    json_t *merged = merge_open(version, desktop);

    for (guint i = 0; i < G_N_ELEMENTS(levels); i++) {
        for (guint k = 0; k < G_N_ELEMENTS(secrets); k++) {
            if (!json_object_get(merged, secrets[k]) && !is_replaced(secrets[k], merged) &&
                fits(levels[i], secrets[k], merged))
                json_object_set(merged, secrets[k], json_object_get(levels[i], secrets[k]));
        }
    }
    return merged;
}

json_t *identity_merge(const char *of_version, const char *of_desktop)
{
    json_t *version = identity_merge_parse(of_version), *own = identity_merge_parse(of_desktop);
    json_t *merged = merge_levels(version, own);

    json_decref(version);
    json_decref(own);
    return merged;
}

/* ---- A change ---- */

static void change_open(json_t *settings, const json_t *change, const json_t *version)
{
    json_t *before = merge_open(version, settings), *value;
    const char *key;

    json_object_foreach ((json_t *)change, key, value) {
        if (json_is_null(value))
            json_object_del(settings, key);
        else
            json_object_set(settings, key, value);
    }
    json_t *after = merge_open(version, settings);
    for (guint i = 0; i < G_N_ELEMENTS(owned); i++) {
        if (!identity_settings_is_secret(owned[i].key) && !json_object_get(change, owned[i].key) &&
            !is_same_text(before, after, owned[i].owner))
            json_object_del(settings, owned[i].key);
    }
    json_decref(before);
    json_decref(after);
}

static gboolean refuse_nobodys(const char *secret, GError **error)
{
    gboolean is_user = g_str_equal(secret, "user_password");

    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "identity: '%s' without a '%s'", secret,
                is_user ? "user" : "domain");
    imaged_error_hint(error, is_user ? "whose is it? give both at once"
                                     : "to join what? give both at once");
    return FALSE;
}

static gboolean change_secrets(json_t *settings, const json_t *change, const json_t *version,
                               GError **error)
{
    json_t *merged = merge_open(version, settings);
    gboolean ok = TRUE;

    for (guint i = 0; ok && i < G_N_ELEMENTS(secrets); i++) {
        g_autofree char *key = key_of(secrets[i]), *owner = whose(merged, secrets[i]);
        if (!json_is_string(json_object_get(change, secrets[i]))) {
            if (!fits(settings, secrets[i], merged) || is_replaced(secrets[i], change))
                drop(settings, secrets[i]);
        } else if (owner) {
            json_object_set_new(settings, key, json_string(owner));
        } else {
            ok = refuse_nobodys(secrets[i], error);
        }
    }
    json_decref(merged);
    return ok;
}

gboolean identity_merge_apply(const char *of_version, const char *stored, const json_t *change,
                              char **ret, GError **error)
{
    json_t *version = identity_merge_parse(of_version), *settings = identity_merge_parse(stored);

    *ret = NULL;
    change_open(settings, change, version);
    gboolean ok = change_secrets(settings, change, version, error);
    if (ok && json_object_size(settings)) {
        char *text = json_dumps(settings, JSON_COMPACT | JSON_SORT_KEYS);
        *ret = g_strdup(text);
        free(text);
    }
    json_decref(version);
    json_decref(settings);
    return ok;
}

/* ---- What to tell ---- */

static void add_text(json_t *out, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void add_text(json_t *out, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    json_array_append_new(out, json_string(text));
}

/* What was stored (was, and is no more: now), or counted (before), and was not asked to go. */
static void add_dropped(json_t *out, const json_t *was, const json_t *now, const json_t *before,
                        const json_t *after, const json_t *change)
{
    for (guint i = 0; i < G_N_ELEMENTS(owned); i++) {
        const char *key = owned[i].key;
        gboolean is_own = json_object_get(was, key) != NULL;
        const json_t *had = is_own ? json_object_get(was, key) : json_object_get(before, key);
        if (!had || json_is_false(had) || json_object_get(change, key) ||
            json_object_get(is_own ? now : after, key))
            continue;
        g_autofree char *of = key_of(key);
        const char *owner = *text_of(was, of) ? text_of(was, of) : text_of(before, owned[i].owner);
        if (is_replaced(key, change))
            add_text(out, "'%s' counts no more: '%s' takes its place", key, other_way(key));
        else if (is_own)
            add_text(out, "'%s' was dropped: it was for '%s'", key, owner);
        else if (*text_of(after, owned[i].owner))
            add_text(out, "'%s' of the template does not count here: it is for '%s'", key, owner);
    }
}

json_t *identity_merge_warnings(const char *of_version, const char *before, const char *after,
                                const json_t *change)
{
    json_t *was = identity_merge_parse(before), *now = identity_merge_parse(after);
    json_t *then = identity_merge(of_version, before);
    json_t *merged = identity_merge(of_version, after), *out = json_array();
    gboolean wants_to_join =
        *text_of(merged, "join_user") || *text_of(merged, "ou") || *text_of(merged, "account");

    add_dropped(out, was, now, then, merged, change);
    if (wants_to_join && *text_of(merged, "domain") && !json_object_get(merged, "join_password") &&
        !json_object_get(merged, "one_time_password"))
        add_text(out,
                 "nothing will join '%s': there is neither 'join_password' nor"
                 " 'one_time_password'",
                 text_of(merged, "domain"));
    json_decref(was);
    json_decref(now);
    json_decref(then);
    json_decref(merged);
    return out;
}
