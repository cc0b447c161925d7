/* ldap_link.c: see ldap_link.h.  Every call that could wait has a limit: libldap's for connecting
 * and the handshake, ours for each answer. */
#include "broker/access/ldap_link.h"

#include <errno.h>
#include <ldap.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "broker/access/ldap_text.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

#define CONNECT_S 4
#define ANSWER_S 8
#define PAGE 500
#define MAX_PAGES 10000               /* a server may send short ones, but not for ever */
#define MAX_ANSWER (16 * 1024 * 1024) /* bytes of one message */
#define MAX_VALUES 100000             /* of one attribute in one entry */

struct LdapLink {
    LDAP *ld;
    char *server;
};

static gboolean set_error(LdapLink *link, int code, const char *what, GError **error)
{
    gboolean is_denied = code == LDAP_INVALID_CREDENTIALS || code == LDAP_INAPPROPRIATE_AUTH ||
                         code == LDAP_INSUFFICIENT_ACCESS || code == LDAP_CONSTRAINT_VIOLATION ||
                         code == LDAP_UNWILLING_TO_PERFORM || code == LDAP_STRONG_AUTH_REQUIRED;
    gboolean is_missing = code == LDAP_NO_SUCH_OBJECT;
    gboolean is_invalid = code == LDAP_FILTER_ERROR || code == LDAP_INVALID_DN_SYNTAX;
    char *more = NULL;

    ldap_get_option(link->ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &more);
    /* "(unknown error code)" says nothing */
    g_autofree char *shown =
        more && *more && !strstr(more, "unknown error") ? text_for_message(more, 160) : NULL;
    ldap_memfree(more);
    g_set_error(error, IMAGED_ERROR,
                is_denied    ? IMAGED_ERROR_DENIED
                : is_missing ? IMAGED_ERROR_NOT_FOUND
                : is_invalid ? IMAGED_ERROR_INVALID
                             : IMAGED_ERROR_UNAVAILABLE,
                "%s: %s: %s%s%s%s", link->server, what, ldap_err2string(code), shown ? " (" : "",
                shown ? shown : "", shown ? ")" : "");
    if (code == LDAP_CONNECT_ERROR || code == LDAP_SERVER_DOWN)
        imaged_error_hint(error, "does it answer, with a certificate for that name, of an authority"
                                 " known here?");
    return FALSE;
}

/* Wait for the answer to a request.  The caller frees *ret with ldap_msgfree(). */
static gboolean wait_for(LdapLink *link, int id, int all, const char *what, LDAPMessage **ret,
                         GError **error)
{
    struct timeval limit = { .tv_sec = ANSWER_S };
    int type = ldap_result(link->ld, id, all, &limit, ret);

    if (type > 0)
        return TRUE;
    int code = LDAP_TIMEOUT;
    if (type < 0)
        ldap_get_option(link->ld, LDAP_OPT_RESULT_CODE, &code);
    else
        ldap_abandon_ext(link->ld, id, NULL, NULL);
    return set_error(link, code ? code : LDAP_SERVER_DOWN, what, error);
}

/* Only an Active Directory says so, and only to who has the password. */
static const char *refusal_of(LdapLink *link, int code)
{
    char *more = NULL;
    const char *why;

    if (code != LDAP_INVALID_CREDENTIALS)
        return NULL;
    ldap_get_option(link->ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &more);
    why = ldap_text_refusal(more);
    ldap_memfree(more);
    return why;
}

/* Two empty texts: as nobody. */
static gboolean bind_as(LdapLink *link, const char *dn, const char *password,
                        const char **ret_refusal, GError **error)
{
    struct berval secret = { strlen(password), (char *)password };
    LDAPMessage *answer = NULL;
    int id, code = LDAP_OTHER;

    code = ldap_sasl_bind(link->ld, dn, LDAP_SASL_SIMPLE, &secret, NULL, NULL, &id);
    if (code != LDAP_SUCCESS)
        return set_error(link, code, "log-in", error);
    if (!wait_for(link, id, LDAP_MSG_ALL, "log-in", &answer, error))
        return FALSE;
    int parsed = ldap_parse_result(link->ld, answer, &code, NULL, NULL, NULL, NULL, 1);
    if (parsed != LDAP_SUCCESS)
        code = parsed;
    const char *why = refusal_of(link, code);
    if (why && ret_refusal)
        *ret_refusal = why;
    return code == LDAP_SUCCESS || set_error(link, code, "log-in", error);
}

