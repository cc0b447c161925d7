/* message.c: see message.h.  The text of a mail is base64, its subject plain ASCII. */
#include "broker/alert/message.h"

#include <jansson.h>
#include <sodium.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

#define SUBJECT_MAX 150
#define LINE_BYTES 57 /* of the text, in one line of base64 */

void alert_event_free(gpointer data)
{
    AlertEvent *e = data;

    g_free(e->kind);
    g_free(e->severity);
    g_free(e->object);
    g_free(e->who);
    g_free(e->message);
    g_free(e);
}

/* ---- A webhook's body ---- */

static json_t *event_json(const AlertEvent *e)
{
    g_autofree char *id = g_strdup_printf("%" G_GINT64_FORMAT, e->id);
    g_autofree char *time = units_format_time(e->time);
    g_autofree char *object = g_utf8_make_valid(e->object, -1);
    g_autofree char *who = g_utf8_make_valid(e->who, -1);
    g_autofree char *message = g_utf8_make_valid(e->message, -1);

    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "id", id, "name", e->kind, "time", time,
                     "severity", e->severity, "object", object, "who", who, "message", message);
}

char *alert_message_json(const AlertMessage *m, gint64 now_ms)
{
    g_autofree char *time = units_format_time(now_ms);
    json_t *events = json_array();

    for (guint i = 0; i < m->events->len; i++)
        json_array_append_new(events, event_json(m->events->pdata[i]));
    json_t *body = json_pack("{s:s,s:s,s:s,s:I,s:o}", "alert", m->alert, "manager", m->manager,
                             "sent_at", time, "n_lost", (json_int_t)m->n_lost, "events", events);
    char *text = json_dumps(body, JSON_COMPACT);
    char *out = g_strdup(text);
    free(text);
    json_decref(body);
    return out;
}

char *alert_message_sign(const char *body, const char *secret)
{
    guint8 mac[crypto_auth_hmacsha256_BYTES];
    char hex[2 * sizeof mac + 1];
    crypto_auth_hmacsha256_state state;

    crypto_auth_hmacsha256_init(&state, (const guint8 *)secret, strlen(secret));
    crypto_auth_hmacsha256_update(&state, (const guint8 *)body, strlen(body));
    crypto_auth_hmacsha256_final(&state, mac);
    sodium_memzero(&state, sizeof state);
    return g_strdup(sodium_bin2hex(hex, sizeof hex, mac, sizeof mac));
}

/* ---- A mail ---- */

static const AlertEvent *worst_of(const GPtrArray *events)
{
    static const char *const ranks[] = { "alarm", "warning" };

    for (guint r = 0; r < G_N_ELEMENTS(ranks); r++) {
        for (guint i = 0; i < events->len; i++) {
            if (g_str_equal(((AlertEvent *)events->pdata[i])->severity, ranks[r]))
                return events->pdata[i];
        }
    }
    return events->pdata[0];
}

/* In the system's own time, as mail programs write it, whatever the language here is. */
static char *mail_date(gint64 ms)
{
    static const char *const days[] = { "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun" };
    static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    g_autoptr(GDateTime) t = g_date_time_new_from_unix_utc(ms / 1000);

    return g_strdup_printf("%s, %02d %s %d %02d:%02d:%02d +0000",
                           days[g_date_time_get_day_of_week(t) - 1],
                           g_date_time_get_day_of_month(t), months[g_date_time_get_month(t) - 1],
                           g_date_time_get_year(t), g_date_time_get_hour(t),
                           g_date_time_get_minute(t), g_date_time_get_second(t));
}

static char *mail_text(const AlertMessage *m)
{
    GString *out = g_string_new(NULL);

    if (m->n_lost)
        g_string_append_printf(out,
                               "%" G_GINT64_FORMAT " older events were deleted before they could be"
                               " told of.\n\n",
                               m->n_lost);
    for (guint i = 0; i < m->events->len; i++) {
        const AlertEvent *e = m->events->pdata[i];
        g_autofree char *time = units_format_time(e->time);
        g_string_append_printf(out, "%s  %s  %s  %s\n    %s\n", time, e->severity, e->kind,
                               e->object, e->message);
        if (!g_str_equal(e->who, "imaged"))
            g_string_append_printf(out, "    by %s\n", e->who);
    }
    g_string_append_printf(out, "\n-- \nimaged, alert %s; all of them: imagectl event list\n",
                           m->alert);
    return g_string_free(out, FALSE);
}

static void add_base64(GString *out, const char *text)
{
    gsize len = strlen(text);

    for (gsize at = 0; at < len; at += LINE_BYTES) {
        g_autofree char *line =
            g_base64_encode((const guint8 *)text + at, MIN((gsize)LINE_BYTES, len - at));
        g_string_append_printf(out, "%s\n", line);
    }
}

char *alert_message_mail(const AlertMessage *m, const char *from, const char *to,
                         const char *hostname, gint64 now_ms)
{
    const AlertEvent *worst = worst_of(m->events), *last = m->events->pdata[m->events->len - 1];
    g_autofree char *date = mail_date(now_ms);
    g_autofree char *text = mail_text(m);
    g_autofree char *more =
        m->events->len > 1 ? g_strdup_printf(" and %u more", m->events->len - 1) : g_strdup("");
    g_autofree char *object = text_for_message(worst->object, 60);
    g_autofree char *words =
        g_strdup_printf("imaged: %s: %s %s%s", worst->severity, worst->kind, object, more);
    g_autofree char *subject = text_for_message(words, SUBJECT_MAX);
    GString *out = g_string_new(NULL);

    if (from)
        g_string_append_printf(out, "From: %s\n", from);
    g_string_append_printf(out, "To: %s\nDate: %s\nSubject: %s\n", to, date, subject);
    g_string_append_printf(out, "Message-ID: <%s.%s.%" G_GINT64_FORMAT "@%s>\n", m->manager,
                           m->alert, last->id, hostname);
    g_string_append(out, "Auto-Submitted: auto-generated\nMIME-Version: 1.0\n"
                         "Content-Type: text/plain; charset=utf-8\n"
                         "Content-Transfer-Encoding: base64\n\n");
    add_base64(out, text);
    return g_string_free(out, FALSE);
}

gboolean alert_check_address(const char *address, GError **error)
{
    const char *at = strchr(address, '@');
    gsize name_len = at ? (gsize)(at - address) : strlen(address);
    gboolean ok = name_len > 0 && name_len <= 64 && *address != '-' && strlen(address) <= 254 &&
                  (!at || (at[1] && at[1] != '-'));

    for (const char *c = address; ok && *c; c++)
        ok = g_ascii_isalnum(*c) || *c == '.' || *c == '-' ||
             (c < address + name_len && strchr("+_=", *c)) || c == at;
    if (ok)
        return TRUE;
    g_autofree char *shown = text_for_message(address, 80);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is no address of a mailbox",
                shown);
    imaged_error_hint(error, "NAME@DOMAIN alone, without a person's name; one for each alert");
    return FALSE;
}
