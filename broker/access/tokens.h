/* tokens.h: what stands for a user on TCP: made on purpose, or by a log-in.  The catalog keeps only
 * the hash.  Any thread. */
#pragma once

#include "broker/access/caller.h"
#include "imaged/catalog/catalog.h"

typedef struct {
    const char *name; /* for people */
    const char *user_id;
    const char *user_name;   /* for the event */
    const char *permissions; /* as a row has them; NULL: all of the user's */
    ScopeKind scope_kind;
    const char *scope_id;
    gboolean is_login;
    gint64 expires_at; /* 0: never */
} TokenSpec;

/* Make one.  Returns the text that its holder shows (caller frees); it is nowhere kept.
 * *ret_id: of the row, caller frees. */
char *token_create(Catalog *catalog, const TokenSpec *spec, const char *who, char **ret_id,
                   GError **error);

/* The caller who shows this text.  DENIED: it is none, has expired, or its user is gone. */
Caller *token_caller(Catalog *catalog, const char *text, const char *address, GError **error);

/* The same caller as he is by now, for what goes on long after he asked: his rights may be others.
 * DENIED: his token is gone, or he is. */
Caller *token_caller_again(Db *db, const Caller *caller, GError **error);

/* By its id, or by what it stands for (a log-out).  NOT_FOUND. */
gboolean token_revoke(Catalog *catalog, const char *id, const char *who, GError **error);
char *token_id_of(Db *db, const char *text); /* NULL: there is none.  Caller frees. */