gboolean ldap_link_bind(LdapLink *link, const char *dn, const char *password,
                        const char **ret_refusal, GError **error)
{
    /* A name without a password would be taken for nobody, and said to be right (RFC 4513). */
    if (*password && *dn)
        return bind_as(link, dn, password, ret_refusal, error);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED, "an empty name or password");
    return FALSE;
}

/* libldap wants a file with the authorities; nobody else is to have one. */
static gboolean use_ca(LDAP *ld, const char *pem, GError **error)
{
    auto_fd fd = memfd_create("imaged-ca", MFD_CLOEXEC);
    gsize len = strlen(pem);

    if (fd < 0 || write(fd, pem, len) != (gssize)len) {
        imaged_error_set_errno(error, errno, "cannot hand over the authorities");
        return FALSE;
    }
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    int is_server = 0;
    if (ldap_set_option(ld, LDAP_OPT_X_TLS_CACERTFILE, path) == LDAP_SUCCESS &&
        ldap_set_option(ld, LDAP_OPT_X_TLS_NEWCTX, &is_server) == LDAP_SUCCESS)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                "the authorities' certificates cannot be read");
    return FALSE;
}

static void set_limits(LDAP *ld)
{
    struct timeval connect = { .tv_sec = CONNECT_S }, answer = { .tv_sec = ANSWER_S };
    int version = LDAP_VERSION3, demand = LDAP_OPT_X_TLS_DEMAND, never = LDAP_DEREF_NEVER;
    int tls12 = LDAP_OPT_X_TLS_PROTOCOL_TLS1_2;
    ber_len_t most = MAX_ANSWER;
    Sockbuf *sb = NULL;

    ldap_set_option(ld, LDAP_OPT_PROTOCOL_VERSION, &version);
    ldap_set_option(ld, LDAP_OPT_NETWORK_TIMEOUT, &connect);
    ldap_set_option(ld, LDAP_OPT_TIMEOUT, &answer);
    ldap_set_option(ld, LDAP_OPT_REFERRALS, LDAP_OPT_OFF); /* to servers that nobody named */
    ldap_set_option(ld, LDAP_OPT_DEREF, &never);
    ldap_set_option(ld, LDAP_OPT_RESTART, LDAP_OPT_OFF);
    ldap_set_option(ld, LDAP_OPT_X_TLS_REQUIRE_CERT, &demand);
    ldap_set_option(ld, LDAP_OPT_X_TLS_PROTOCOL_MIN, &tls12);
    if (ldap_get_option(ld, LDAP_OPT_SOCKBUF, &sb) == LDAP_SUCCESS && sb)
        ber_sockbuf_ctrl(sb, LBER_SB_OPT_SET_MAX_INCOMING, &most);
}

static LdapLink *connect_to(const LdapServers *s, const char *server, GError **error)
{
    g_autoptr(LdapLink) link = g_new0(LdapLink, 1);
    gboolean is_ldaps = g_ascii_strncasecmp(server, "ldaps://", 8) == 0;
    int is_server = 0;

    link->server = g_strdup(server);
    int code = ldap_initialize(&link->ld, server);
    if (code != LDAP_SUCCESS) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%.80s': %s", server,
                    ldap_err2string(code));
        return NULL;
    }
    set_limits(link->ld);
    if (s->ca_pem ? !use_ca(link->ld, s->ca_pem, error)
                  : ldap_set_option(link->ld, LDAP_OPT_X_TLS_NEWCTX, &is_server) != LDAP_SUCCESS) {
        if (error && !*error)
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "cannot begin TLS");
        return NULL;
    }
    if (!is_ldaps) {
        code = ldap_start_tls_s(link->ld, NULL, NULL);
        if (code != LDAP_SUCCESS) {
            set_error(link, code, "StartTLS", error);
            return NULL;
        }
    }
    /* With ldaps:// this connects. */
    gboolean ok = s->bind_dn ? ldap_link_bind(link, s->bind_dn,
                                              s->bind_password ? s->bind_password : "", NULL, error)
                             : bind_as(link, "", "", NULL, error);
    return ok ? g_steal_pointer(&link) : NULL;
}

