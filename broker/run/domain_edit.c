/* domain_edit.c: see domain_edit.h.
 *
 * GLib's parser of markup is enough: libvirt writes no entities of its own and no namespaces that
 * matter here.  What is changed is copied through element by element. */
#include "broker/run/domain_edit.h"

#include <string.h>

#include "imaged/base/error.h"

#define MAX_XML (1u << 20)

/* The names of the elements that are open, from the root. */
static gboolean is_at(GMarkupParseContext *context, const char *const *names)
{
    const GSList *stack = g_markup_parse_context_get_element_stack(context);
    guint n = 0;

    while (names[n])
        n++;
    for (; n-- > 0; stack = stack->next) {
        if (!stack || strcmp(stack->data, names[n]) != 0)
            return FALSE;
    }
    return stack == NULL;
}

static const char *value_of(const char **names, const char **values, const char *name)
{
    for (guint i = 0; names[i]; i++) {
        if (strcmp(names[i], name) == 0)
            return values[i];
    }
    return NULL;
}

static gboolean parse(const char *xml, const GMarkupParser *parser, gpointer user, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (strlen(xml) > MAX_XML) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT, "its host's XML is too long");
        return FALSE;
    }
    g_autoptr(GMarkupParseContext) context = g_markup_parse_context_new(parser, 0, user, NULL);
    if (g_markup_parse_context_parse(context, xml, -1, &local) &&
        g_markup_parse_context_end_parse(context, &local))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT, "its host's XML cannot be read: %s",
                local->message);
    return FALSE;
}

/* ---- Reading ---- */

#define IN_DISK "domain", "devices", "disk"

static void disk_free(gpointer data)
{
    DomainDisk *disk = data;

    g_free(disk->dev);
    g_free(disk->path);
    g_free(disk->copy_path);
    g_free(disk);
}

static void set_once(char **field, const char *value)
{
    if (!*field)
        *field = g_strdup(value);
}

static void read_start(GMarkupParseContext *context, const char *name, const char **names,
                       const char **values, gpointer user, GError **error)
{
    static const char *const disk[] = { IN_DISK, NULL };
    static const char *const source[] = { IN_DISK, "source", NULL };
    static const char *const target[] = { IN_DISK, "target", NULL };
    static const char *const mirror[] = { IN_DISK, "mirror", NULL };
    static const char *const mirror_source[] = { IN_DISK, "mirror", "source", NULL };
    GPtrArray *disks = user;

    if (is_at(context, disk))
        g_ptr_array_add(disks, g_new0(DomainDisk, 1));
    DomainDisk *last = disks->len ? disks->pdata[disks->len - 1] : NULL;
    if (!last)
        return;
    if (is_at(context, source))
        set_once(&last->path, value_of(names, values, "file"));
    else if (is_at(context, target))
        set_once(&last->dev, value_of(names, values, "dev"));
    else if (is_at(context, mirror))
        last->is_ready = g_strcmp0(value_of(names, values, "ready"), "yes") == 0;
    else if (is_at(context, mirror_source))
        set_once(&last->copy_path, value_of(names, values, "file"));
}

GPtrArray *domain_disks(const char *xml, GError **error)
{
    static const GMarkupParser parser = { .start_element = read_start };
    g_autoptr(GPtrArray) out = g_ptr_array_new_with_free_func(disk_free);

    if (!parse(xml, &parser, out, error))
        return NULL;
    for (guint i = 0; i < out->len; i++) {
        if (!((DomainDisk *)out->pdata[i])->dev) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT,
                        "its host's XML has a disk without a name");
            return NULL;
        }
    }
    return g_steal_pointer(&out);
}

const DomainDisk *domain_disk_find(const GPtrArray *disks, const char *path)
{
    for (guint i = 0; i < disks->len; i++) {
        const DomainDisk *disk = disks->pdata[i];
        if (g_strcmp0(disk->path, path) == 0 || g_strcmp0(disk->copy_path, path) == 0)
            return disk;
    }
    return NULL;
}

static void read_password(GMarkupParseContext *context, const char *name, const char **names,
                          const char **values, gpointer user, GError **error)
{
    static const char *const graphics[] = { "domain", "devices", "graphics", NULL };

    if (is_at(context, graphics))
        set_once(user, value_of(names, values, "passwd"));
}

/* The one text that a parser finds; NULL. */
static char *find_text(const char *xml, const GMarkupParser *parser)
{
    char *text = NULL;

    if (!parse(xml, parser, &text, NULL))
        g_clear_pointer(&text, g_free);
    return text;
}

char *domain_display_password(const char *xml)
{
    static const GMarkupParser parser = { .start_element = read_password };

    return find_text(xml, &parser);
}

