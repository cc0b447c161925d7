/* test_cli.c: imagectl's parts that need no daemon: what is typed, and what is printed.
 *
 * imagectl is no library, so the files are included; the nouns here are a small table of our own.
 */
#include "imaged/cli/args.c"
#include "imaged/cli/cli.c"
#include "imaged/base/nearest.h"
#include "imaged/cli/commands.c"
#include "imaged/cli/each_verbs.c"
#include "imaged/cli/output.c"
#include "imaged/cli/progress.c"
#include "imaged/cli/report_html.c"
#include "imaged/cli/user_file.c"

static gboolean do_nothing(Cli *cli, GError **error)
{
    return TRUE;
}

static const Option create_options[] = {
    { "template", OPTION_TEXT, "T", "", NULL },
    { "count", OPTION_COUNT, "N", "", NULL },
    { "cluster-size", OPTION_SIZE, "S", "", NULL },
    { "format", OPTION_CHOICE, "raw|qcow2", "", NULL },
    OPTION_DRY_RUN,
    OPTION_END,
};
static const Command desktop_commands[] = {
    { "create", "NAME...", 1, 3, NULL, "", NULL, "", create_options, do_nothing },
    { "reset", "NAME", 1, 1, NULL, "", NULL, "", NULL, do_nothing },
    { NULL },
};
static const Command plain_commands[] = {
    { NULL, "", 0, 0, NULL, "", NULL, "", NULL, do_nothing },
    { NULL },
};
const Noun noun_template = { "template", "", desktop_commands };
const Noun noun_desktop = { "desktop", "", desktop_commands };
const Noun noun_snapshot = { "snapshot", "", desktop_commands };
const Noun noun_archive = { "archive", "", desktop_commands };
const Noun noun_trash = { "trash", "", desktop_commands };
const Noun noun_export = { "export", "", desktop_commands };
const Noun noun_alert = { "alert", "", desktop_commands };
const Noun noun_host = { "host", "", desktop_commands };
const Noun noun_pool = { "pool", "", desktop_commands };
const Noun noun_host_group = { "host-group", "", desktop_commands };
const Noun noun_network = { "network", "", desktop_commands };
const Noun noun_connect = { "connect", "", plain_commands };
const Noun noun_session = { "session", "", desktop_commands };
const Noun noun_rollout = { "rollout", "", desktop_commands };
const Noun noun_user = { "user", "", desktop_commands };
const Noun noun_group = { "group", "", desktop_commands };
const Noun noun_role = { "role", "", desktop_commands };
const Noun noun_token = { "token", "", desktop_commands };
const Noun noun_directory = { "directory", "", desktop_commands };
const Noun noun_login = { "login", "", plain_commands };
const Noun noun_logout = { "logout", "", plain_commands };
const Noun noun_whoami = { "whoami", "", plain_commands };
const Noun noun_search = { "search", "", desktop_commands };
const Noun noun_store = { "store", "", desktop_commands };
const Noun noun_job = { "job", "", desktop_commands };
const Noun noun_event = { "event", "", desktop_commands };
const Noun noun_report = { "report", "", desktop_commands };
const Noun noun_catalog = { "catalog", "", desktop_commands };
const Noun noun_status = { "status", "", plain_commands };
const Noun noun_completion = { "completion", "", desktop_commands };
const Noun noun_version = { "version", "", plain_commands };

/* ---- Arguments ---- */

