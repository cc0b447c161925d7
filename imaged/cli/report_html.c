/* report_html.c: see report_html.h.  No script, no font, no image, nothing from elsewhere: the page
 * can be mailed and printed.  The words are for somebody who pays for disks and knows no layers. */
#include "imaged/cli/report_html.h"

#include "imaged/base/units.h"
#include "imaged/cli/output.h"

static const char head[] =
    "<!DOCTYPE html>\n"
    "<html lang=\"en\">\n"
    "<head>\n"
    "<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
    "'unsafe-inline'\">\n"
    "<title>What shared desktop images save</title>\n"
    "<style>\n"
    "body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: "
    "60rem;\n"
    "       margin: 2rem auto; padding: 0 1rem; }\n"
    "h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }\n"
    ".lead { font-size: 1.2rem; background: #eef6ee; border-left: .4rem solid #2a7d3a;\n"
    "        padding: .8rem 1rem; }\n"
    ".template { margin: 1.4rem 0; break-inside: avoid; }\n"
    ".template h3 { font-size: 1rem; margin: 0 0 .3rem; }\n"
    ".line { display: grid; grid-template-columns: 8rem 1fr 8rem; gap: .6rem; align-items: center; "
    "}\n"
    ".line span:last-child { text-align: right; font-variant-numeric: tabular-nums; }\n"
    ".track { background: #eee; height: 1.1rem; display: flex; }\n"
    ".track i { display: block; height: 100%; print-color-adjust: exact;\n"
    "           -webkit-print-color-adjust: exact; }\n"
    ".base { background: #23527c; } .diff { background: #5b9bd5; } .full { background: #b9b9b9; }\n"
    ".key i { display: inline-block; width: .9rem; height: .9rem; margin: 0 .3rem 0 1rem;\n"
    "         vertical-align: -.1rem; }\n"
    "table { border-collapse: collapse; width: 100%; font-size: .9rem; }\n"
    "th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid #ddd;\n"
    "         font-variant-numeric: tabular-nums; }\n"
    "th:first-child, td:first-child { text-align: left; }\n"
    "tr.total td { font-weight: bold; border-top: 2px solid #222; }\n"
    "footer { color: #666; font-size: .85rem; margin-top: 2.5rem; }\n"
    "</style>\n"
    "</head>\n"
    "<body>\n"
    "<h1>What shared desktop images save</h1>\n";

static const char explanation[] =
    "<p>Each desktop is stored as the difference to its template: only what its user changed takes "
    "space of its own. The template itself is stored once, however many desktops stand on it. "
    "&ldquo;Full copies&rdquo; is what the same desktops would take if each had a complete disk "
    "image.</p>\n"
    "<p class=\"key\"><i class=\"base\"></i>template, stored once<i class=\"diff\"></i>changes of "
    "the "
    "desktops<i class=\"full\"></i>the same as full copies</p>\n";

void report_html_escape(GString *out, const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);

    for (const char *p = valid; *p; p++) {
        switch (*p) {
        case '&':
            g_string_append(out, "&amp;");
            break;
        case '<':
            g_string_append(out, "&lt;");
            break;
        case '>':
            g_string_append(out, "&gt;");
            break;
        case '"':
            g_string_append(out, "&quot;");
            break;
        case '\'':
            g_string_append(out, "&#39;");
            break;
        default:
            g_string_append_c(out, g_ascii_iscntrl(*p) ? ' ' : *p);
        }
    }
}

static gint64 number(const json_t *object, const char *key)
{
    return MAX(json_integer_value(json_object_get(object, key)), 0);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static void append_size(GString *out, gint64 bytes)
{
    g_autofree char *text = units_format_size((guint64)bytes);

    g_string_append(out, text);
}

static gdouble percent(const json_t *row, const char *key)
{
    return 100 * json_number_value(json_object_get(row, key));
}

static void append_lead(GString *out, const json_t *totals, gsize n_rows)
{
    g_autofree char *desktops = output_count_text(number(totals, "n_desktops"), "desktop");
    g_autofree char *versions = output_count_text((gint64)n_rows, "template version");

    g_string_append_printf(out, "<p class=\"lead\">%s on %s take <b>", desktops, versions);
    append_size(out, number(totals, "stored_disk_bytes"));
    g_string_append(out, "</b> of disk. As full copies they would take ");
    append_size(out, number(totals, "full_copy_disk_bytes"));
    g_string_append_printf(out, ". Sharing saves <b>%.0f&nbsp;%%</b> (",
                           percent(totals, "saved_disk_ratio"));
    append_size(out, number(totals, "saved_disk_bytes"));
    g_string_append(out, ").</p>\n");
}

static void append_bar(GString *out, const char *class, gint64 bytes, gint64 scale)
{
    char width[G_ASCII_DTOSTR_BUF_SIZE];

    /* CSS wants a point in its numbers, whatever the locale. */
    g_ascii_formatd(width, sizeof width, "%.3f",
                    scale > 0 ? 100.0 * (gdouble)bytes / (gdouble)scale : 0.0);
    g_string_append_printf(out, "<i class=\"%s\" style=\"width:%s%%\"></i>", class, width);
}

/* Two bars on one scale: what is stored, and what full copies would take. */
static void append_template(GString *out, const json_t *row, gint64 scale)
{
    g_autofree char *desktops = output_count_text(number(row, "n_desktops"), "desktop");

    g_string_append(out, "<div class=\"template\">\n<h3>");
    report_html_escape(out, text_of(row, "name"));
    g_string_append_printf(out, ": %s, %.0f&nbsp;%% saved</h3>\n", desktops,
                           percent(row, "saved_disk_ratio"));
    g_string_append(out, "<div class=\"line\"><span>stored</span><div class=\"track\">");
    append_bar(out, "base", number(row, "template_disk_bytes"), scale);
    append_bar(out, "diff", number(row, "diff_disk_bytes"), scale);
    g_string_append(out, "</div><span>");
    append_size(out, number(row, "stored_disk_bytes"));
    g_string_append(
        out, "</span></div>\n<div class=\"line\"><span>full copies</span><div class=\"track\">");
    append_bar(out, "full", number(row, "full_copy_disk_bytes"), scale);
    g_string_append(out, "</div><span>");
    append_size(out, number(row, "full_copy_disk_bytes"));
    g_string_append(out, "</span></div>\n</div>\n");
}

static void append_figures(GString *out, const json_t *row, const char *suffix)
{
    static const char *const keys[] = { "template", "diff", "stored", "full_copy", "saved" };

    for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
        g_autofree char *key = g_strdup_printf("%s%s", keys[i], suffix);
        g_string_append(out, "<td>");
        append_size(out, number(row, key));
        g_string_append(out, "</td>");
    }
}