LdapLink *ldap_link_open(const LdapServers *s, GError **error)
{
    g_autoptr(GError) last = NULL;

    for (guint i = 0; s->servers[i]; i++) {
        g_clear_error(&last);
        LdapLink *link = connect_to(s, s->servers[i], &last);
        if (link || g_error_matches(last, IMAGED_ERROR, IMAGED_ERROR_DENIED)) {
            if (!link)
                g_propagate_error(error, g_steal_pointer(&last));
            return link;
        }
    }
    if (last)
        g_propagate_error(error, g_steal_pointer(&last));
    else
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "no server is named");
    return NULL;
}

void ldap_link_close(LdapLink *link)
{
    if (!link)
        return;
    if (link->ld)
        ldap_unbind_ext(link->ld, NULL, NULL);
    g_free(link->server);
    g_free(link);
}

const char *ldap_link_server(const LdapLink *link)
{
    return link->server;
}

/* ---- Entries ---- */

void ldap_entry_free(LdapEntry *entry)
{
    if (!entry)
        return;
    g_hash_table_unref(entry->values);
    g_free(entry->dn);
    g_free(entry);
}

char *ldap_dn_key(const char *dn)
{
    char *plain = NULL;

    if (!g_utf8_validate(dn, -1, NULL))
        return g_strdup(dn);
    char *folded = g_utf8_casefold(dn, -1); /* first: other letters than ASCII's get escaped */
    if (ldap_dn_normalize(folded, LDAP_DN_FORMAT_LDAPV3, &plain, LDAP_DN_FORMAT_LDAPV3) !=
        LDAP_SUCCESS)
        return folded;
    g_free(folded);
    char *key = g_strdup(plain);
    ldap_memfree(plain);
    return key;
}

GPtrArray *ldap_entry_values(const LdapEntry *entry, const char *attribute)
{
    g_autofree char *key = g_ascii_strdown(attribute, -1);

    return g_hash_table_lookup(entry->values, key);
}

GBytes *ldap_entry_value(const LdapEntry *entry, const char *attribute)
{
    GPtrArray *values = ldap_entry_values(entry, attribute);

    return values && values->len ? values->pdata[0] : NULL;
}

static LdapEntry *read_entry(LdapLink *link, LDAPMessage *message)
{
    LdapEntry *entry = g_new0(LdapEntry, 1);
    BerElement *ber = NULL;
    char *dn = ldap_get_dn(link->ld, message);

    entry->dn = g_strdup(dn ? dn : "");
    ldap_memfree(dn);
    entry->values =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_ptr_array_unref);
    for (char *name = ldap_first_attribute(link->ld, message, &ber); name;
         name = ldap_next_attribute(link->ld, message, ber)) {
        struct berval **values = ldap_get_values_len(link->ld, message, name);
        GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
        for (guint i = 0; values && values[i] && i < MAX_VALUES; i++)
            g_ptr_array_add(list, g_bytes_new(values[i]->bv_val, values[i]->bv_len));
        g_hash_table_replace(entry->values, g_ascii_strdown(name, -1), list);
        ldap_value_free_len(values);
        ldap_memfree(name);
    }
    ber_free(ber, 0);
    return entry;
}

