/* archive_point.c: see archive_point.h.
 *
 * What was parsed is written again and must come out as it went in, so that no bit of a manifest
 * can change unseen, not even one that means nothing in JSON. */
#include "snapshot/archive_point.h"

#include <jansson.h>
#include <sodium.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "snapshot/archive_target.h"

#define FORMAT 1
#define FORMAT_DATA 2 /* with a data disk */
#define TEXT_MAX 100000 /* bytes of one field */
#define LAYOUT (JSON_SORT_KEYS | JSON_INDENT(1))
#define CHECKSUM_BYTES 32

static void clear_layer(gpointer data)
{
    ArchiveLayer *layer = data;

    g_free(layer->object);
    g_free(layer->layer_id);
}

ArchivePoint *archive_point_new(void)
{
    ArchivePoint *p = g_new0(ArchivePoint, 1);

    p->layers = g_array_new(FALSE, TRUE, sizeof(ArchiveLayer));
    g_array_set_clear_func(p->layers, clear_layer);
    p->data_layers = g_array_new(FALSE, TRUE, sizeof(ArchiveLayer));
    g_array_set_clear_func(p->data_layers, clear_layer);
    return p;
}

/* All text fields: with their keys, and what each must be.  One list for writing, reading and
 * freeing, so that none is forgotten. */
typedef enum { ANY_TEXT, SOME_NAME, SOME_ID } TextKind;

typedef struct {
    const char *part; /* object in which it stands, or NULL: at the top */
    const char *key;
    gsize offset;
    TextKind kind;
    gboolean is_optional; /* null when there is none; a desktop's are for desktops alone */
    gboolean is_desktops;
} TextField;

#define FIELD(part, key, field, kind, optional, desktops)                                          \
    {                                                                                              \
        part, key, G_STRUCT_OFFSET(ArchivePoint, field), kind, optional, desktops                  \
    }

static const TextField text_fields[] = {
    FIELD(NULL, "id", id, SOME_ID, FALSE, FALSE),
    FIELD(NULL, "name", name, SOME_NAME, FALSE, FALSE),
    FIELD(NULL, "description", description, ANY_TEXT, FALSE, FALSE),
    FIELD(NULL, "manager", manager_id, SOME_ID, FALSE, FALSE),
    FIELD("desktop", "id", desktop_id, SOME_ID, FALSE, TRUE),
    FIELD("desktop", "uuid", uuid, ANY_TEXT, FALSE, TRUE),
    FIELD("desktop", "mac", mac, ANY_TEXT, FALSE, TRUE),
    FIELD("desktop", "owner", owner, ANY_TEXT, FALSE, TRUE),
    FIELD("desktop", "snapshot", snapshot, SOME_NAME, TRUE, TRUE),
    FIELD("template", "id", template_id, SOME_ID, FALSE, FALSE),
    FIELD("template", "name", template_name, SOME_NAME, FALSE, FALSE),
    FIELD("template", "version_id", version_id, SOME_ID, FALSE, FALSE),
    FIELD("template", "description", version_description, ANY_TEXT, FALSE, FALSE),
    FIELD("template", "source", source, ANY_TEXT, FALSE, FALSE),
    FIELD("template", "notes", notes, ANY_TEXT, FALSE, FALSE),
    FIELD("hardware", "os", os, ANY_TEXT, FALSE, FALSE),
};

typedef struct {
    const char *part, *key;
    gsize offset;
    gint64 min, max;
    gboolean is_desktops;
} NumberField;

#define MAX_MS (253402300799999ll) /* the year 9999 */
#define NUMBER(part, key, field, min, max, desktops)                                               \
    {                                                                                              \
        part, key, G_STRUCT_OFFSET(ArchivePoint, field), min, max, desktops                        \
    }

