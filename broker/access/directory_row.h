/* directory_row.h: a directory as a row, and what is made of its entries here.  For the files
 * directory*.c alone. */
#pragma once

#include "broker/access/directory.h"
#include "broker/access/ldap_groups.h"

typedef struct {
    char *id, *name;
    json_t *settings; /* what shape and servers point into */
    char **server_list;
    LdapServers servers;
    LdapShape shape;
} DirectoryRow;
void directory_row_free(DirectoryRow *row);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DirectoryRow, directory_row_free)

/* NOT_FOUND; name may be an id. */
DirectoryRow *directory_lookup(Db *db, const char *name, GError **error);
DirectoryRow *directory_find(World *world, const char *name, GError **error);

/* The folder of accounts' passwords, by the directories' ids: see imaged/base/secret_file.h. */
#define DIRECTORY_SECRETS "directory-secrets"

/* Has its account one? */
gboolean directory_has_password(const json_t *settings);

/* All of them, the oldest first. */
GPtrArray *directory_list(Db *db);

/* A link to it.  One that did not answer is given up at once for a while.  UNAVAILABLE, DENIED. */
LdapLink *directory_open(World *world, const DirectoryRow *row, GError **error);

/* A group's name as it is here: "Domain Users" is Domain_Users, since our names have no blanks. */
void directory_group_name(char *name);

/* Somebody asked it, and it answered, or not. */
void directory_note_answer(World *world, const char *id, gboolean answered);

/* His row as it has to be: made if it is not there, otherwise brought up to date.  groups: ids of
 * the directory's groups that he is in, or NULL: not known. */
gboolean directory_store_person(World *world, const DirectoryRow *row, const LdapPerson *person,
                                const GPtrArray *groups, const char *who, UserRow *ret,
                                GError **error);
