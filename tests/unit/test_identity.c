/* test_identity.c: what we write we read; what is not exactly that is refused, and nothing crashes.
 */
#include <glib.h>
#include <string.h>

#include "cow/identity.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"

#define A "0123456789abcdef0123456789abcdef"
#define B "ffffffffffffffffffffffffffffffff"

static void check_round_trip(const Identity *in)
{
    g_autofree char *json = identity_to_json(in);
    g_autoptr(GError) error = NULL;
    g_auto(Identity) out = { 0 };

    g_assert_cmpuint(strlen(json), <=, IDENTITY_MAX);
    identity_parse(json, &out, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(out.id, ==, in->id);
    g_assert_cmpstr(out.parent, ==, in->parent);
    g_assert_cmpstr(out.owner_kind, ==, in->owner_kind);
    g_assert_cmpstr(out.owner_id, ==, in->owner_id);
    g_assert_cmpstr(out.owner_name, ==, in->owner_name);
    g_assert_cmpint(out.generation, ==, in->generation);
    g_assert_cmpint(out.created_at, ==, in->created_at);
    g_autofree char *again = identity_to_json(&out);
    g_assert_cmpstr(json, ==, again);
}

static void test_round_trips(void)
{
    g_autofree char *long_name = g_strnfill(NAME_MAX_LEN, 'n');
    const Identity table[] = {
        { A, NULL, "template", B, "debian-13", 1, 1000 },
        { A, B, "desktop", B, "desk-001", 12, 1790000000000 },
        { A, A, "template", B, long_name, G_MAXINT64, G_MAXINT64 },
        { A, B, "desktop", B, "a", 0, 0 },
    };

    for (guint i = 0; i < G_N_ELEMENTS(table); i++)
        check_round_trip(&table[i]);
}

#define TEXT(v, id, parent, kind, owner, name, generation, created)                                \
    "{\"v\":" v ",\"id\":" id ",\"parent\":" parent ",\"owner_kind\":" kind ",\"owner\":" owner    \
    ",\"name\":" name ",\"generation\":" generation ",\"created\":" created "}"
#define Q(text) "\"" text "\""

static const struct {
    const char *what, *json;
    gboolean is_fine;
} table[] = {
    { "fine", TEXT("1", Q(A), "null", Q("template"), Q(B), Q("n"), "1", "1"), TRUE },
    { "parent", TEXT("1", Q(A), Q(B), Q("desktop"), Q(B), Q("n"), "1", "1"), TRUE },
    { "data disk", TEXT("1", Q(A), "null", Q("data"), Q(B), Q("n"), "1", "1"), TRUE },
    { "version", TEXT("2", Q(A), "null", Q("template"), Q(B), Q("n"), "1", "1") },
    { "version wraps", TEXT("4294967297", Q(A), "null", Q("template"), Q(B), Q("n"), "1", "1") },
    { "version text", TEXT("\"1\"", Q(A), "null", Q("template"), Q(B), Q("n"), "1", "1") },
    { "short id", TEXT("1", Q("0123"), "null", Q("template"), Q(B), Q("n"), "1", "1") },
    { "upper id", TEXT("1", Q("0123456789ABCDEF0123456789abcdef"), "null", Q("template"), Q(B),
                       Q("n"), "1", "1") },
    { "path id", TEXT("1", Q("../../../../../../../../../passwd"), "null", Q("template"), Q(B),
                      Q("n"), "1", "1") },
    { "null id", TEXT("1", "null", "null", Q("template"), Q(B), Q("n"), "1", "1") },
    { "bad parent", TEXT("1", Q(A), Q(""), Q("template"), Q(B), Q("n"), "1", "1") },
    { "number parent", TEXT("1", Q(A), "5", Q("template"), Q(B), Q("n"), "1", "1") },
    { "kind", TEXT("1", Q(A), "null", Q("planet"), Q(B), Q("n"), "1", "1") },
    { "owner", TEXT("1", Q(A), "null", Q("template"), Q("x"), Q("n"), "1", "1") },
    { "name", TEXT("1", Q(A), "null", Q("template"), Q(B), Q("../n"), "1", "1") },
    { "empty name", TEXT("1", Q(A), "null", Q("template"), Q(B), Q(""), "1", "1") },
    { "name with nul", TEXT("1", Q(A), "null", Q("template"), Q(B), Q("a\\u0000b"), "1", "1") },
    { "negative", TEXT("1", Q(A), "null", Q("template"), Q(B), Q("n"), "-1", "1") },
    { "real", TEXT("1", Q(A), "null", Q("template"), Q(B), Q("n"), "1.0", "1") },
    { "huge", TEXT("1", Q(A), "null", Q("template"), Q(B), Q("n"), "99999999999999999999", "1") },
    { "true", TEXT("1", Q(A), "null", Q("template"), Q(B), Q("n"), "1", "true") },
    { "more keys", TEXT("1", Q(A), "null", Q("template"), Q(B), Q("n"), "1", "1,\"x\":1") },
    { "trailing", TEXT("1", Q(A), "null", Q("template"), Q(B), Q("n"), "1", "1") "x" },
    { "twice", TEXT("1", Q(A), "null", Q("template"), Q(B), Q("n"), "1", "1")
                   TEXT("1", Q(A), "null", Q("template"), Q(B), Q("n"), "1", "1") },
    { "missing", "{\"v\":1,\"id\":\"" A "\"}" },
    { "array", "[1]" },
    { "scalar", "1" },
    { "null", "null" },
    { "empty", "" },
    { "open", "{\"v\":1" },
};

static void test_strict(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        g_auto(Identity) out = { 0 };
        g_autoptr(GError) error = NULL;
        gboolean ok = identity_parse(table[i].json, &out, &error);
        if (ok != table[i].is_fine)
            g_test_fail_printf("%s", table[i].what);
        if (!ok) {
            g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
            g_assert_null(out.id);
        }
    }
    /* however it is padded, what is too long is refused unread */
    g_autofree char *blanks = g_strnfill(IDENTITY_MAX, ' ');
    g_autofree char *padded = g_strconcat(table[0].json, blanks, NULL);
    g_auto(Identity) out = { 0 };
    g_assert_false(identity_parse(padded, &out, NULL));
}