static const NumberField number_fields[] = {
    NUMBER(NULL, "created_at_ms", created_at, 0, MAX_MS, FALSE),
    NUMBER(NULL, "virtual_size", virtual_size, 512, (gint64)(8192 * TIB), FALSE),
    NUMBER(NULL, "new_bytes", new_bytes, 0, G_MAXINT64 / 2, FALSE),
    NUMBER("desktop", "generation", generation, 0, G_MAXINT64 / 2, TRUE),
    NUMBER("template", "version", version, 1, G_MAXINT32, FALSE),
    NUMBER("hardware", "cpus", cpus, 1, 1024, FALSE),
    NUMBER("hardware", "memory_bytes", memory_bytes, (gint64)MIB, (gint64)(64 * TIB), FALSE),
};

static char **text_of(const ArchivePoint *p, const TextField *f)
{
    return (char **)((char *)p + f->offset);
}

static gint64 *number_of(const ArchivePoint *p, const NumberField *f)
{
    return (gint64 *)((char *)p + f->offset);
}

void archive_point_free(ArchivePoint *p)
{
    if (!p)
        return;
    for (guint i = 0; i < G_N_ELEMENTS(text_fields); i++)
        g_free(*text_of(p, &text_fields[i]));
    g_array_unref(p->layers);
    g_array_unref(p->data_layers);
    g_free(p);
}

void archive_point_add_layer(ArchivePoint *p, const char *object, const char *layer_id,
                             guint64 bytes, gboolean is_template)
{
    ArchiveLayer layer = { g_strdup(object), g_strdup(layer_id), bytes, is_template };

    g_array_append_val(p->layers, layer);
}

void archive_point_add_data_layer(ArchivePoint *p, const char *object, const char *layer_id,
                                  guint64 bytes)
{
    ArchiveLayer layer = { g_strdup(object), g_strdup(layer_id), bytes, FALSE };

    g_array_append_val(p->data_layers, layer);
}

const ArchiveLayer *archive_point_layer(const ArchivePoint *p, guint i)
{
    if (i < p->layers->len)
        return &g_array_index(p->layers, ArchiveLayer, i);
    i -= p->layers->len;
    return i < p->data_layers->len ? &g_array_index(p->data_layers, ArchiveLayer, i) : NULL;
}

guint archive_point_n_template(const ArchivePoint *p)
{
    guint n = 0;

    while (n < p->layers->len && g_array_index(p->layers, ArchiveLayer, n).is_template)
        n++;
    return n;
}

guint64 archive_point_bytes(const ArchivePoint *p)
{
    const ArchiveLayer *layer;
    guint64 sum = 0;

    for (guint i = 0; (layer = archive_point_layer(p, i)); i++)
        sum += layer->bytes;
    return sum;
}

char *archive_point_title(const ArchivePoint *p)
{
    if (p->is_template)
        return g_strdup_printf("%s:%" G_GINT64_FORMAT, p->name, p->version);
    return p->snapshot ? g_strdup_printf("%s@%s", p->name, p->snapshot) : g_strdup(p->name);
}

gboolean archive_object_is_valid(const char *name)
{
    gsize len = strspn(name, "0123456789abcdefghijklmnopqrstuvwxyz-");

    return len >= 16 && len <= ARCHIVE_OBJECT_MAX && name[len] == '\0' && name[0] != '-';
}

/* ---- Writing ---- */

static json_t *part_of(json_t *root, const char *part)
{
    json_t *object = part ? json_object_get(root, part) : root;

    if (!object)
        json_object_set_new(root, part, object = json_object());
    return object;
}

static json_t *chain_to_json(const GArray *layers, const char *owner)
{
    json_t *chain = json_array();

    for (guint i = 0; i < layers->len; i++) {
        const ArchiveLayer *layer = &g_array_index(layers, ArchiveLayer, i);
        json_array_append_new(chain, json_pack("{s:s,s:s,s:I,s:s}", "object", layer->object,
                                               "layer_id", layer->layer_id, "bytes",
                                               (json_int_t)layer->bytes, "owner",
                                               layer->is_template ? "template" : owner));
    }
    return chain;
}

