/* pool_fixture.h: a catalog with a template, a pool and desktops in it, without any storage. */
#pragma once

#include "tests/unit/catalog_fixture.h"

#include "broker/pool/pick.h"
#include "imaged/base/units.h"

#define T1 "t0000000000000000000000000000001"
#define V1 "v0000000000000000000000000000001"
#define V2 "v0000000000000000000000000000002"
#define P1 "p0000000000000000000000000000001"

typedef struct {
    World world;
} PoolFixture;

static inline void sql(PoolFixture *f, const char *text)
{
    Changes *changes = changes_new();

    changes_sql(changes, g_intern_string(text), "");
    commit(f->world.catalog, changes);
}

/* printf into one statement. */
G_GNUC_PRINTF(2, 3) static inline void sqlf(PoolFixture *f, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    sql(f, text);
}

static inline gint64 number(PoolFixture *f, const char *text)
{
    return count_of(f->world.catalog, g_intern_string(text));
}

static inline void add_version(PoolFixture *f, const char *id, int n, const char *state)
{
    sqlf(f,
         "INSERT INTO version (id, template_id, version, state, is_trashed, layer_id, cpus,"
         " memory_bytes, os, description, source, notes, created_at, changed_at) VALUES ('%s',"
         " '" T1 "', %d, '%s', 0, 'base%d', 1, 1, '', '', '', '', 0, 0)",
         id, n, state, n);
    sqlf(f,
         "INSERT INTO layer (id, slot, store_id, parent_id, owner_kind, owner_id, generation,"
         " state, place, virtual_size, created_at) VALUES ('base%d', 'base%d', 's', NULL,"
         " 'template', '%s', %d, 'frozen', 'layers', 1, 0)",
         n, n, id, n);
}

/* A layer of desktop number n. */
static inline void add_layer(PoolFixture *f, const char *id, const char *parent, int n,
                             int generation)
{
    sqlf(f,
         "INSERT INTO layer (id, slot, store_id, parent_id, owner_kind, owner_id, generation,"
         " state, place, virtual_size, created_at) VALUES ('%s', '%s', 's', '%s', 'desktop',"
         " 'd%d', %d, 'active', 'layers', 1, 0)",
         id, id, parent, n, generation);
}

/* Desktop number n of the pool, free. */
static inline void add_member(PoolFixture *f, int n, const char *version)
{
    g_autofree char *layer = g_strdup_printf("l%d-1", n);

    add_layer(f, layer, g_str_equal(version, V1) ? "base1" : "base2", n, 1);
    sqlf(f,
         "INSERT INTO desktop (id, name, version_id, owner, generation, layer_id, store_id, mac,"
         " uuid, state, is_trashed, created_at, changed_at) VALUES ('d%d', 'lab-%03d', '%s', '',"
         " 1, '%s', 's', '', '', 'ok', 0, 0, 0)",
         n, n, version, layer);
    sqlf(f,
         "INSERT INTO pool_desktop (desktop_id, pool_id, state, clean_generation, n_extensions,"
         " changed_at) VALUES ('d%d', '" P1 "', 'free', 1, 0, %d)",
         n, n);
}

static inline void add_pool(PoolFixture *f, const char *type, int max_per_user,
                            const char *settings)
{
    sqlf(f,
         "INSERT INTO pool (id, name, type, template_id, size, spares, max_per_user,"
         " disconnect_limit_s, settings, created_at, changed_at) VALUES ('" P1 "', 'lab', '%s',"
         " '" T1 "', 10, 0, %d, 7200, '%s', 0, 0)",
         type, max_per_user, settings);
    sql(f, "INSERT INTO pool_grant VALUES ('" P1 "', 'group', 'staff', 0)");
}

static inline void add_user(PoolFixture *f, int n)
{
    sqlf(f,
         "INSERT INTO user (id, name, name_key, full_name, email, is_disabled, created_at,"
         " changed_at) VALUES ('u%d', 'u%d', 'u%d', '', '', 0, 0, 0)",
         n, n, n);
    sqlf(f, "INSERT INTO group_member VALUES ('staff', 'u%d')", n);
}

static inline void pool_set_up(PoolFixture *f, gconstpointer unused)
{
    catalog_fixture_start();
    memset(f, 0, sizeof *f);
    f->world.catalog = catalog_open_named("pool");
    f->world.claims = claims_new();
    f->world.pools = pools_new(&f->world);
    sql(f, "INSERT INTO template VALUES ('" T1 "', 'office', 1, 0, 0, 0)");
    add_version(f, V1, 1, "published");
}

static inline void pool_tear_down(PoolFixture *f, gconstpointer unused)
{
    pools_free(f->world.pools);
    claims_free(f->world.claims);
    catalog_close(f->world.catalog);
    catalog_fixture_end();
}

static inline PickAsk ask_of(const char *user)
{
    return (PickAsk){ .user_id = user, .pool_id = P1 };
}