/* One page.  *cookie is what the server wants back for the next one (empty: that was all). */
static gboolean search_page(LdapLink *link, const char *base, int scope, const char *filter,
                            const char *const *attributes, struct berval *cookie, GPtrArray *out,
                            guint max, GError **error)
{
    LDAPControl *page = NULL, **answered = NULL;
    struct timeval limit = { .tv_sec = ANSWER_S };
    LDAPMessage *answer = NULL;
    ber_int_t estimate;
    int id, result = LDAP_OTHER;

    int code = ldap_create_page_control(link->ld, PAGE, cookie, 0, &page);
    LDAPControl *controls[] = { page, NULL };
    if (code == LDAP_SUCCESS)
        code = ldap_search_ext(link->ld, base, scope, filter, (char **)attributes, 0,
                               scope == LDAP_SCOPE_BASE ? NULL : controls, NULL, &limit, 0, &id);
    ldap_control_free(page);
    if (code != LDAP_SUCCESS)
        return set_error(link, code, "search", error);
    if (!wait_for(link, id, LDAP_MSG_ALL, "search", &answer, error))
        return FALSE;
    for (LDAPMessage *m = ldap_first_entry(link->ld, answer); m && out->len <= max;
         m = ldap_next_entry(link->ld, m))
        g_ptr_array_add(out, read_entry(link, m));
    code = ldap_parse_result(link->ld, answer, &result, NULL, NULL, NULL, &answered, 1);
    ber_memfree(cookie->bv_val);
    *cookie = (struct berval){ 0 };
    LDAPControl *reply =
        answered ? ldap_control_find(LDAP_CONTROL_PAGEDRESULTS, answered, NULL) : NULL;
    if (code == LDAP_SUCCESS && reply)
        code = ldap_parse_pageresponse_control(link->ld, reply, &estimate, cookie);
    ldap_controls_free(answered);
    if (code == LDAP_SUCCESS)
        code = result;
    return code == LDAP_SUCCESS || set_error(link, code, "search", error);
}

static GPtrArray *search(LdapLink *link, const char *base, int scope, const char *filter,
                         const char *const *attributes, guint max, GError **error)
{
    g_autoptr(GPtrArray) out = g_ptr_array_new_with_free_func((GDestroyNotify)ldap_entry_free);
    struct berval cookie = { 0 };
    gboolean ok = TRUE;
    guint n_pages = 0;

    do {
        ok = search_page(link, base, scope, filter, attributes, &cookie, out, max, error);
    } while (ok && cookie.bv_len && out->len <= max && ++n_pages < MAX_PAGES);
    ber_memfree(cookie.bv_val);
    if (ok && out->len > max) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "%s: more than %u entries fit '%.100s'", link->server, max, filter);
        ok = FALSE;
    }
    return ok ? g_steal_pointer(&out) : NULL;
}

GPtrArray *ldap_link_search(LdapLink *link, const char *base, const char *filter,
                            const char *const *attributes, guint max, GError **error)
{
    return search(link, base, LDAP_SCOPE_SUBTREE, filter, attributes, max, error);
}

/* The values under the attribute's name, or under it with a range; *ret_next: where the next one
 * begins, 0: that was all. */
static GPtrArray *values_of(const LdapEntry *entry, const char *attribute, guint *ret_next)
{
    GPtrArray *plain = ldap_entry_values(entry, attribute), *found = plain;
    GHashTableIter iter;
    gpointer key, value;
    guint next;

    *ret_next = 0;
    g_hash_table_iter_init(&iter, entry->values);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        if (ldap_text_range(key, attribute, &next)) {
            *ret_next = next;
            found = value;
        }
    }
    return found;
}

/* "member", "member;range=1500-*" or "member;range=1000-1999".  Caller frees. */
static char *range_of(const char *attribute, guint from, guint at_once)
{
    if (at_once)
        return g_strdup_printf("%s;range=%u-%u", attribute, from, from + at_once - 1);
    return from ? g_strdup_printf("%s;range=%u-*", attribute, from) : g_strdup(attribute);
}

GPtrArray *ldap_link_values(LdapLink *link, const char *dn, const char *attribute, guint at_once,
                            guint max, GError **error)
{
    g_autoptr(GPtrArray) out = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    guint from = 0, next = 0;

    do {
        g_autofree char *name = range_of(attribute, from, at_once);
        const char *const names[] = { name, NULL };
        g_autoptr(GPtrArray) entries =
            search(link, dn, LDAP_SCOPE_BASE, "(objectClass=*)", names, 1, error);
        if (!entries)
            return NULL;
        GPtrArray *values = entries->len ? values_of(entries->pdata[0], attribute, &next) : NULL;
        for (guint i = 0; values && i < values->len && out->len < max; i++)
            g_ptr_array_add(out, g_bytes_ref(values->pdata[i]));
        if (next && next <= from) /* a server that goes in circles */
            break;
        from = next;
    } while (next && out->len < max);
    return g_steal_pointer(&out);
}