/* "a|b" for the words that were taken, or "error: hint". */
static char *parse(const char *line)
{
    g_auto(GStrv) argv = g_strsplit(line, " ", -1);
    g_auto(Args) args = { 0 };
    g_autoptr(GError) error = NULL;

    if (!args_parse(&args, (int)g_strv_length(argv), argv, &error) ||
        (args.command && !args_check_count(&args, &error))) {
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
        return g_strdelimit(g_strdup(error->message), "\n", '#');
    }
    GString *out = g_string_new(args.wants_help ? "help " : "");
    g_string_append_printf(out, "%s %s", args.noun ? args.noun->name : "-",
                           args.command && args.command->verb ? args.command->verb : "-");
    for (guint i = 0; i < args.words->len; i++)
        g_string_append_printf(out, " %s", args_word(&args, i));
    if (args_has(&args, "template"))
        g_string_append_printf(out, " T=%s", args_text(&args, "template"));
    if (args_has(&args, "output"))
        g_string_append_printf(out, " o=%s", args_text(&args, "output"));
    g_string_append_printf(out, " %" G_GINT64_FORMAT " %" G_GINT64_FORMAT "",
                           args_number(&args, "count", -1), args_number(&args, "cluster-size", -1));
    return g_string_free(out, FALSE);
}

static void test_args(void)
{
    static const struct {
        const char *line, *want;
    } cases[] = {
        { "x desktop create a b --template t", "desktop create a b T=t -1 -1" },
        { "x -o json desktop --state=/s create --count 5 a", "desktop create a o=json 5 -1" },
        { "x desktop create -ocsv a --cluster-size 64K", "desktop create a o=csv -1 65536" },
        { "x desktop create --template=a=b a", "desktop create a T=a=b -1 -1" },
        { "x desktop create -- --count", "desktop create --count -1 -1" },
        { "x desktop create - --count 0", "desktop create - 0 -1" },
        { "x status", "status - -1 -1" },
        { "x --version", "version - -1 -1" },
        { "x help desktop create a", "help desktop create a -1 -1" },
        { "x desktop create a -h", "help desktop create a -1 -1" },
        { "x", "- - -1 -1" },
        { "x desktp", "there is no command 'desktp'#did you mean 'desktop'?" },
        { "x desktop craete", "there is no verb 'craete'#did you mean 'create'?" },
        { "x desktop create a --tempalte t",
          "there is no option '--tempalte'#did you mean '--template'?" },
        { "x desktop create a --outptu csv",
          "there is no option '--outptu'#did you mean '--output'?" },
        { "x desktop --count 5 create a",
          "there is no option '--count' before the verb#see 'imagectl desktop --help'" },
        { "x desktop create a -z", "there is no option '-z'#see 'imagectl desktop create --help'" },
        { "x desktop create a --count",
          "--count needs a value: N#see 'imagectl desktop create --help'" },
        { "x desktop create a --count -1",
          "--count takes a whole number, not '-1'#see 'imagectl desktop create --help'" },
        { "x desktop create a --dry-run=1",
          "--dry-run takes no value#see 'imagectl desktop create --help'" },
        { "x desktop create a --format vmdk",
          "--format takes raw|qcow2, not 'vmdk'#see 'imagectl desktop create --help'" },
        { "x desktop create", "it needs NAME...#see 'imagectl desktop create --help'" },
        { "x desktop reset a b",
          "'b' is one argument too many#see 'imagectl desktop reset --help'" },
        { "x desktop reset \xff", "'?' is not valid UTF-8#see 'imagectl desktop reset --help'" },
        { "x desktop create a --template \xff",
          "--template: '?' is not valid UTF-8#see 'imagectl desktop create --help'" },
        { "x desktop create a --cluster-size lots",
          "--cluster-size: 'lots' is not a size#write it like 512M, 10G or 1.5T (powers of 1024)" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *got = parse(cases[i].line);
        g_assert_cmpstr(got, ==, cases[i].want);
    }
}

static void test_nearest(void)
{
    static const struct {
        const char *typed, *want;
    } cases[] = {
        { "desktpo", "desktop" },
        { "template", "template" },
        { "tempalte", "template" },
        { "sto", "store" },
        { "xyz", NULL },
        { "", NULL },
        { "q", NULL },
    };
    g_autoptr(GPtrArray) words = g_ptr_array_new();

    g_ptr_array_add(words, (gpointer) "desktop");
    g_ptr_array_add(words, (gpointer) "template");
    g_ptr_array_add(words, (gpointer) "store");
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++)
        g_assert_cmpstr(nearest_word(cases[i].typed, words), ==, cases[i].want);
    g_assert_cmpuint(nearest_distance("abc", "acb"), ==, 1);
    g_assert_cmpuint(nearest_distance("", "abc"), ==, 3);
    g_assert_cmpuint(nearest_distance("kitten", "sitting"), ==, 3);
    g_autofree char *long_word = g_strnfill(5000, 'x');
    g_assert_null(nearest_word(long_word, words));
}

