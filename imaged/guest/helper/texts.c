/* texts.c: see texts.h. */
#include "imaged/guest/helper/texts.h"

#include <string.h>

char *texts_clean(const char *bytes, gsize len)
{
    g_autofree char *valid = g_utf8_make_valid(bytes, (gssize)MIN(len, (gsize)TEXT_MAX));
    GString *out = g_string_new(NULL);

    for (const char *p = valid; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        char one[6];
        gint n = g_unichar_to_utf8(g_unichar_iscntrl(c) ? '?' : c, one);
        if (out->len + (gsize)n > TEXT_MAX)
            break;
        g_string_append_len(out, one, n);
    }
    return g_string_free(out, FALSE);
}

/* The next line from *at on, without its end; FALSE at the end of the text. */
static gboolean next_line(const char **at, const char *end, const char **ret_line, gsize *ret_len)
{
    if (*at >= end)
        return FALSE;
    const char *stop = memchr(*at, '\n', (gsize)(end - *at));
    *ret_line = *at;
    *ret_len = (gsize)((stop ? stop : end) - *at);
    *at = stop ? stop + 1 : end;
    return TRUE;
}

/* ---- Packages ---- */

static void free_package(gpointer data)
{
    Package *p = data;

    g_free(p->name);
    g_free(p->version);
    g_free(p->arch);
    g_free(p);
}

void packages_init(Packages *p)
{
    *p = (Packages){ .list = g_ptr_array_new_with_free_func(free_package) };
}

void packages_clear(Packages *p)
{
    g_clear_pointer(&p->list, g_ptr_array_unref);
}

void packages_add(Packages *packages, const char *name, const char *version, const char *arch)
{
    if (packages->list->len >= PACKAGES_MAX) {
        packages->is_cut = TRUE;
        return;
    }
    Package *p = g_new0(Package, 1);
    p->name = texts_clean(name, strlen(name));
    p->version = texts_clean(version, strlen(version));
    p->arch = texts_clean(arch, strlen(arch));
    g_ptr_array_add(packages->list, p);
}

gboolean packages_have(const Packages *packages, const char *name)
{
    for (guint i = 0; i < packages->list->len; i++) {
        const Package *p = packages->list->pdata[i];
        if (g_str_equal(p->name, name))
            return TRUE;
    }
    return FALSE;
}

/* One paragraph of a package database, as far as it was read. */
typedef struct {
    char *name, *version, *arch;
    gboolean is_installed;
} Stanza;

static void end_stanza(Stanza *s, Packages *packages)
{
    if (s->is_installed && s->name && *s->name)
        packages_add(packages, s->name, s->version ? s->version : "", s->arch ? s->arch : "");
    g_free(s->name);
    g_free(s->version);
    g_free(s->arch);
    *s = (Stanza){ 0 };
}

/* If line is "KEY VALUE" with key's text (colon included), put its value into *slot. */
static gboolean take_field(const char *line, gsize len, const char *key, char **slot)
{
    gsize n = strlen(key);

    if (len < n || g_ascii_strncasecmp(line, key, n) != 0)
        return FALSE;
    g_autofree char *value = g_strndup(line + n, MIN(len - n, (gsize)TEXT_MAX));
    g_free(*slot);
    *slot = g_strdup(g_strstrip(value));
    return TRUE;
}

void dpkg_status_parse(const char *text, gsize len, Packages *packages)
{
    const char *at = text, *line;
    Stanza s = { 0 };
    gsize n;

    while (next_line(&at, text + len, &line, &n)) {
        g_autofree char *status = NULL;
        if (n == 0 || (n == 1 && *line == '\r'))
            end_stanza(&s, packages);
        else if (take_field(line, n, "Status:", &status)) /* "install ok installed" */
            s.is_installed = g_str_has_suffix(status, " installed");
        else if (!take_field(line, n, "Package:", &s.name) &&
                 !take_field(line, n, "Version:", &s.version))
            take_field(line, n, "Architecture:", &s.arch);
    }
    end_stanza(&s, packages);
}

void apk_installed_parse(const char *text, gsize len, Packages *packages)
{
    const char *at = text, *line;
    Stanza s = { 0 };
    gsize n;

    while (next_line(&at, text + len, &line, &n)) {
        if (n == 0) {
            end_stanza(&s, packages);
            continue;
        }
        s.is_installed = TRUE;
        if (line[0] == 'P')
            take_field(line, n, "P:", &s.name);
        else if (line[0] == 'V')
            take_field(line, n, "V:", &s.version);
        else if (line[0] == 'A')
            take_field(line, n, "A:", &s.arch);
    }
    end_stanza(&s, packages);
}

/* ---- The system ---- */