static json_t *to_json(const ArchivePoint *p)
{
    json_t *root = json_object();
    g_autofree char *time = units_format_time(p->created_at);
    gboolean has_data = p->data_layers->len > 0;

    json_object_set_new(root, "format", json_integer(has_data ? FORMAT_DATA : FORMAT));
    json_object_set_new(root, "kind", json_string(p->is_template ? "template" : "desktop"));
    json_object_set_new(root, "created_at", json_string(time));
    for (guint i = 0; i < G_N_ELEMENTS(text_fields); i++) {
        const TextField *f = &text_fields[i];
        const char *text = *text_of(p, f);
        if (!f->is_desktops || !p->is_template)
            json_object_set_new(part_of(root, f->part), f->key,
                                text ? json_string(text) : json_null());
    }
    for (guint i = 0; i < G_N_ELEMENTS(number_fields); i++) {
        const NumberField *f = &number_fields[i];
        if (!f->is_desktops || !p->is_template)
            json_object_set_new(part_of(root, f->part), f->key, json_integer(*number_of(p, f)));
    }
    json_object_set_new(root, "chain", chain_to_json(p->layers, "desktop"));
    if (has_data)
        json_object_set_new(root, "data",
                            json_pack("{s:I,s:o}", "virtual_size", (json_int_t)p->data_size,
                                      "chain", chain_to_json(p->data_layers, "data")));
    return root;
}

/* As jq writes it: with a newline at the end.  Caller frees. */
static char *render(const json_t *root)
{
    char *text = json_dumps(root, LAYOUT);
    char *out = g_strdup_printf("%s\n", text);

    free(text);
    return out;
}

char *archive_point_to_text(const ArchivePoint *p)
{
    json_t *root = to_json(p);
    g_autofree char *plain = render(root);
    guint8 sum[CHECKSUM_BYTES];
    char hex[2 * CHECKSUM_BYTES + 1];

    crypto_generichash(sum, sizeof sum, (const guint8 *)plain, strlen(plain), NULL, 0);
    sodium_bin2hex(hex, sizeof hex, sum, sizeof sum);
    json_object_set_new(root, "checksum", json_string(hex));
    char *out = render(root);
    json_decref(root);
    return out;
}

/* ---- Reading ---- */

static gboolean corrupt(GError **error, const char *why)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT, "the manifest is not sound: %s", why);
    return FALSE;
}

static gboolean read_text(const json_t *root, const TextField *f, ArchivePoint *p, GError **error)
{
    const json_t *part = f->part ? json_object_get(root, f->part) : root;
    const json_t *value = json_object_get(part, f->key);
    const char *text = json_string_value(value);

    if (f->is_optional && json_is_null(value))
        return TRUE;
    /* notes are lines; control characters else are nobody's */
    gboolean ok = text && json_string_length(value) <= TEXT_MAX &&
                  strlen(text) == json_string_length(value) &&
                  (f->kind == SOME_ID     ? id_is_valid(text)
                   : f->kind == SOME_NAME ? name_check("name", text, NULL)
                                          : TRUE);
    for (const char *c = ok ? text : ""; *c; c++)
        ok &= (guchar)*c >= 0x20 || *c == '\n';
    if (!ok)
        return corrupt(error, f->key);
    *text_of(p, f) = g_strdup(text);
    return TRUE;
}

static gboolean read_number(const json_t *root, const NumberField *f, ArchivePoint *p,
                            GError **error)
{
    const json_t *part = f->part ? json_object_get(root, f->part) : root;
    const json_t *value = json_object_get(part, f->key);
    gint64 number = json_integer_value(value);

    if (!json_is_integer(value) || number < f->min || number > f->max)
        return corrupt(error, f->key);
    *number_of(p, f) = number;
    return TRUE;
}

