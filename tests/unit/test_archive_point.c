/* test_archive_point.c: manifests: written and read back, every flipped bit, hostile texts. */
#include <jansson.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "snapshot/archive_point.h"
#include "snapshot/archive_target.h"

#define OBJECT "3baebaa390e9d7a21a23f6e1b43b9d662e78699fb2905fc05f91b78a5616432f"

static ArchivePoint *make_point(gboolean is_template, guint n_own)
{
    ArchivePoint *p = archive_point_new();
    Id id = id_new(), layer = id_new();

    p->id = g_strdup(id.s);
    p->created_at = 1795274309734;
    p->is_template = is_template;
    p->name = g_strdup("alice");
    p->description = g_strdup("before \"the\" update \\ \xc3\xa4");
    p->manager_id = g_strdup(id.s);
    if (!is_template) {
        p->desktop_id = g_strdup(id.s);
        p->uuid = id_to_uuid(id.s);
        p->mac = id_to_mac(id.s);
        p->owner = g_strdup("");
        p->generation = 3;
        p->snapshot = g_strdup("monday");
    }
    p->template_id = g_strdup(id.s);
    p->template_name = g_strdup("win11");
    p->version_id = g_strdup(layer.s);
    p->version = 2;
    p->cpus = 4;
    p->memory_bytes = 8 * (gint64)GIB;
    p->os = g_strdup("Windows 11");
    p->version_description = g_strdup("");
    p->source = g_strdup("/srv/win11.qcow2");
    p->notes = g_strdup("one\ntwo");
    p->virtual_size = 64 * GIB;
    p->new_bytes = 12345;
    archive_point_add_layer(p, OBJECT, layer.s, 4096, TRUE);
    for (guint i = 0; i < n_own; i++)
        archive_point_add_layer(p, OBJECT, layer.s, i, FALSE);
    return p;
}

static void test_round_trip(void)
{
    for (guint i = 0; i < 4; i++) {
        g_autoptr(ArchivePoint) p = make_point(i == 0, i == 0 ? 0 : i == 3 ? 999 : i);
        g_autofree char *text = archive_point_to_text(p);
        g_autoptr(GError) error = NULL;
        g_autoptr(ArchivePoint) back = archive_point_parse(text, strlen(text), p->id, &error);

        g_assert_no_error(error);
        g_autofree char *again = archive_point_to_text(back);
        g_assert_cmpstr(again, ==, text);
        g_assert_cmpstr(back->description, ==, p->description);
        g_assert_cmpstr(back->notes, ==, "one\ntwo");
        g_assert_cmpstr(back->snapshot, ==, p->snapshot);
        g_assert_cmpint(back->generation, ==, p->generation);
        g_assert_cmpuint(back->layers->len, ==, p->layers->len);
        g_assert_cmpuint(archive_point_n_template(back), ==, 1);
        g_assert_cmpuint(archive_point_bytes(back), ==, archive_point_bytes(p));
        g_autofree char *title = archive_point_title(back);
        g_assert_cmpstr(title, ==, i == 0 ? "alice:2" : "alice@monday");
    }
}

static void add_data(ArchivePoint *p, guint n)
{
    Id layer = id_new();

    p->data_size = 20 * GIB;
    for (guint i = 0; i < n; i++)
        archive_point_add_data_layer(p, OBJECT, layer.s, 100 + i);
}

/* A data disk is a chain of its own, in a format that older versions refuse; without one the text
 * is what those wrote. */
static void test_data(void)
{
    g_autoptr(ArchivePoint) p = make_point(FALSE, 2);
    g_autofree char *plain = archive_point_to_text(p);
    g_autoptr(GError) error = NULL;

    g_assert_nonnull(strstr(plain, "\"format\": 1,"));
    g_assert_null(strstr(plain, "\"data\""));
    add_data(p, 3);
    g_autofree char *text = archive_point_to_text(p);
    g_assert_nonnull(strstr(text, "\"format\": 2,"));
    g_autoptr(ArchivePoint) back = archive_point_parse(text, strlen(text), p->id, &error);
    g_assert_no_error(error);
    g_autofree char *again = archive_point_to_text(back);
    g_assert_cmpstr(again, ==, text);
    g_assert_cmpuint(back->layers->len, ==, 3);
    g_assert_cmpuint(back->data_layers->len, ==, 3);
    g_assert_cmpuint(back->data_size, ==, 20 * GIB);
    g_assert_cmpuint(archive_point_bytes(back), ==, archive_point_bytes(p));
    g_assert_cmpuint(archive_point_layer(back, 3)->bytes, ==, 100);
    g_assert_cmpuint(archive_point_layer(back, 5)->bytes, ==, 102);
    g_assert_null(archive_point_layer(back, 6));
}