/* ---- Output ---- */

static const Column columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "SIZE", "size", CELL_SIZE, 0 },
    { "STATE", "state", CELL_STATE, 0 },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    { "WHY", "error.message", CELL_TEXT, 0 },
    { "LIVE", "live", CELL_TRUTH, COLUMN_SHOW },
    COLUMN_END,
};

static const char sample[] =
    "[{\"name\": \"a\", \"size\": 1536, \"state\": \"ok\", \"id\": \"1\", \"error\": null},"
    " {\"name\": \"\xe6\x97\xa5\xe6\x9c\xac-long\", \"size\": 1073741824, \"state\": \"missing\","
    "  \"id\": \"2\", \"error\": {\"message\": \"red \\u001b[31m\"}, \"live\": true}]";

static void test_table(void)
{
    json_auto_t *rows = json_loads(sample, 0, NULL);
    g_autoptr(GString) out = g_string_new(NULL);

    output_table_text(out, rows, columns, FALSE);
    /* Two wide characters take four columns; the escape is gone; no blanks at the ends. */
    g_assert_cmpstr(out->str, ==,
                    "NAME          SIZE  STATE    WHY\n"
                    "a          1.5 KiB  ok\n"
                    "\xe6\x97\xa5\xe6\x9c\xac-long  1.0 GiB  missing  red ?[31m\n");
    g_string_truncate(out, 0);
    output_object_text(out, json_array_get(rows, 1), columns, FALSE);
    g_assert_cmpstr(
        out->str, ==,
        "NAME   \xe6\x97\xa5\xe6\x9c\xac-long\nSIZE   1.0 GiB\nSTATE  missing\nID     2\n"
        "WHY    red ?[31m\nLIVE   yes\n");
    g_string_truncate(out, 0);
    output_table_text(out, rows, columns, TRUE);
    g_assert_nonnull(strstr(out->str, "\033[31mmissing\033[0m"));
}

static void test_csv(void)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        { "plain", "plain" },
        { "", "" },
        { "a,b", "\"a,b\"" },
        { "say \"x\"", "\"say \"\"x\"\"\"" },
        { "two\nlines", "\"two\nlines\"" },
        { " lead", "\" lead\"" },
    };
    json_auto_t *rows = json_loads(sample, 0, NULL);
    g_autoptr(GString) out = g_string_new(NULL);

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_string_truncate(out, 0);
        output_csv_field(out, cases[i].text);
        g_assert_cmpstr(out->str, ==, cases[i].want);
    }
    g_string_truncate(out, 0);
    output_csv_header(out, columns, COLUMN_SHOW);
    output_csv_row(out, json_array_get(rows, 0), columns, COLUMN_SHOW);
    g_assert_cmpstr(out->str, ==, "name,size,state,id,error_message\na,1536,ok,1,\n");
}

