/* sandbox.h: what keeps a hostile file system, once it has taken over the helper, from anything
 * else.
 *
 * In this order: namespaces (mount, network, pid, ipc, uts) and a view of the file system of its
 * own, where that is possible (started by root, or user namespaces are allowed); limits; another
 * user, no group beside its own, no capability; no new privileges; a seccomp filter.  As a systemd
 * unit the first and the user are the unit's affair.
 *
 * The view of role guest: /usr, a few files of /etc, /dev with the harmless devices and kvm, /proc,
 * a small /tmp in memory, and the folders below.  That of role fetch has what apt and resolving
 * names need of /etc besides, and packages that lie on the machine itself. */
#pragma once

#include <glib.h>

#define SANDBOX_DISKS "/run/disks"
#define SANDBOX_FOLDER "/run/folder"
#define SANDBOX_APPLIANCE "/run/appliance"
#define SANDBOX_CACHE "/run/cache"

typedef struct {
    const char *role;
    const char *user;     /* whom to become; looked at by root alone */
    gboolean may_use_kvm; /* keeps the group of /dev/kvm, and no other */
    gboolean is_service;  /* started by systemd, which did its part */
    const char *disks;    /* folders that the view shows, or NULL */
    const char *folder;
    const char *appliance;
    const char *cache;
    gint64 limit_ms;
} SandboxSpec;

/* Enter it.  The process that returns may be a child of the one that called, which then only waits
 * for it.  *ret_has_view: the folders are where the names above say. */
gboolean sandbox_enter(const SandboxSpec *spec, gboolean *ret_has_view, GError **error);

/* ---- the parts ---- */

/* Role build, with a folder: namespaces in which the process is root over numbers of their own, and
 * sees little but the folder, at SANDBOX_FOLDER.  Returns in a child. */
gboolean sandbox_enter_build(const SandboxSpec *spec, GError **error);

/* Exchange the root for the view of role build; the process is the first one of its namespaces. */
gboolean sandbox_build_view(const SandboxSpec *spec, GError **error);

/* The error that errno says, about the build's namespace and what of it; FALSE. */
gboolean sandbox_build_failed(GError **error, const char *what);

/* Exchange the root for a view of what the spec names; the process has its own mount namespace. */
gboolean sandbox_view(const SandboxSpec *spec, GError **error);

/* Load the filter of this role, for all threads. */
gboolean sandbox_filter(const char *role, GError **error);
