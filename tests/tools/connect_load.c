/* connect_load.c: many users log in at once: each asks for his session, over the API.
 *
 *   connect_load SOCKET N_THREADS NAME <USERS
 *
 * A line of USERS is a user's name; NAME is the pool or desktop that they ask for ("-": whatever is
 * theirs).  Each thread keeps one connection and asks for the next user as soon as the last has his
 * answer.  Nobody asks twice.  What came of it goes to standard output as JSON; it ends with 1
 * unless everybody was served, each with a desktop, a session and a password of his own. */
#include <errno.h>
#include <glib.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_ANSWER (256 * 1024)

typedef struct {
    const char *socket, *name;
    GPtrArray *users;
    gint next; /* atomic */
    GMutex lock;
    GHashTable *desktops, *sessions, *passwords;
    GArray *times_ms; /* double */
    guint n_served, n_failed, n_twice;
    char *first_error;
} Load;

static void die(const char *what)
{
    fprintf(stderr, "connect_load: %s: %s\n", what, g_strerror(errno));
    exit(2);
}

static int dial(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        die(path);
    return fd;
}

/* The body's length, or -1 while the head is not all there. */
static gssize body_length(const char *head, gssize *ret_head)
{
    const char *end = strstr(head, "\r\n\r\n");
    const char *length = end ? strcasestr(head, "content-length:") : NULL;

    if (!length || length > end)
        return -1;
    *ret_head = end + 4 - head;
    return (gssize)g_ascii_strtoll(length + strlen("content-length:"), NULL, 10);
}

/* One request and its answer.  Returns the status; *ret_body is the caller's. */
static int ask(int fd, const char *body, json_t **ret_body)
{
    static const char format[] = "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\n"
                                 "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s";
    g_autofree char *request = g_strdup_printf(format, strlen(body), body);
    g_autofree char *answer = g_malloc(MAX_ANSWER + 1);
    gssize have = 0, head = 0, wanted = -1;

    for (gsize sent = 0; sent < strlen(request);) {
        gssize n = write(fd, request + sent, strlen(request) - sent);
        if (n <= 0)
            die("write");
        sent += (gsize)n;
    }
    while (wanted < 0 || have < head + wanted) {
        gssize n = have < MAX_ANSWER ? read(fd, answer + have, (gsize)(MAX_ANSWER - have)) : 0;
        if (n <= 0)
            die("read");
        have += n;
        answer[have] = '\0';
        if (wanted < 0)
            wanted = body_length(answer, &head);
    }
    *ret_body = json_loadb(answer + head, (gsize)wanted, JSON_DECODE_ANY, NULL);
    return (int)g_ascii_strtoll(answer + strlen("HTTP/1.1 "), NULL, 10);
}

/* With the lock.  FALSE: somebody else was given the same. */
static gboolean is_new(GHashTable *seen, const json_t *body, const char *key)
{
    const char *text = json_string_value(json_object_get(body, key));

    return text && g_hash_table_add(seen, g_strdup(text));
}

static void note(Load *load, int status, const json_t *body, double ms)
{
    g_mutex_lock(&load->lock);
    g_array_append_val(load->times_ms, ms);
    if (status != 200) {
        load->n_failed++;
        if (!load->first_error) {
            char *text = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);
            load->first_error = g_strdup_printf("%d %s", status, text ? text : "");
            free(text);
        }
    } else {
        gboolean a = is_new(load->desktops, body, "desktop");
        gboolean b = is_new(load->sessions, body, "id");
        gboolean c = is_new(load->passwords, body, "password");
        load->n_served++;
        load->n_twice += !(a && b && c);
    }
    g_mutex_unlock(&load->lock);
}

static void load_clear(Load *load)
{
    g_hash_table_unref(load->desktops);
    g_hash_table_unref(load->sessions);
    g_hash_table_unref(load->passwords);
    g_array_unref(load->times_ms);
    g_ptr_array_unref(load->users);
    g_free(load->first_error);
}

static gpointer run(gpointer data)
{
    Load *load = data;
    int fd = dial(load->socket);

    for (;;) {
        gint i = g_atomic_int_add(&load->next, 1);
        if (i >= (gint)load->users->len)
            break;
        json_t *asked = json_pack("{s:s,s:s*}", "user", load->users->pdata[i], "name", load->name);
        char *text = json_dumps(asked, JSON_COMPACT);
        json_t *body = NULL;
        gint64 start = g_get_monotonic_time();
        int status = ask(fd, text, &body);
        note(load, status, body, (double)(g_get_monotonic_time() - start) / 1000);
        json_decref(body);
        json_decref(asked);
        free(text);
    }
    close(fd);
    return NULL;
}

static gint by_size(gconstpointer a, gconstpointer b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double percentile(const GArray *sorted, guint p)
{
    guint i = (sorted->len * p + 99) / 100;

    return sorted->len ? g_array_index(sorted, double, CLAMP(i, 1, sorted->len) - 1) : 0;
}

int main(int argc, char **argv)
{
    char *line = NULL;
    size_t room = 0;

    if (argc != 4) {
        fputs("usage: connect_load SOCKET N_THREADS NAME <USERS\n", stderr);
        return 2;
    }
    Load load = { .socket = argv[1], .name = strcmp(argv[3], "-") == 0 ? NULL : argv[3] };
    load.users = g_ptr_array_new_with_free_func(g_free);
    load.desktops = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    load.sessions = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    load.passwords = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    load.times_ms = g_array_new(FALSE, FALSE, sizeof(double));
    while (getline(&line, &room, stdin) > 0)
        g_ptr_array_add(load.users, g_strdup(g_strchomp(line)));
    free(line);
    guint n_threads = (guint)CLAMP(g_ascii_strtoll(argv[2], NULL, 10), 1, 250);
    g_autofree GThread **threads = g_new(GThread *, n_threads);
    gint64 start = g_get_monotonic_time();
    for (guint i = 0; i < n_threads; i++)
        threads[i] = g_thread_new("user", run, &load);
    for (guint i = 0; i < n_threads; i++)
        g_thread_join(threads[i]);
    double s = (double)(g_get_monotonic_time() - start) / 1e6;
    g_array_sort(load.times_ms, by_size);
    json_t *out = json_pack("{s:i,s:i,s:i,s:i,s:f,s:f,s:f,s:f,s:s*}", "n_users",
                            (int)load.users->len, "n_served", (int)load.n_served, "n_failed",
                            (int)load.n_failed, "n_twice", (int)load.n_twice, "seconds", s, "per_s",
                            load.n_served / s, "p50_ms", percentile(load.times_ms, 50), "p99_ms",
                            percentile(load.times_ms, 99), "first_error", load.first_error);
    json_dumpf(out, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(out);
    gboolean ok = load.n_served == load.users->len && load.n_twice == 0;
    load_clear(&load);
    return ok ? 0 : 1;
}
