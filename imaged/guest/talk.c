/* talk.c: a line is parsed only when it is complete, is no longer than GUEST_LINE_MAX and has no
 * more than MAX_VALUES values, so that a hostile one cannot make the parser take memory without
 * end. */
#include "imaged/guest/talk.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/guest/protocol.h"

#define MAX_VALUES 1000000u
#define MAX_EVENT_TEXT 4096u
#define MAX_ERROR_TEXT 2000u

struct GuestTalk {
    GuestEvents events;
    GString *line;
    gsize data_left; /* bytes of a "data" event still to come */
    guint64 n_data;  /* of all of them that came */
    json_t *result;
    gboolean is_over;
};

GuestTalk *guest_talk_new(const GuestEvents *events)
{
    GuestTalk *talk = g_new0(GuestTalk, 1);

    if (events)
        talk->events = *events;
    talk->line = g_string_new(NULL);
    return talk;
}

void guest_talk_free(GuestTalk *talk)
{
    g_string_free(talk->line, TRUE);
    json_decref(talk->result);
    g_free(talk);
}

json_t *guest_talk_steal_result(GuestTalk *talk)
{
    return g_steal_pointer(&talk->result);
}

guint64 guest_talk_n_data(const GuestTalk *talk)
{
    return talk->n_data;
}

static gboolean refuse(const char *why, GError **error)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "it said what makes no sense: %s",
                why);
    return FALSE;
}

/* ---- The kinds of message ---- */

static char *checked_text(const json_t *object, const char *key, gsize max)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text_for_message(text ? text : "", max);
}

static gboolean take_progress(GuestTalk *talk, const json_t *event, GError **error)
{
    json_int_t done = json_integer_value(json_object_get(event, "done"));
    json_int_t total = json_integer_value(json_object_get(event, "total"));
    g_autofree char *message = checked_text(event, "message", MAX_EVENT_TEXT);

    if (done < 0 || total < 0)
        return refuse("a negative progress", error);
    if (talk->events.progress)
        talk->events.progress(talk->events.user, (guint64)MIN(done, total), (guint64)total,
                              *message ? message : NULL);
    return TRUE;
}

static gboolean take_data(GuestTalk *talk, const json_t *event, GError **error)
{
    json_int_t n = json_integer_value(json_object_get(event, "bytes"));

    if (n <= 0 || n > (json_int_t)GUEST_DATA_MAX)
        return refuse("data of no possible length", error);
    if (!talk->events.data)
        return refuse("data that nobody asked for", error);
    talk->data_left = (gsize)n;
    return TRUE;
}

static gboolean take_event(GuestTalk *talk, const json_t *event, const char *kind, GError **error)
{
    gboolean is_warning = g_str_equal(kind, "warning");

    if (g_str_equal(kind, "progress"))
        return take_progress(talk, event, error);
    if (g_str_equal(kind, "data"))
        return take_data(talk, event, error);
    if (is_warning || g_str_equal(kind, "log")) {
        g_autofree char *text = checked_text(event, "text", MAX_EVENT_TEXT);
        if (is_warning && talk->events.warning)
            talk->events.warning(talk->events.user, text);
        if (!is_warning && talk->events.log)
            talk->events.log(talk->events.user, text);
        return TRUE;
    }
    return refuse("an unknown event", error);
}

static gboolean take_error(const json_t *object, GError **error)
{
    const char *name = json_string_value(json_object_get(object, "code"));
    g_autofree char *message = checked_text(object, "message", MAX_ERROR_TEXT);
    g_autofree char *hint = checked_text(object, "hint", MAX_ERROR_TEXT);
    ImagedError code = name ? imaged_error_from_name(name) : IMAGED_ERROR_FAILED;

    if (!*message)
        return refuse("an error without a reason", error);
    if (code == IMAGED_ERROR_CANCELLED || code == IMAGED_ERROR_RESCUE)
        code = IMAGED_ERROR_FAILED; /* nobody but us can say that */
    g_set_error(error, IMAGED_ERROR, code, "%s", message);
    if (*hint)
        imaged_error_hint(error, "%s", hint);
    return FALSE;
}

/* ---- Lines ---- */

static gboolean is_too_rich(const GString *line)
{
    guint n = 0;

    for (gsize i = 0; i < line->len; i++)
        n += strchr(",[{", line->str[i]) != NULL && line->str[i];
    return n > MAX_VALUES;
}

static gboolean take_line(GuestTalk *talk, GError **error)
{
    if (talk->is_over)
        return refuse("words after the last one", error);
    if (is_too_rich(talk->line))
        return refuse("a line with too many values", error);
    json_t *root = json_loadb(talk->line->str, talk->line->len, JSON_REJECT_DUPLICATES, NULL);
    const char *kind = json_string_value(json_object_get(root, "event"));
    json_t *result = json_object_get(root, "result");
    json_t *failure = json_object_get(root, "error");
    gboolean ok = TRUE;

    g_string_truncate(talk->line, 0);
    if (kind) {
        ok = take_event(talk, root, kind, error);
    } else if (json_is_object(result)) {
        talk->result = json_incref(result);
        talk->is_over = TRUE;
    } else if (json_is_object(failure)) {
        talk->is_over = TRUE;
        ok = take_error(failure, error);
    } else {
        ok = refuse(root ? "neither an event nor a result" : "a line that is not JSON", error);
    }
    json_decref(root);
    return ok;
}

gboolean guest_talk_take(GuestTalk *talk, const char *bytes, gsize n, GError **error)
{
    while (n) {
        if (talk->data_left) {
            gsize part = MIN(n, talk->data_left);
            if (!talk->events.data(talk->events.user, bytes, part, error))
                return FALSE;
            talk->data_left -= part;
            talk->n_data += part;
            bytes += part;
            n -= part;
            continue;
        }
        const char *end = memchr(bytes, '\n', n);
        gsize part = end ? (gsize)(end - bytes) : n;
        if (talk->line->len + part > GUEST_LINE_MAX)
            return refuse("a line that is too long", error);
        g_string_append_len(talk->line, bytes, (gssize)part);
        if (!end)
            return TRUE;
        if (!take_line(talk, error))
            return FALSE;
        bytes += part + 1;
        n -= part + 1;
    }
    return TRUE;
}
