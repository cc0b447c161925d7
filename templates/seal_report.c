/* seal_report.c: see seal_report.h. */
#include "templates/seal_report.h"

#include "imaged/base/ident.h"
#include "imaged/base/units.h"

#define MAX_NUMBER (G_GINT64_CONSTANT(1) << 53) /* exact in every reader of JSON */
#define MAX_TEXT 200
#define MAX_TEXTS 100
#define MAX_OPERATIONS 64

static void copy_number(json_t *out, const json_t *from, const char *key)
{
    gint64 n = json_integer_value(json_object_get(from, key));

    json_object_set_new(out, key, json_integer(CLAMP(n, 0, MAX_NUMBER)));
}

static void copy_text(json_t *out, const json_t *from, const char *key)
{
    const char *text = json_string_value(json_object_get(from, key));
    g_autofree char *shown = text_for_message(text ? text : "", MAX_TEXT);

    json_object_set_new(out, key, json_string(shown));
}

static void copy_texts(json_t *out, const json_t *from, const char *key)
{
    const json_t *texts = json_object_get(from, key);
    json_t *copy = json_array();

    for (size_t i = 0; i < MIN(json_array_size(texts), MAX_TEXTS); i++) {
        const char *text = json_string_value(json_array_get(texts, i));
        g_autofree char *shown = text_for_message(text ? text : "", MAX_TEXT);
        json_array_append_new(copy, json_string(shown));
    }
    json_object_set_new(out, key, copy);
}

static json_t *copy_operations(const json_t *operations)
{
    json_t *copy = json_array();

    for (size_t i = 0; i < MIN(json_array_size(operations), MAX_OPERATIONS); i++) {
        const json_t *from = json_array_get(operations, i);
        json_t *out = json_object();
        copy_text(out, from, "name");
        copy_number(out, from, "n_removed");
        copy_number(out, from, "bytes");
        copy_texts(out, from, "paths");
        json_array_append_new(copy, out);
    }
    return copy;
}

json_t *seal_report(const json_t *said)
{
    static const char *const of_os[] = { "type", "distro", "product" };
    json_t *out = json_object(), *os = json_object();

    for (guint i = 0; i < G_N_ELEMENTS(of_os); i++)
        copy_text(os, json_object_get(said, "os"), of_os[i]);
    json_object_set_new(out, "os", os);
    json_object_set_new(out, "operations", copy_operations(json_object_get(said, "operations")));
    copy_number(out, said, "n_removed");
    copy_number(out, said, "bytes");
    copy_texts(out, said, "trimmed");
    copy_number(out, said, "elapsed_ms");
    return out;
}

char *seal_report_line(const json_t *report)
{
    gint64 n = json_integer_value(json_object_get(report, "n_removed"));
    gint64 bytes = json_integer_value(json_object_get(report, "bytes"));
    g_autofree char *size = units_format_size((guint64)MAX(bytes, 0));

    return g_strdup_printf("sealed: %" G_GINT64_FORMAT " things removed (%s)", n, size);
}
