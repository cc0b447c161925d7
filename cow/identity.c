/* identity.c: see identity.h.  Written by hand rather than through a JSON tree: ids and names are
 * of known alphabets that need no escapes, and a batch makes thousands of them. */
#include "cow/identity.h"

#include <jansson.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"

char *identity_to_json(const Identity *i)
{
    return g_strdup_printf("{\"v\":1,\"id\":\"%s\",\"parent\":%s%s%s,\"owner_kind\":\"%s\","
                           "\"owner\":\"%s\",\"name\":\"%s\",\"generation\":%" G_GINT64_FORMAT
                           ",\"created\":%" G_GINT64_FORMAT "%s%s%s}",
                           i->id, i->parent ? "\"" : "", i->parent ? i->parent : "null",
                           i->parent ? "\"" : "", i->owner_kind, i->owner_id, i->owner_name,
                           i->generation, i->created_at, i->slot ? ",\"slot\":\"" : "",
                           i->slot ? i->slot : "", i->slot ? "\"" : "");
}

void identity_clear(Identity *i)
{
    g_clear_pointer(&i->id, g_free);
    g_clear_pointer(&i->parent, g_free);
    g_clear_pointer(&i->owner_kind, g_free);
    g_clear_pointer(&i->owner_id, g_free);
    g_clear_pointer(&i->owner_name, g_free);
    g_clear_pointer(&i->slot, g_free);
}

gboolean identity_parse(const char *text, Identity *ret, GError **error)
{
    const char *id, *parent = NULL, *owner_kind, *owner_id, *owner_name, *slot = NULL;
    json_int_t v, generation, created;
    json_t *root = strlen(text) <= IDENTITY_MAX ? json_loads(text, 0, NULL) : NULL;
    json_t *above = NULL;

    gboolean ok = root &&
                  json_unpack_ex(root, NULL, JSON_STRICT, "{s:I,s:s,s:o,s:s,s:s,s:s,s:I,s:I,s?s}",
                                 "v", &v, "id", &id, "parent", &above, "owner_kind", &owner_kind,
                                 "owner", &owner_id, "name", &owner_name, "generation", &generation,
                                 "created", &created, "slot", &slot) == 0 &&
                  v == 1 && id_is_valid(id) && id_is_valid(owner_id) &&
                  (!slot || id_is_valid(slot)) && (json_is_null(above) || json_is_string(above)) &&
                  (g_str_equal(owner_kind, "template") || g_str_equal(owner_kind, "desktop") ||
                   g_str_equal(owner_kind, "data") || g_str_equal(owner_kind, "stand-in")) &&
                  generation >= 0 && name_check("layer owner's", owner_name, NULL);
    if (ok && json_is_string(above)) {
        parent = json_string_value(above);
        ok = id_is_valid(parent);
    }
    if (ok) {
        *ret = (Identity){ g_strdup(id),       g_strdup(parent),     g_strdup(owner_kind),
                           g_strdup(owner_id), g_strdup(owner_name), generation,
                           created,          g_strdup(slot) };
    } else {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT,
                    "the layer's identity is not readable");
    }
    json_decref(root);
    return ok;
}