static void append_table(GString *out, const char *title, const json_t *report, const char *suffix,
                         const char *ratio)
{
    const json_t *rows = json_object_get(report, "rows"), *row;
    const json_t *totals = json_object_get(report, "totals");
    gsize i;

    g_string_append_printf(out,
                           "<h2>%s</h2>\n<table>\n<tr><th>Template</th><th>Desktops</th>"
                           "<th>Template</th><th>Changes</th><th>Stored</th><th>Full copies</th>"
                           "<th>Saved</th><th>Saved</th></tr>\n",
                           title);
    json_array_foreach (rows, i, row) {
        g_string_append(out, "<tr><td>");
        report_html_escape(out, text_of(row, "name"));
        g_string_append_printf(out, "</td><td>%" G_GINT64_FORMAT "</td>",
                               number(row, "n_desktops"));
        append_figures(out, row, suffix);
        g_string_append_printf(out, "<td>%.1f&nbsp;%%</td></tr>\n", percent(row, ratio));
    }
    g_string_append_printf(out, "<tr class=\"total\"><td>All</td><td>%" G_GINT64_FORMAT "</td>",
                           number(totals, "n_desktops"));
    append_figures(out, totals, suffix);
    g_string_append_printf(out, "<td>%.1f&nbsp;%%</td></tr>\n</table>\n", percent(totals, ratio));
}

static void append_largest(GString *out, const json_t *rows)
{
    gsize i, j;
    json_t *row, *diff;
    gboolean is_begun = FALSE;

    json_array_foreach (rows, i, row) {
        json_array_foreach (json_object_get(row, "largest"), j, diff) {
            if (!is_begun)
                g_string_append(out,
                                "<h2>Desktops that changed most</h2>\n<table>\n<tr><th>Desktop</th>"
                                "<th>Template</th><th>Changes</th><th>On disk</th></tr>\n");
            is_begun = TRUE;
            g_string_append(out, "<tr><td>");
            report_html_escape(out, text_of(diff, "name"));
            g_string_append(out, "</td><td>");
            report_html_escape(out, text_of(row, "name"));
            g_string_append(out, "</td><td>");
            append_size(out, number(diff, "diff_bytes"));
            g_string_append(out, "</td><td>");
            append_size(out, number(diff, "diff_disk_bytes"));
            g_string_append(out, "</td></tr>\n");
        }
    }
    if (is_begun)
        g_string_append(out, "</table>\n");
}

static void append_other(GString *out, const json_t *report)
{
    json_auto_t *other = output_account_rows(json_object_get(report, "other"), "name");
    json_t *row;
    gsize i;

    g_string_append(
        out, "<h2>All that the stores hold</h2>\n<table>\n"
             "<tr><th>What</th><th>On disk</th></tr>\n<tr><td>Templates and desktops</td><td>");
    append_size(out, number(json_object_get(report, "totals"), "stored_disk_bytes"));
    g_string_append(out, "</td></tr>\n");
    json_array_foreach (other, i, row) {
        g_string_append(out, "<tr><td>");
        report_html_escape(out, text_of(row, "name"));
        g_string_append(out, "</td><td>");
        append_size(out, number(row, "disk_bytes"));
        g_string_append(out, "</td></tr>\n");
    }
    g_string_append(out, "<tr class=\"total\"><td>All</td><td>");
    append_size(out, number(report, "store_disk_bytes"));
    g_string_append(out, "</td></tr>\n</table>\n");
}

GString *report_html(const json_t *report)
{
    const json_t *rows = json_object_get(report, "rows"), *row;
    GString *out = g_string_new(head);
    gint64 scale = 1;
    gsize i;

    append_lead(out, json_object_get(report, "totals"), json_array_size(rows));
    g_string_append(out, explanation);
    json_array_foreach (rows, i, row)
        scale =
            MAX(scale, MAX(number(row, "full_copy_disk_bytes"), number(row, "stored_disk_bytes")));
    json_array_foreach (rows, i, row)
        append_template(out, row, scale);
    append_table(out, "Space on disk", report, "_disk_bytes", "saved_disk_ratio");
    append_table(out, "Data as the desktops see it", report, "_bytes", "saved_ratio");
    append_largest(out, rows);
    append_other(out, report);
    g_string_append(out, "<footer>Made by imagectl at ");
    report_html_escape(out, text_of(report, "created_at"));
    g_string_append(
        out, ". Sizes are in powers of 1024 (1 GiB = 1024 MiB).</footer>\n</body>\n</html>\n");
    return out;
}
