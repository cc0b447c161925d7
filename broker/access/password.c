/* password.c: see password.h. */
#include "broker/access/password.h"

#include <sodium.h>
#include <string.h>

#include "imaged/base/error.h"

/* OWASP's first choice for argon2id: 19 MiB, two passes. */
#define MEMORY (19 * 1024 * 1024)
#define PASSES 2
#define MIN_LEN 8
#define MAX_LEN 1024
#define N_AT_ONCE 2

static GMutex lock;
static GCond cond;
static guint n_running; /* of lock */

static void begin(void)
{
    g_mutex_lock(&lock);
    while (n_running >= N_AT_ONCE)
        g_cond_wait(&cond, &lock);
    n_running++;
    g_mutex_unlock(&lock);
}

static void end(void)
{
    g_mutex_lock(&lock);
    n_running--;
    g_cond_signal(&cond);
    g_mutex_unlock(&lock);
}

static gboolean hash_into(char out[crypto_pwhash_STRBYTES], const char *password)
{
    begin();
    gboolean ok = crypto_pwhash_str_alg(out, password, strlen(password), PASSES, MEMORY,
                                        crypto_pwhash_ALG_ARGON2ID13) == 0;
    end();
    return ok;
}

char *password_hash(const char *password, GError **error)
{
    char out[crypto_pwhash_STRBYTES];

    if (strlen(password) < MIN_LEN || strlen(password) > MAX_LEN) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "a password has %d to %d characters",
                    MIN_LEN, MAX_LEN);
        return NULL;
    }
    if (hash_into(out, password))
        return g_strdup(out);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "no memory to hash the password");
    return NULL;
}

/* The hash of nothing that anybody knows, so that a name that is not there takes as long. */
static const char *nobodys_hash(void)
{
    static gsize is_made;
    static char hash[crypto_pwhash_STRBYTES];

    if (g_once_init_enter(&is_made)) {
        guint8 random[24];
        char text[sizeof random * 2 + 1];
        randombytes_buf(random, sizeof random);
        hash_into(hash, sodium_bin2hex(text, sizeof text, random, sizeof random));
        g_once_init_leave(&is_made, 1);
    }
    return hash;
}

gboolean password_verify(const char *hash, const char *password)
{
    const char *against = hash ? hash : nobodys_hash();

    if (strlen(password) > MAX_LEN)
        password = "";
    begin();
    gboolean ok = crypto_pwhash_str_verify(against, password, strlen(password)) == 0;
    end();
    return ok && hash;
}
