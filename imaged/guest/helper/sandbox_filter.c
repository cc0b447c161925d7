/* sandbox_filter.c: QEMU and libguestfs use so much that the list is of what is refused: all that
 * makes rights, namespaces, mounts, kernel code, or reaches into other processes; for role guest
 * every socket but AF_UNIX, for the others unusual families (AF_VSOCK leads to the hypervisor, a
 * netlink of the packet filter into much of the kernel).  Children inherit it. */
#include <errno.h>
#include <linux/netlink.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "imaged/base/error.h"
#include "imaged/guest/helper/sandbox.h"

/* Refused to every role. */
static const int refused[] = {
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(process_madvise),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(kcmp),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(io_uring_enter),
    SCMP_SYS(io_uring_register),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(reboot),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(acct),
    SCMP_SYS(quotactl),
    SCMP_SYS(quotactl_fd),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(name_to_handle_at),
    SCMP_SYS(iopl),
    SCMP_SYS(ioperm),
    SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime),
    SCMP_SYS(clock_adjtime),
    SCMP_SYS(adjtimex),
    SCMP_SYS(syslog),
    SCMP_SYS(vhangup),
    SCMP_SYS(lookup_dcookie),
    SCMP_SYS(nfsservctl),
    SCMP_SYS(modify_ldt),
    SCMP_SYS(fanotify_init),
    SCMP_SYS(move_pages),
    SCMP_SYS(migrate_pages),
    SCMP_SYS(mbind),
    SCMP_SYS(set_mempolicy),
};

/* Refused where no namespaces are made. */
static const int refused_to_all_but_build[] = {
    SCMP_SYS(mount),         SCMP_SYS(umount2),  SCMP_SYS(pivot_root),    SCMP_SYS(chroot),
    SCMP_SYS(unshare),       SCMP_SYS(setns),    SCMP_SYS(open_tree),     SCMP_SYS(move_mount),
    SCMP_SYS(fsopen),        SCMP_SYS(fsconfig), SCMP_SYS(fsmount),       SCMP_SYS(fspick),
    SCMP_SYS(mknod),         SCMP_SYS(mknodat),  SCMP_SYS(mount_setattr), SCMP_SYS(sethostname),
    SCMP_SYS(setdomainname),
};

static int refuse_all(scmp_filter_ctx filter, const int *calls, guint n)
{
    int err = 0;

    for (guint i = 0; i < n && !err; i++)
        err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), calls[i], 0);
    return err;
}

static int refuse_namespaces(scmp_filter_ctx filter)
{
    static const unsigned long flags[] = { CLONE_NEWNS,    CLONE_NEWUTS, CLONE_NEWIPC,
                                           CLONE_NEWUSER,  CLONE_NEWPID, CLONE_NEWNET,
                                           CLONE_NEWCGROUP };
    int err = refuse_all(filter, refused_to_all_but_build, G_N_ELEMENTS(refused_to_all_but_build));

    for (guint i = 0; i < G_N_ELEMENTS(flags) && !err; i++)
        err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                               SCMP_A0(SCMP_CMP_MASKED_EQ, flags[i], flags[i]));
    /* The flags of clone3 are out of sight: without it there is clone. */
    if (!err)
        err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    return err;
}

/* What is built is sent to imaged, which makes it durable; until then a power failure costs the
 * build anyhow.  dpkg alone would flush thousands of times. */
static int ignore_flushes(scmp_filter_ctx filter)
{
    static const int calls[] = { SCMP_SYS(fsync),  SCMP_SYS(fdatasync), SCMP_SYS(sync),
                                 SCMP_SYS(syncfs), SCMP_SYS(msync),     SCMP_SYS(sync_file_range) };
    int err = 0;

    for (guint i = 0; i < G_N_ELEMENTS(calls) && !err; i++)
        err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(0), calls[i], 0);
    return err;
}

static int refuse_networks(scmp_filter_ctx filter)
{
    int err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                               SCMP_A0(SCMP_CMP_NE, AF_UNIX));

    return err ? err
               : seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socketpair), 1,
                                  SCMP_A0(SCMP_CMP_NE, AF_UNIX));
}

/* AF_UNIX, AF_INET, AF_INET6, and the netlink that tells addresses are left.  The kernel takes 32
 * bits of each argument: one with more is beyond AF_NETLINK here, and not NETLINK_ROUTE. */
static int refuse_families(scmp_filter_ctx filter)
{
    static const int calls[] = { SCMP_SYS(socket), SCMP_SYS(socketpair) };
    int err = 0;

    for (guint i = 0; i < G_N_ELEMENTS(calls) && !err; i++) {
        for (guint family = 0; family < AF_NETLINK && !err; family++) {
            if (family != AF_UNIX && family != AF_INET && family != AF_INET6)
                err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), calls[i], 1,
                                       SCMP_A0(SCMP_CMP_EQ, family));
        }
        if (!err)
            err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), calls[i], 1,
                                   SCMP_A0(SCMP_CMP_GT, AF_NETLINK));
        if (!err)
            err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), calls[i], 2,
                                   SCMP_A0(SCMP_CMP_EQ, AF_NETLINK),
                                   SCMP_A2(SCMP_CMP_NE, NETLINK_ROUTE));
    }
    return err;
}

gboolean sandbox_filter(const char *role, GError **error)
{
    gboolean is_build = strcmp(role, "build") == 0, is_guest = strcmp(role, "guest") == 0;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int err = filter ? 0 : -ENOMEM;

    if (!err)
        err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (!err)
        err = refuse_all(filter, refused, G_N_ELEMENTS(refused));
    /* Typing into somebody's terminal. */
    if (!err)
        err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
                               SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, TIOCSTI));
    if (!err && is_build)
        err = ignore_flushes(filter);
    if (!err && !is_build)
        err = refuse_namespaces(filter);
    if (!err)
        err = is_guest ? refuse_networks(filter) : refuse_families(filter);
    if (!err)
        err = seccomp_load(filter);
    seccomp_release(filter);
    if (err)
        imaged_error_set_errno(error, -err, "the helper cannot lock itself in: system calls");
    return !err;
}