/* A text with this part "data", a right checksum or not: refused for what it says. */
static void check_data_refused(gboolean is_template, json_t *data, json_int_t format)
{
    g_autoptr(ArchivePoint) p = make_point(is_template, is_template ? 0 : 1);
    g_autofree char *text = archive_point_to_text(p);
    g_autoptr(GError) error = NULL;
    json_t *root = json_loads(text, 0, NULL);

    json_object_set_new(root, "data", data);
    json_object_set_new(root, "format", json_integer(format));
    char *changed = json_dumps(root, JSON_SORT_KEYS | JSON_INDENT(1));
    g_assert_null(archive_point_parse(changed, strlen(changed), NULL, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
    free(changed);
    json_decref(root);
}

static json_t *data_part(json_t *size, const char *object, const char *owner)
{
    Id id = id_new();

    return json_pack("{s:o,s:[{s:s,s:s,s:i,s:s}]}", "virtual_size", size, "chain", "object", object,
                     "layer_id", id.s, "bytes", 1, "owner", owner);
}

static void test_hostile_data(void)
{
    check_data_refused(FALSE, json_null(), 2);
    check_data_refused(FALSE, json_array(), 2);
    check_data_refused(FALSE, json_object(), 2);
    check_data_refused(FALSE, json_pack("{s:i,s:[]}", "virtual_size", 1 << 20, "chain"), 2);
    check_data_refused(FALSE, data_part(json_integer(0), OBJECT, "data"), 2);
    check_data_refused(FALSE, data_part(json_integer(G_MAXINT64), OBJECT, "data"), 2);
    check_data_refused(FALSE, data_part(json_integer(1 << 20), "../../../etc/passwd", "data"), 2);
    check_data_refused(FALSE, data_part(json_integer(1 << 20), OBJECT, "desktop"), 2);
    check_data_refused(FALSE, data_part(json_integer(1 << 20), OBJECT, "template"), 2);
    check_data_refused(FALSE, data_part(json_integer(1 << 20), OBJECT, "data"), 2); /* checksum */
    check_data_refused(FALSE, data_part(json_integer(1 << 20), OBJECT, "data"), 1);
    check_data_refused(TRUE, data_part(json_integer(1 << 20), OBJECT, "data"), 2);
}

/* No bit of it can change unseen. */
static void test_flipped_bits(void)
{
    g_autoptr(ArchivePoint) p = make_point(FALSE, 1);
    add_data(p, 1);
    g_autofree char *text = archive_point_to_text(p);
    gsize len = strlen(text);

    for (gsize i = 0; i < len; i++) {
        for (guint bit = 0; bit < 8; bit++) {
            g_autoptr(GError) error = NULL;
            text[i] ^= (char)(1 << bit);
            g_assert_null(archive_point_parse(text, len, p->id, &error));
            g_assert_nonnull(error);
            text[i] ^= (char)(1 << bit);
        }
    }
    for (gsize i = 0; i < len; i++) /* cut off */
        g_assert_null(archive_point_parse(text, i, p->id, NULL));
    g_autofree char *longer = g_strconcat(text, " ", NULL);
    g_assert_null(archive_point_parse(longer, len + 1, p->id, NULL));
    g_autoptr(GError) error = NULL;
    g_assert_null(archive_point_parse(text, len, OBJECT, &error)); /* another point's */
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
}

/* The text of p with its field (at most two keys deep) replaced, with a right checksum or not:
 * what counts is that the value itself is refused. */
static void check_refused(const char *part, const char *key, json_t *value, const char *why)
{
    g_autoptr(ArchivePoint) p = make_point(FALSE, 1);
    g_autofree char *text = archive_point_to_text(p);
    g_autoptr(GError) error = NULL;
    json_t *root = json_loads(text, 0, NULL);

    json_object_set_new(part ? json_object_get(root, part) : root, key, value);
    char *changed = json_dumps(root, JSON_SORT_KEYS | JSON_INDENT(1));
    g_assert_null(archive_point_parse(changed, strlen(changed), NULL, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
    g_assert_nonnull(strstr(error->message, why));
    free(changed);
    json_decref(root);
}

static json_t *chain_of(const char *object, const char *layer, json_t *bytes, const char *owner,
                        const char *next_owner)
{
    Id id = id_new();

    return json_pack("[{s:s,s:s,s:o,s:s},{s:s,s:s,s:i,s:s}]", "object", object, "layer_id",
                     layer ? layer : id.s, "bytes", bytes, "owner", owner, "object", OBJECT,
                     "layer_id", id.s, "bytes", 1, "owner", next_owner);
}

static void test_hostile(void)
{
    check_refused(NULL, "id", json_string("../../etc/passwd"), "id");
    check_refused(NULL, "name", json_string("../x"), "name");
    check_refused(NULL, "name", json_null(), "name");
    check_refused(NULL, "description", json_string("\x1b[2J"), "description");
    check_refused(NULL, "virtual_size", json_integer(-1), "virtual_size");
    check_refused(NULL, "virtual_size", json_integer(G_MAXINT64), "virtual_size");
    check_refused(NULL, "virtual_size", json_real(1e6), "virtual_size");
    check_refused(NULL, "created_at_ms", json_integer(G_MAXINT64), "created_at_ms");
    check_refused("hardware", "cpus", json_integer(1 << 20), "cpus");
    check_refused("hardware", "memory_bytes", json_integer(0), "memory_bytes");
    check_refused("template", "version", json_integer(0), "version");
    check_refused("desktop", "snapshot", json_string("a/b"), "snapshot");
    check_refused(NULL, "chain", json_array(), "chain");
    check_refused(NULL, "chain", json_string(OBJECT), "chain");
    check_refused(NULL, "chain", json_pack("[s]", OBJECT), "chain");
    check_refused(NULL, "chain", chain_of("../../x", NULL, json_integer(1), "template", "desktop"),
                  "chain");
    check_refused(NULL, "chain",
                  chain_of("../../../../../etc/shadow", NULL, json_integer(1), "desktop",
                           "desktop"),
                  "chain");
    check_refused(NULL, "chain", chain_of(OBJECT, "x", json_integer(1), "template", "desktop"),
                  "chain");
    check_refused(NULL, "chain", chain_of(OBJECT, NULL, json_integer(-1), "template", "desktop"),
                  "chain");
    check_refused(NULL, "chain", chain_of(OBJECT, NULL, json_integer(1), "desktop", "template"),
                  "order");
    check_refused(NULL, "chain", chain_of(OBJECT, NULL, json_integer(1), "root", "desktop"),
                  "chain");
    json_t *endless = json_array();
    for (guint i = 0; i < ARCHIVE_CHAIN_MAX + 1; i++)
        json_array_append_new(endless, json_object());
    check_refused(NULL, "chain", endless, "chain");
    check_refused(NULL, "checksum", json_string("00"), "checksum");
    check_refused(NULL, "surplus", json_integer(1), "checksum");
    check_refused(NULL, "kind", json_string("template"), "desktop");
    check_refused(NULL, "format", json_string("1"), "format");
    check_refused(NULL, "format", json_integer(0), "format");
}

static void test_no_manifest(void)
{
    static const char *const texts[] = { "", "null", "[]", "{}", "{", "\"x\"", "{\"format\":1}",
                                         "{\"format\":1,\"format\":1}" };
    g_autofree char *deep = g_malloc(200000);
    g_autofree char *big = g_malloc0(ARCHIVE_POINT_TEXT_MAX + 2);
    g_autoptr(GError) error = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
        g_assert_null(archive_point_parse(texts[i], strlen(texts[i]), NULL, NULL));
    memset(deep, '[', 200000);
    g_assert_null(archive_point_parse(deep, 200000, NULL, NULL));
    memset(big, ' ', ARCHIVE_POINT_TEXT_MAX + 1);
    g_assert_null(archive_point_parse(big, ARCHIVE_POINT_TEXT_MAX + 1, NULL, NULL));
    g_assert_null(archive_point_parse("{\"format\":3}", 12, NULL, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED);
}

static void test_object_names(void)
{
    g_assert_true(archive_object_is_valid(OBJECT));
    g_assert_true(archive_object_is_valid("layer-0123456789abcdef"));
    g_assert_false(archive_object_is_valid(""));
    g_assert_false(archive_object_is_valid("short"));
    g_assert_false(archive_object_is_valid("../0123456789abcdef"));
    g_assert_false(archive_object_is_valid("-0123456789abcdef0"));
    g_assert_false(archive_object_is_valid("ABCDEF0123456789ABCDEF"));
    g_assert_false(archive_object_is_valid(OBJECT OBJECT));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/archive-point/round-trip", test_round_trip);
    g_test_add_func("/archive-point/data", test_data);
    g_test_add_func("/archive-point/hostile-data", test_hostile_data);
    g_test_add_func("/archive-point/flipped-bits", test_flipped_bits);
    g_test_add_func("/archive-point/hostile", test_hostile);
    g_test_add_func("/archive-point/no-manifest", test_no_manifest);
    g_test_add_func("/archive-point/object-names", test_object_names);
    return g_test_run();
}