/* Sound texts with a few bytes changed, left out or put in. */
static void test_noise(void)
{
    static const char bytes[] = "{}[]\",:\\/0123456789abcdefuv-.eE+ntrl \n\t\x01\x7f\x80\xc3\xff";
    g_autoptr(GRand) rand = g_rand_new_with_seed(11);

    for (guint round = 0; round < 30000; round++) {
        g_autoptr(GString) text = g_string_new(table[round % 2].json);
        g_auto(Identity) out = { 0 };
        g_autoptr(GError) error = NULL;
        for (gint n = g_rand_int_range(rand, 1, 5); n > 0 && text->len > 1; n--) {
            gsize at = (gsize)g_rand_int_range(rand, 0, (gint)text->len);
            char byte = bytes[g_rand_int_range(rand, 0, sizeof bytes - 1)];
            switch (g_rand_int_range(rand, 0, 4)) {
            case 0:
                g_string_erase(text, (gssize)at, 1);
                break;
            case 1:
                g_string_insert_c(text, (gssize)at, byte);
                break;
            case 2:
                g_string_truncate(text, at);
                break;
            default:
                text->str[at] = byte;
            }
        }
        if (identity_parse(text->str, &out, &error)) {
            g_assert_true(id_is_valid(out.id) && id_is_valid(out.owner_id));
            g_assert_true(name_check("owner's", out.owner_name, NULL));
        } else {
            g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/identity/round-trips", test_round_trips);
    g_test_add_func("/identity/strict", test_strict);
    g_test_add_func("/identity/noise", test_noise);
    return g_test_run();
}