static void test_cells(void)
{
    json_auto_t *object = json_loads("{\"r\": 0.89, \"rate\": 27.40178277, \"much\": 1234.6, "
                                     "\"t\": true, \"l\": [\"a\", \"b\"], \"n\": -5,"
                                     " \"when\": \"2026-11-21T02:24:00Z\", \"odd\": \"soon\"}",
                                     0, NULL);
    static const struct {
        const char *key;
        CellKind kind;
        gboolean raw;
        const char *want;
    } cases[] = {
        { "r", CELL_PERCENT, FALSE, "89.0 %" },
        { "r", CELL_PERCENT, TRUE, "0.89" },
        { "t", CELL_TRUTH, FALSE, "yes" },
        { "t", CELL_TRUTH, TRUE, "true" },
        { "l", CELL_LIST, FALSE, "a, b" },
        { "l", CELL_LIST, TRUE, "a b" },
        { "n", CELL_SIZE, FALSE, "-5 B" },
        { "rate", CELL_COUNT, FALSE, "27.4" },
        { "rate", CELL_COUNT, TRUE, "27.40178277" },
        { "much", CELL_COUNT, FALSE, "1235" },
        { "gone", CELL_SIZE, FALSE, "" },
        { "when", CELL_TIME, TRUE, "2026-11-21T02:24:00Z" },
        { "odd", CELL_TIME, FALSE, "soon" },
        { "when", CELL_TIME, FALSE, "2026-11-21 03:24:00" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        Column column = { "", cases[i].key, cases[i].kind, 0 };
        g_autofree char *got = output_cell_text(object, &column, cases[i].raw);
        g_assert_cmpstr(got, ==, cases[i].want);
    }
    static const struct {
        gint64 n;
        const char *noun, *want;
    } counts[] = {
        { 1, "desktop", "1 desktop" },
        { 0, "desktop", "0 desktops" },
        { 2, "entry", "2 entries" },
    };
    for (guint i = 0; i < G_N_ELEMENTS(counts); i++) {
        g_autofree char *got = output_count_text(counts[i].n, counts[i].noun);
        g_assert_cmpstr(got, ==, counts[i].want);
    }
}

static void test_progress(void)
{
    static const struct {
        gint64 done, total;
        const char *unit;
        gdouble rate;
        const char *want;
    } cases[] = {
        { 512ll << 20, 1ll << 30, "bytes", 256ll << 20,
          " 50 %  512.0 MiB of 1.0 GiB  256.0 MiB/s  2s left" },
        { 5, 10, "desktops", 0, " 50 %  5 of 10 desktops" },
        { 12, 10, "layers", 0, "100 %  12 of 10 layers" },
        { 3, 0, "layers", 1, "3 layers" },
        { 45, 100, "percent", 3, " 45 %" },
        { -1, 0, "bytes", 0, "0 B" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *got =
            progress_text(cases[i].done, cases[i].total, cases[i].unit, cases[i].rate);
        g_assert_cmpstr(got, ==, cases[i].want);
    }
}

/* ---- HTML ---- */

static void test_html(void)
{
    json_auto_t *report = json_loads(
        "{\"created_at\": \"now\", \"rows\": [{\"name\": \"<script>alert(1)</script>\","
        " \"n_desktops\": 100, \"stored_disk_bytes\": 110, \"template_disk_bytes\": 10,"
        " \"diff_disk_bytes\": 100, \"full_copy_disk_bytes\": 1000, \"saved_disk_ratio\": 0.89,"
        " \"largest\": [{\"name\": \"\\\"&'\"}]}], \"totals\": {\"n_desktops\": 100},"
        " \"other\": [{\"name\": \"<b>\"}], \"store_disk_bytes\": 110}",
        0, NULL);
    g_autoptr(GString) escaped = g_string_new(NULL), page = report_html(report);
    json_auto_t *empty = json_object();
    g_autoptr(GString) empty_page = report_html(empty);

    report_html_escape(escaped, "<a href=\"x\">'&'\n\xff");
    g_assert_cmpstr(escaped->str, ==, "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39; \xef\xbf\xbd");
    g_assert_null(strstr(page->str, "<script"));
    g_assert_null(strstr(page->str, "<b>\""));
    g_assert_nonnull(
        strstr(page->str, "&lt;script&gt;alert(1)&lt;/script&gt;: 100 desktops, 89&nbsp;%"));
    g_assert_nonnull(strstr(page->str, "class=\"diff\" style=\"width:10.000%\""));
    g_assert_nonnull(strstr(page->str, "class=\"full\" style=\"width:100.000%\""));
    g_assert_nonnull(strstr(page->str, "&quot;&amp;&#39;"));
    g_assert_true(g_str_has_suffix(empty_page->str, "</html>\n"));
}

/* ---- Files that the user names ---- */

static void test_user_file(void)
{
    g_autofree char *path = g_build_filename(g_get_tmp_dir(), "imaged-user-file-XXXXXX", NULL);
    static const struct {
        const char *text;
        gssize len;
        gboolean is_text;
    } files[] = { { "alice:00ff\n", 11, TRUE }, { "", 0, TRUE }, { "a\0b", 3, FALSE } };
    int fd = g_mkstemp(path);

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_true(g_file_set_contents(path, files[i].text, files[i].len, NULL));
        g_autofree char *got = user_file_read(path, &error);
        g_assert_cmpstr(got, ==, files[i].is_text ? files[i].text : NULL);
        g_assert_true(files[i].is_text ||
                      g_error_matches(error, IMAGED_ERROR, IMAGED_ERROR_INVALID));
    }
    g_autoptr(GError) large = NULL, none = NULL;
    g_assert_cmpint(truncate(path, 1048577), ==, 0);
    g_assert_null(user_file_read(path, &large));
    g_assert_nonnull(strstr(large->message, "too large"));
    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_null(user_file_read(path, &none));
    g_assert_error(none, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND);
    g_assert_true(g_str_has_prefix(none->message, "cannot open '"));
}

static void test_exit_codes(void)
{
    json_auto_t *object =
        json_loads("{\"code\": \"busy\", \"message\": \"a\\nb\", \"hint\": \"h\"}", 0, NULL);
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(cli_exit_code(cli_error_from_json(object, &error)), ==, CLI_BUSY);
    g_assert_cmpstr(error->message, ==, "a b\nh");
    g_assert_cmpint(cli_exit_code(IMAGED_ERROR_NOT_FOUND), ==, 3);
    g_assert_cmpint(cli_exit_code(IMAGED_ERROR_DENIED), ==, 5);
    g_assert_cmpint(cli_exit_code(IMAGED_ERROR_INVALID), ==, 2);
    g_assert_cmpint(cli_exit_code(IMAGED_ERROR_CORRUPT), ==, 1);
}

/* The daemon speaks of fields; who typed options reads options. */
static void test_option_names(void)
{
    static const Option options[] = {
        { "disk-size", OPTION_SIZE, "SIZE", "", NULL },
        { "data-disk", OPTION_SIZE, "SIZE", "", NULL },
        { "join-password-file", OPTION_TEXT, "FILE", "", NULL },
        { "user", OPTION_TEXT, "USER", "", NULL },
        OPTION_END,
    };
    static const Command command = { .verb = "set", .options = options };
    static const char *const cases[][2] = {
        { "'disk_size' is too small", "'--disk-size' is too small" },
        { "'data_disk_size' or 'x'", "'--data-disk' or 'x'" },
        { "identity: 'join_password'", "identity: '--join-password-file'" },
        { "user 'user", "user 'user" },
        { "no size", "no size" },
        { "", "" },
    };
    const Args args = { .command = &command };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text = cli_name_options(&args, cases[i][0], FALSE);
        g_assert_cmpstr(text, ==, cases[i][1]);
    }
}

int main(int argc, char **argv)
{
    /* Times are shown in local time: one that is not UTC, and needs no files of zones. */
    g_setenv("TZ", "XXX-1", TRUE);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cli/args", test_args);
    g_test_add_func("/cli/nearest", test_nearest);
    g_test_add_func("/cli/table", test_table);
    g_test_add_func("/cli/csv", test_csv);
    g_test_add_func("/cli/cells", test_cells);
    g_test_add_func("/cli/progress", test_progress);
    g_test_add_func("/cli/html", test_html);
    g_test_add_func("/cli/user-file", test_user_file);
    g_test_add_func("/cli/exit-codes", test_exit_codes);
    g_test_add_func("/cli/option-names", test_option_names);
    return g_test_run();
}
