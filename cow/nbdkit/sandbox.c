/* sandbox.c: a seccomp filter with a short list of what is allowed, for all threads.
 *
 * Opening a file is not on it.  It raises SIGSYS in the thread that tried, whose handler answers
 * in the kernel's place: the name of the key file gives a pipe with the keys in it, everything else
 * EACCES.  stat of a descriptor comes as newfstatat with an empty name from some C libraries and is
 * turned into fstat there too, because a filter cannot look at a name. */
#include "cow/nbdkit/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARGUMENT_1(c) ((c)->uc_mcontext.gregs[REG_RDI])
#define ARGUMENT_2(c) ((c)->uc_mcontext.gregs[REG_RSI])
#define ARGUMENT_3(c) ((c)->uc_mcontext.gregs[REG_RDX])
#define RESULT(c) ((c)->uc_mcontext.gregs[REG_RAX])
#elif defined(__aarch64__)
#define ARGUMENT_1(c) ((c)->uc_mcontext.regs[0])
#define ARGUMENT_2(c) ((c)->uc_mcontext.regs[1])
#define ARGUMENT_3(c) ((c)->uc_mcontext.regs[2])
#define RESULT(c) ((c)->uc_mcontext.regs[0])
#else
#error "sandbox.c: say where this processor keeps the arguments of a system call"
#endif

static const SandboxKeys *the_keys; /* read by the handler; set before the filter is loaded */

/* A pipe that holds the keys and ends behind them, or -errno.  Async-signal-safe. */
static long open_keys(void)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    ssize_t n = write(ends[1], the_keys->psk, the_keys->psk_len);
    close(ends[1]);
    if (n == (ssize_t)the_keys->psk_len)
        return ends[0];
    close(ends[0]);
    return -EIO;
}

static long answer_open(const char *name, int flags)
{
    gboolean is_keys = the_keys->psk_path && strcmp(name, the_keys->psk_path) == 0;

    return is_keys && (flags & O_ACCMODE) == O_RDONLY ? open_keys() : -EACCES;
}

static long answer_stat(int fd, const char *name, void *buffer)
{
    if (*name)
        return -EACCES;
    return syscall(SYS_fstat, fd, buffer) < 0 ? -errno : 0;
}

static void on_sigsys(int signal, siginfo_t *info, void *context)
{
    ucontext_t *c = context;
    int saved = errno;
    long result = -EACCES;

    if (info->si_syscall == SYS_openat)
        result = answer_open((const char *)ARGUMENT_2(c), (int)ARGUMENT_3(c));
    else if (info->si_syscall == SYS_newfstatat)
        result =
            answer_stat((int)ARGUMENT_1(c), (const char *)ARGUMENT_2(c), (void *)ARGUMENT_3(c));
#ifdef SYS_open
    else if (info->si_syscall == SYS_open)
        result = answer_open((const char *)ARGUMENT_1(c), (int)ARGUMENT_2(c));
#endif
    RESULT(c) = result;
    errno = saved;
}

static const int allowed[] = {
    /* reading, and talking to clients that were accepted */
    SCMP_SYS(read),
    SCMP_SYS(pread64),
    SCMP_SYS(readv),
    SCMP_SYS(preadv),
    SCMP_SYS(preadv2),
    SCMP_SYS(lseek),
    SCMP_SYS(fadvise64),
    SCMP_SYS(readahead),
    SCMP_SYS(fstat),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(close),
    SCMP_SYS(accept),
    SCMP_SYS(accept4),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(shutdown),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(select),
    SCMP_SYS(pselect6),
    SCMP_SYS(pipe2),
    SCMP_SYS(fcntl),
    /* memory, threads, time */
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(futex),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(getrusage),
    SCMP_SYS(getcpu),
    SCMP_SYS(membarrier),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

/* Answered by on_sigsys(). */
static const int trapped[] = { SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(newfstatat) };

/* Nothing here has an honest reason to ask for these. */
static const int fatal[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(socket),
    SCMP_SYS(connect),
    SCMP_SYS(bind),
    SCMP_SYS(mount),
    SCMP_SYS(bpf),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(unshare),
};

static int add_all(scmp_filter_ctx filter, uint32_t action, const int *calls, guint n)
{
    int err = 0;

    for (guint i = 0; i < n && !err; i++)
        err = seccomp_rule_add(filter, action, calls[i], 0);
    return err;
}

static int add_rules(scmp_filter_ctx filter)
{
    int err = add_all(filter, SCMP_ACT_ALLOW, allowed, G_N_ELEMENTS(allowed));

    if (!err)
        err = add_all(filter, SCMP_ACT_TRAP, trapped, G_N_ELEMENTS(trapped));
    if (!err)
        err = add_all(filter, SCMP_ACT_KILL_PROCESS, fatal, G_N_ELEMENTS(fatal));
    /* Memory that can be run is not made any more. */
    if (!err)
        err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (!err)
        err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    /* Threads yes, processes no.  The flags of clone3 are out of sight: without it there is clone.
     */
    if (!err)
        err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (!err)
        err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                               SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    if (!err)
        err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
                               SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
    return err;
}

const char *sandbox_enter(const SandboxKeys *keys)
{
    const struct rlimit none = { 0, 0 };
    struct sigaction action = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO | SA_NODEFER };

    the_keys = keys;
    if (setrlimit(RLIMIT_CORE, &none) < 0 || setrlimit(RLIMIT_FSIZE, &none) < 0)
        return "its limits";
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return "its privileges";
    if (sigaction(SIGSYS, &action, NULL) < 0)
        return "its signals";
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    const char *failed = filter ? NULL : "its system calls (no memory)";
    if (!failed && (seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) ||
                    seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) || add_rules(filter) ||
                    seccomp_load(filter)))
        failed = "its system calls";
    seccomp_release(filter);
    return failed;
}
