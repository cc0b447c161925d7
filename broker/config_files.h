/* config_files.h: what stands on a desktop's config disk, from checked facts.
 *
 * For Linux: imaged.conf for our own program in the guest (templates/guest/imaged-firstboot), and
 * meta-data and user-data for cloud-init (NoCloud).  For Windows: an answer file, under both names
 * that its setup looks for.  The same facts give the same bytes.  Any thread. */
#pragma once

#include <glib.h>

/* Texts that identity_settings_check() has passed; NULL or "" for none. */
typedef struct {
    const char *desktop_id;
    gint64 generation;
    gboolean is_windows;
    const char *hostname, *computer_name; /* always */
    const char *domain, *ou, *join_user, *join_password, *one_time_password;
    gboolean renews_account;
    const char *user, *user_password, *user_password_hash;
    gboolean auto_login, is_domain_user;
} ConfigFacts;

/* The single files.  Caller frees. */
char *config_files_conf(const ConfigFacts *f);
char *config_files_meta_data(const ConfigFacts *f);
char *config_files_user_data(const ConfigFacts *f);
char *config_files_unattend(const ConfigFacts *f);

/* All of them as a disk with the label "cidata".  Free with g_byte_array_unref(). */
GByteArray *config_files_disk(const ConfigFacts *f);
