/* driver.h: what the broker asks of a host, as one struct of functions.
 *
 * The real one speaks to libvirt (driver_libvirt.h).  All functions but open() get what open()
 * gave. They block, and are called by the host's own worker alone, so one after the other.  Errors:
 * UNAVAILABLE if the connection is gone (then is_alive() says so), else what the host said. */
#pragma once

#include "broker/host/driver_live.h"

#define DRIVER_UUID_SIZE 37

/* What a host is and can do. */
typedef struct {
    char *hostname, *cpu_model;
    char *machine_uuid; /* NULL: it does not say */
    guint n_cpus;
    guint64 memory_bytes;
    gboolean has_kvm; /* there is /dev/kvm; whether it works is another question */
    gboolean has_spice;
} HostFacts;
void host_facts_clear(HostFacts *facts);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HostFacts, host_facts_clear)

typedef enum {
    DOMAIN_RUNNING,
    DOMAIN_PAUSED,
    DOMAIN_STUCK, /* paused by an error of its disk */
    DOMAIN_ENDING,
    DOMAIN_OFF, /* defined by somebody, or crashed and kept */
} DomainState;
const char *domain_state_name(DomainState state);

/* A domain as its host tells of it.  What stands in our metadata is NULL or 0 where it is not ours.
 */
typedef struct {
    char uuid[DRIVER_UUID_SIZE];
    char *name;
    char *desktop_id, *incarnation;
    gint64 generation;
    DomainState state;
    guint64 cpu_ns;       /* processor time so far */
    guint64 memory_bytes; /* now */
    guint n_cpus;
    char *addresses; /* the guest's IP addresses, spaces between them, or NULL: not known */
} HostDomain;
void host_domain_free(gpointer domain);

/* What a client did with a domain's display.  SPICE has a connection for each channel, VNC one. */
typedef enum {
    CLIENT_CONNECTED, /* not logged in yet */
    CLIENT_LOGGED_IN,
    CLIENT_GONE,
} ClientAct;

typedef struct {
    char uuid[DRIVER_UUID_SIZE];
    ClientAct act;
    char *address, *port; /* the client's end of this connection */
} ClientEvent;
void client_event_free(gpointer event);

/* What lets a client in. */
typedef struct {
    const char *password;
    gint64 valid_until; /* ms of the epoch, by the host's clock; past: it lets nobody in */
    gboolean cuts;      /* whoever is connected is cut off now */
} HostTicket;

/* Where a client finds a display. */
typedef struct {
    gboolean is_spice;     /* else VNC on a unix socket of the host */
    guint port, tls_port;  /* 0: none */
} HostDisplay;

/* What is told without being asked, on a thread of the driver: only noted, nothing is called back.
 */
typedef struct {
    void (*changed)(gpointer user); /* some domain did something, or the connection is gone */
    void (*client)(gpointer user, ClientEvent *event); /* takes event over */
    gpointer user;
} HostListener;

typedef struct {
    /* The connection, or NULL.  listener stays where it is until close(). */
    gpointer (*open)(const char *uri, const HostListener *listener, GError **error);
    void (*close)(gpointer link);
    gboolean (*is_alive)(gpointer link);
    gboolean (*facts)(gpointer link, HostFacts *ret, GError **error);
    /* All domains, in one call: of HostDomain, caller unrefs. */
    GPtrArray *(*domains)(gpointer link, GError **error);
    /* One domain, or NULL with NOT_FOUND: the host says that there is none.  Caller frees. */
    HostDomain *(*find)(gpointer link, const char *uuid, GError **error);
    /* A transient one, running. */
    gboolean (*create)(gpointer link, const char *xml, GError **error);
    /* A network of the host's libvirt, on; one with the same name that is on is left as it is. */
    gboolean (*make_network)(gpointer link, const char *xml, GError **error);
    /* Power off, at once.  None there is no error. */
    gboolean (*destroy)(gpointer link, const char *uuid, GError **error);
    gboolean (*shut_down)(gpointer link, const char *uuid, GError **error); /* asks the guest */
    gboolean (*reboot)(gpointer link, const char *uuid, GError **error);
    gboolean (*pause)(gpointer link, const char *uuid, GError **error);
    gboolean (*resume)(gpointer link, const char *uuid, GError **error);
    /* Who has the password gets in, until it is over.  ret may be NULL.  NOT_FOUND, UNSUPPORTED. */
    gboolean (*set_ticket)(gpointer link, const char *uuid, const HostTicket *ticket,
                           HostDisplay *ret, GError **error);
    /* The connections of its display that are logged in: of ClientEvent, caller unrefs. */
    GPtrArray *(*clients)(gpointer link, const char *uuid, GError **error);
    /* A connection to its VNC display, without a password.  Caller closes; -1.  UNSUPPORTED: the
     * host is on another machine, or the domain has none. */
    int (*open_vnc)(gpointer link, const char *uuid, GError **error);
    /* The path there of its VNC display's unix socket, for other ways to it.  Caller frees.
     * UNSUPPORTED: it has none. */
    char *(*vnc_socket)(gpointer link, const char *uuid, GError **error);
    /* Its serial console, as a socket, which outlives link.  Caller closes; -1.  BUSY: another
     * has it, who loses it if is_forced is set.  NULL: there is none here. */
    int (*open_console)(gpointer link, const char *uuid, gboolean is_forced, GError **error);
    /* The guest agent's answer (JSON, caller frees) to a command; it is waited for at most
     * timeout_s. UNAVAILABLE: there is no agent, or it does not answer. */
    char *(*agent)(gpointer link, const char *uuid, const char *command, guint timeout_s,
                   GError **error);
    /* Of one that is stuck: only because a disk of it found no space?  NULL: not known here. */
    gboolean (*is_full)(gpointer link, const char *uuid, gboolean *ret, GError **error);
    /* Its memory into a new file there; then it is off.  Takes long, and goes on without who began
     * it. */
    gboolean (*save)(gpointer link, const char *uuid, const char *path, GError **error);
    /* Is something long done to it just now, such as that?  FALSE where it is not known. */
    gboolean (*is_at_work)(gpointer link, const char *uuid);
    /* Is the file there the whole memory of this incarnation?  A torn one, or none, is not. */
    gboolean (*is_memory_of)(gpointer link, const char *path, const char *incarnation,
                             gboolean *ret, GError **error);
    /* On again, with the memory of that file, as another incarnation than the one that was saved.
     * Takes long. */
    gboolean (*restore)(gpointer link, const char *path, const char *saved_incarnation,
                        const char *incarnation, GError **error);
    /* The picture of its first display, with its type ("image/x-portable-pixmap").  Caller frees.
     */
    GByteArray *(*screenshot)(gpointer link, const char *uuid, char **ret_type, GError **error);
    const HostLive *live; /* on disks and domains that are in use */
} HostDriver;