/* A value as a shell reads it: in quotes or not, with backslashes. */
static char *unquote(const char *value, gsize len)
{
    GString *out = g_string_new(NULL);
    char quote = len && (*value == '"' || *value == '\'') ? *value : 0;

    for (gsize i = quote ? 1 : 0; i < len && out->len < TEXT_MAX; i++) {
        if (quote ? value[i] == quote : g_ascii_isspace(value[i]))
            break;
        if (value[i] == '\\' && quote != '\'' && i + 1 < len)
            i++;
        g_string_append_c(out, value[i]);
    }
    char *clean = texts_clean(out->str, out->len);
    g_string_free(out, TRUE);
    return clean;
}

char *os_release_get(const char *text, gsize len, const char *key)
{
    const char *at = text, *line;
    gsize n, key_len = strlen(key);

    while (next_line(&at, text + len, &line, &n)) {
        if (n > key_len && memcmp(line, key, key_len) == 0 && line[key_len] == '=')
            return unquote(line + key_len + 1, n - key_len - 1);
    }
    return NULL;
}

char *hostname_parse(const char *text, gsize len)
{
    const char *at = text, *line;
    gsize n;

    while (next_line(&at, text + len, &line, &n)) {
        g_autofree char *word = g_strndup(line, MIN(n, (gsize)TEXT_MAX));
        g_strstrip(word);
        word[strcspn(word, " \t")] = 0;
        if (*word && *word != '#')
            return texts_clean(word, strlen(word));
    }
    return NULL;
}

static void free_user(gpointer data)
{
    GuestUser *u = data;

    g_free(u->name);
    g_free(u->home);
    g_free(u);
}

/* The fields of a line of passwd: name:password:uid:gid:comment:home:shell. */
static void add_user(const char *line, gsize len, GPtrArray *users)
{
    g_autofree char *copy = g_strndup(line, MIN(len, (gsize)4096));
    g_auto(GStrv) fields = g_strsplit(copy, ":", 8);
    guint64 uid;

    if (g_strv_length(fields) != 7 || !*fields[0] ||
        !g_ascii_string_to_unsigned(fields[2], 10, 0, G_MAXUINT32, &uid, NULL) ||
        (uid != 0 && (uid < 1000 || uid >= 60000)))
        return;
    GuestUser *u = g_new0(GuestUser, 1);
    u->name = texts_clean(fields[0], strlen(fields[0]));
    u->home = texts_clean(fields[5], strlen(fields[5]));
    u->uid = (guint32)uid;
    g_ptr_array_add(users, u);
}

GPtrArray *passwd_parse(const char *text, gsize len)
{
    GPtrArray *users = g_ptr_array_new_with_free_func(free_user);
    const char *at = text, *line;
    gsize n;

    while (users->len < USERS_MAX && next_line(&at, text + len, &line, &n))
        add_user(line, n, users);
    return users;
}

char *id_name_parse(const char *text, gsize len, guint32 id)
{
    const char *at = text, *line;
    gsize n;

    while (next_line(&at, text + len, &line, &n)) {
        g_autofree char *copy = g_strndup(line, MIN(n, (gsize)4096));
        g_auto(GStrv) fields = g_strsplit(copy, ":", 4);
        guint64 found;
        if (g_strv_length(fields) >= 3 && *fields[0] &&
            g_ascii_string_to_unsigned(fields[2], 10, 0, G_MAXUINT32, &found, NULL) && found == id)
            return texts_clean(fields[0], strlen(fields[0]));
    }
    return NULL;
}

static void free_mount(gpointer data)
{
    GuestMount *m = data;

    g_free(m->device);
    g_free(m->where);
    g_free(m->type);
    g_free(m);
}

/* fstab writes a blank as \040. */
static char *unescape_octal(const char *word)
{
    GString *out = g_string_new(NULL);

    for (const char *p = word; *p; p++) {
        if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' &&
            p[3] >= '0' && p[3] <= '7') {
            char c = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
            if (c)
                g_string_append_c(out, c);
            p += 3;
        } else {
            g_string_append_c(out, *p);
        }
    }
    return g_string_free(out, FALSE);
}

GPtrArray *fstab_parse(const char *text, gsize len)
{
    GPtrArray *mounts = g_ptr_array_new_with_free_func(free_mount);
    const char *at = text, *line;
    gsize n;

    while (mounts->len < MOUNTS_MAX && next_line(&at, text + len, &line, &n)) {
        g_autofree char *copy = g_strndup(line, MIN(n, (gsize)4096));
        char *words[3] = { NULL }, *rest = copy, *word;
        guint n_words = 0;
        while (n_words < 3 && (word = strsep(&rest, " \t\r"))) {
            if (*word)
                words[n_words++] = word;
        }
        if (n_words < 3 || words[0][0] == '#' || words[1][0] != '/')
            continue;
        GuestMount *m = g_new0(GuestMount, 1);
        m->device = g_strdup(words[0]);
        m->where = unescape_octal(words[1]);
        m->type = g_strdup(words[2]);
        g_ptr_array_add(mounts, m);
    }
    return mounts;
}