static gboolean read_layer(const json_t *entry, const char *wanted, ArchivePoint *p, GError **error)
{
    const char *object = json_string_value(json_object_get(entry, "object"));
    const char *layer_id = json_string_value(json_object_get(entry, "layer_id"));
    const char *owner = json_string_value(json_object_get(entry, "owner"));
    const json_t *bytes = json_object_get(entry, "bytes");
    gboolean is_data = g_str_equal(wanted, "data");
    gboolean is_template = !is_data && g_strcmp0(owner, "template") == 0;

    if (!object || !archive_object_is_valid(object) || !layer_id || !id_is_valid(layer_id) ||
        (!is_template && g_strcmp0(owner, wanted) != 0) || !json_is_integer(bytes) ||
        json_integer_value(bytes) < 0 || json_integer_value(bytes) > (json_int_t)(8192 * TIB))
        return corrupt(error, "its chain");
    /* Own layers stand on the template's, never the other way round. */
    if (is_template && archive_point_n_template(p) != p->layers->len)
        return corrupt(error, "the order of its chain");
    guint64 n_bytes = (guint64)json_integer_value(bytes);
    if (is_data)
        archive_point_add_data_layer(p, object, layer_id, n_bytes);
    else
        archive_point_add_layer(p, object, layer_id, n_bytes, is_template);
    return TRUE;
}

static gboolean read_chain(const json_t *part, const char *owner, ArchivePoint *p, GError **error)
{
    json_t *chain = json_object_get(part, "chain"), *entry;
    size_t i;

    if (!json_is_array(chain) || json_array_size(chain) == 0 ||
        json_array_size(chain) > ARCHIVE_CHAIN_MAX)
        return corrupt(error, "its chain");
    json_array_foreach(chain, i, entry) {
        if (!read_layer(entry, owner, p, error))
            return FALSE;
    }
    return !p->is_template || archive_point_n_template(p) == p->layers->len
               ? TRUE
               : corrupt(error, "a template has layers of a desktop");
}

static gboolean read_data(const json_t *root, ArchivePoint *p, GError **error)
{
    static const NumberField size = NUMBER("data", "virtual_size", data_size, 512,
                                           (gint64)(8192 * TIB), FALSE);
    const json_t *data = json_object_get(root, "data");

    if (!data)
        return TRUE;
    if (p->is_template)
        return corrupt(error, "a template has no data disk");
    return read_number(root, &size, p, error) && read_chain(data, "data", p, error);
}

static gboolean read_all(const json_t *root, ArchivePoint *p, GError **error)
{
    const json_t *format = json_object_get(root, "format");
    const char *kind = json_string_value(json_object_get(root, "kind"));

    if (json_is_integer(format) && json_integer_value(format) > FORMAT_DATA) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "the manifest was written by a newer version of imaged");
        return FALSE;
    }
    if (!json_is_integer(format) || json_integer_value(format) < FORMAT || !kind)
        return corrupt(error, "format");
    p->is_template = g_str_equal(kind, "template");
    for (guint i = 0; i < G_N_ELEMENTS(text_fields); i++) {
        if ((!text_fields[i].is_desktops || !p->is_template) &&
            !read_text(root, &text_fields[i], p, error))
            return FALSE;
    }
    for (guint i = 0; i < G_N_ELEMENTS(number_fields); i++) {
        if ((!number_fields[i].is_desktops || !p->is_template) &&
            !read_number(root, &number_fields[i], p, error))
            return FALSE;
    }
    return read_chain(root, "desktop", p, error) && read_data(root, p, error);
}

ArchivePoint *archive_point_parse(const char *text, gsize len, const char *expect_id,
                                  GError **error)
{
    g_autoptr(ArchivePoint) p = archive_point_new();
    json_t *root = len <= ARCHIVE_POINT_TEXT_MAX
                       ? json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL)
                       : NULL;
    gboolean ok = json_is_object(root) ? read_all(root, p, error)
                                       : corrupt(error, "it is no JSON object");

    json_decref(root);
    if (!ok)
        return NULL;
    g_autofree char *again = archive_point_to_text(p);
    if (strlen(again) != len || memcmp(again, text, len) != 0) {
        corrupt(error, "it is not what was written (checksum)");
        return NULL;
    }
    if (expect_id && !g_str_equal(expect_id, p->id)) {
        corrupt(error, "it is another point's");
        return NULL;
    }
    return g_steal_pointer(&p);
}