static const char *const nvram_source[] = { "domain", "os", "nvram", "source", NULL };

static void read_nvram(GMarkupParseContext *context, const char *name, const char **names,
                       const char **values, gpointer user, GError **error)
{
    if (is_at(context, nvram_source))
        set_once(user, value_of(names, values, "file"));
}

char *domain_nvram(const char *xml)
{
    static const GMarkupParser parser = { .start_element = read_nvram };

    return find_text(xml, &parser);
}

/* ---- Changing ---- */

static void add_source(GString *out, const char *path)
{
    g_autofree char *text = g_markup_printf_escaped(
        "<source file='%s'><seclabel model='dac' relabel='no'/></source>", path);

    g_string_append(out, text);
}

char *domain_chain_xml(const char *const *paths)
{
    GString *out = g_string_new(NULL);
    guint n = 0;

    add_source(out, paths[0]);
    for (n = 1; paths[n]; n++) {
        g_string_append(out, "<backingStore type='file'><format type='qcow2'/>");
        add_source(out, paths[n]);
    }
    g_string_append(out, "<backingStore/>");
    while (--n)
        g_string_append(out, "</backingStore>");
    return g_string_free(out, FALSE);
}

typedef struct {
    const DomainMove *move;
    GPtrArray *disks;
    guint n_disks; /* begun */
    guint skipped; /* depth within what is left out, 0: outside */
    GString *out;
} Moving;

/* The paths of the disk that is open, or NULL: it stays as it is. */
static const char *const *new_chain(const Moving *m)
{
    const DomainDisk *disk = m->n_disks ? m->disks->pdata[m->n_disks - 1] : NULL;

    return disk ? g_hash_table_lookup(m->move->chains, disk->dev) : NULL;
}

static const char *new_value(const Moving *m, GMarkupParseContext *context, const char *name,
                             const char *value)
{
    static const char *const graphics[] = { "domain", "devices", "graphics", NULL };
    static const char *const listen[] = { "domain", "devices", "graphics", "listen", NULL };

    if (m->move->listen && ((strcmp(name, "listen") == 0 && is_at(context, graphics)) ||
                            (strcmp(name, "address") == 0 && is_at(context, listen))))
        return m->move->listen;
    if (m->move->valid_to && strcmp(name, "passwdValidTo") == 0 && is_at(context, graphics))
        return m->move->valid_to;
    if (m->move->nvram_path && strcmp(name, "file") == 0 && is_at(context, nvram_source))
        return m->move->nvram_path;
    return value;
}

static void move_start(GMarkupParseContext *context, const char *name, const char **names,
                       const char **values, gpointer user, GError **error)
{
    static const char *const disk[] = { IN_DISK, NULL };
    static const char *const source[] = { IN_DISK, "source", NULL };
    static const char *const backing[] = { IN_DISK, "backingStore", NULL };
    Moving *m = user;

    if (m->skipped) {
        m->skipped++;
        return;
    }
    if (is_at(context, disk))
        m->n_disks++;
    gboolean is_source = is_at(context, source);
    if ((is_source || is_at(context, backing)) && new_chain(m)) {
        m->skipped = 1;
        g_autofree char *chain = is_source ? domain_chain_xml(new_chain(m)) : g_strdup("");
        g_string_append(m->out, chain);
        return;
    }
    g_string_append_printf(m->out, "<%s", name);
    for (guint i = 0; names[i]; i++) {
        const char *value = new_value(m, context, names[i], values[i]);
        g_autofree char *text = g_markup_printf_escaped(" %s='%s'", names[i], value);
        g_string_append(m->out, text);
    }
    g_string_append_c(m->out, '>');
}

static void move_end(GMarkupParseContext *context, const char *name, gpointer user, GError **error)
{
    Moving *m = user;

    if (m->skipped)
        m->skipped--;
    else
        g_string_append_printf(m->out, "</%s>", name);
}

static void move_text(GMarkupParseContext *context, const char *text, gsize length, gpointer user,
                      GError **error)
{
    Moving *m = user;
    g_autofree char *escaped = g_markup_escape_text(text, (gssize)length);

    if (!m->skipped)
        g_string_append(m->out, escaped);
}

char *domain_moved_xml(const char *xml, const DomainMove *move, GError **error)
{
    static const GMarkupParser parser = { .start_element = move_start,
                                          .end_element = move_end,
                                          .text = move_text };
    g_autoptr(GPtrArray) disks = domain_disks(xml, error);
    Moving m = { .move = move, .disks = disks };

    if (!disks)
        return NULL;
    m.out = g_string_new(NULL);
    gboolean ok = parse(xml, &parser, &m, error);
    return g_string_free(m.out, !ok);
}
