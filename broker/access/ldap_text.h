/* ldap_text.h: what goes to an LDAP server as text, and what is made of its answers' bytes.
 *
 * A directory's answers are as hostile as any input: every length is checked.  Pure; any thread. */
#pragma once

#include <glib.h>

/* bytes as a value in a filter (RFC 4515): what has a meaning there, and all that is not plain
 * ASCII, becomes \xx.  Caller frees. */
char *ldap_text_escape(const guint8 *bytes, gsize len);

/* The identity that outlives a rename, as 32 hexadecimal digits: of objectGUID's 16 bytes, or of
 * entryUUID's text.  NULL: it is none.  Caller frees. */
char *ldap_text_guid(const guint8 *bytes, gsize len);
char *ldap_text_uuid(const guint8 *bytes, gsize len);

/* An identity of these as a value in a filter for its attribute again.  Caller frees. */
char *ldap_text_guid_filter(const char *id);
char *ldap_text_uuid_filter(const char *id);

/* The last part of a Windows SID; FALSE: it is none. */
gboolean ldap_text_sid_rid(const guint8 *sid, gsize len, guint32 *ret_rid);

/* The SID of the same domain with another last part, as a value in a filter.  Caller frees. */
char *ldap_text_sid_sibling(const guint8 *sid, gsize len, guint32 rid);

/* "member;range=0-1499": *ret_next is 1500, or 0 with "*": that was the last.  FALSE: description
 * is not of this attribute, or has no range. */
gboolean ldap_text_range(const char *description, const char *attribute, guint *ret_next);

/* A number as LDAP writes it; fallback if it is none. */
gint64 ldap_text_int(const guint8 *bytes, gsize len, gint64 fallback);

/* Bytes as a text of ours: valid UTF-8, no control characters, at most max bytes; else NULL.
 * Caller frees. */
char *ldap_text_utf8(const guint8 *bytes, gsize len, gsize max);

/* Is this moment of Windows (100 ns since 1601; 0 and the largest number: never) past now_ms? */
gboolean ldap_text_is_expired(gint64 account_expires, gint64 now_ms);

/* What an Active Directory says of an account whose password is right, but whom it does not let in:
 * "... data 773 ..." in a refusal's text.  Static, or NULL: it says nothing of the kind. */
const char *ldap_text_refusal(const char *diagnostic);

/* Does it look like a filter: parentheses that fit, around all of it? */
gboolean ldap_text_is_filter(const char *text);

/* Is this a distinguished name, as "dc=example,dc=org"? */
gboolean ldap_text_is_name(const char *text);
