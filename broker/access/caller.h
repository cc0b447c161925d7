/* caller.h: who asks for something, and how much he may do and see.
 *
 * A caller is made when a request comes in and lives as long as it.  What he may do is a list of
 * grants: permissions, each within a scope (everything, a template, a pool, a desktop), or for what
 * is his own.  A token can only take away from that.  Any thread; one thread at a time uses one
 * caller. */
#pragma once

#include <jansson.h>
#include <sys/types.h>

#include "broker/access/permission.h"
#include "imaged/base/ident.h"
#include "imaged/catalog/db.h"

typedef enum { SCOPE_ALL, SCOPE_TEMPLATE, SCOPE_POOL, SCOPE_DESKTOP } ScopeKind;

/* "all", "template", "pool", "desktop". */
const char *scope_kind_name(ScopeKind kind);
gboolean scope_kind_parse(const char *text, ScopeKind *ret); /* FALSE: none of these */

typedef struct {
    PermissionSet permissions;
    gboolean is_own; /* only for the caller's own desktops, sessions ... in the scope */
    ScopeKind kind;
    char scope_id[ID_LEN + 1]; /* empty for everything */
} Grant;

typedef struct {
    char *user_id;     /* of the row in user; NULL: root or the daemon's own user */
    char *token_id;    /* of the row in token that he came with, or NULL */
    char *name;
    char *address;     /* the client's, or NULL: the unix socket */
    char *who;         /* for events and jobs: NAME, or NAME from ADDRESS */
    gboolean is_admin; /* may everything, everywhere */
    GArray *grants;    /* of Grant */
    Grant *limit;      /* of his token, or NULL: no more than that */
} Caller;

/* root, the daemon's own user, or a test: everything. */
Caller *caller_new_admin(const char *name);

/* Who is at the other end of the unix socket.  Other users than root and the daemon's are the local
 * user of that name.  DENIED: there is none, or he is disabled. */
Caller *caller_new_local(Db *db, uid_t uid, GError **error);

/* A user by his row's id.  DENIED likewise. */
Caller *caller_new_user(Db *db, const char *user_id, const char *address, GError **error);

/* He came with a token that is good for less (permissions as in a row; NULL: all of his). */
void caller_limit(Caller *caller, const char *permissions, ScopeKind kind, const char *scope_id);

void caller_free(Caller *caller);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Caller, caller_free)

/* Has he the permission for everything there is?  For anything at all?  NULL has none. */
gboolean caller_may_everywhere(const Caller *caller, Permission permission);
gboolean caller_may_somewhere(const Caller *caller, Permission permission);

/* A condition for the rows of object (desktop, template, version, pool, session, user, group, host,
 * snapshot, trash, archive, event, job, ...) under this alias for which the caller has the
 * permission: SQL made of our own words, of ids and of hexadecimal digits alone, such as
 * "d.id IN (...)"; NULL: all of them; "0": none.  Use it in a statement for db_query_once().
 * Caller frees. */
char *access_sql(const Caller *caller, Permission permission, const char *object,
                 const char *alias);

/* The same of those that he may see. */
char *access_visible_sql(const Caller *caller, const char *object, const char *alias);

/* The same as a JSON array of ids, for a statement that is a literal ("?5 IS NULL OR d.id IN
 * (SELECT value FROM json_each(?5))"); NULL: all.  object: desktop, template, pool, snapshot.
 * Caller frees. */
char *access_visible_ids(Db *db, const Caller *caller, const char *object);

/* ---- the check before an operation ---- */

typedef enum {
    ACCESS_ON_ALL,  /* needs the permission for everything */
    ACCESS_ON_LIST, /* for anything: the operation shows or touches only what access_sql() says */
    ACCESS_ON_DESKTOPS, /* those that desktop, names, prefix, template, all select; "to" is a
                           template */
    ACCESS_ON_TEMPLATE, /* template: NAME or NAME:VERSION; from, to likewise */
    ACCESS_ON_POOL,     /* pool */
    ACCESS_ON_SESSION,  /* session: an id */
    ACCESS_ON_REF,      /* ref: a desktop, template version, snapshot, as for an export */
    ACCESS_ON_JOB,      /* job: one's own always */
    ACCESS_ON_USER,     /* user: oneself always */
} AccessOn;

/* May the caller do this with what the arguments name?  DENIED says which permission he lacks;
 * NOT_FOUND: he may not even see it.  Things that are not there pass: the operation says so. */
gboolean access_check(Db *db, const Caller *caller, Permission permission, AccessOn on,
                      const json_t *args, GError **error);

/* The same for one thing by its id: of desktop, template, pool, session, user.  name is for the
 * message. */
gboolean access_check_id(Db *db, const Caller *caller, Permission permission, const char *object,
                         const char *id, const char *name, GError **error);
