#!/usr/bin/python3
"""Nothing that the daemon changes in storage passes by imaged/base/durable.c and imaged/catalog/vfs.c:
seen from outside, by strace with the stack of each system call that can change a file.

usage: no_bypass.py BUILD FOLDER

Speaks TAP.  Every verb in verbs.py runs on a traced daemon.  To show that the check can fail, a trace of
other programs' changes, and our own trace with one wrapper taken from the list, must be refused.
"""
import os
import re
import subprocess
import sys

from every_change import Worker
from service import Gone, Wrong
from verbs import VERBS

CALLS = ("open openat openat2 creat link linkat symlink symlinkat rename renameat renameat2 unlink unlinkat "
         "rmdir mkdir mkdirat mknod mknodat truncate ftruncate fallocate write writev pwrite64 pwritev "
         "pwritev2 copy_file_range sendfile splice tee vmsplice ioctl fsync fdatasync sync syncfs "
         "sync_file_range msync mmap chmod fchmod fchmodat chown fchown fchownat lchown utimensat "
         "setxattr fsetxattr lsetxattr io_uring_setup io_uring_enter io_setup io_submit execve").split()

# What may change storage: a function of ours that must be on the stack, in our own program.
WRAPPERS = ["durable_create", "durable_write", "durable_truncate", "durable_chmod", "durable_sync",
            "durable_sync_dir", "durable_sync_fs", "durable_begin_write", "durable_drop_written",
            "durable_rename", "durable_link", "durable_unlink",
            "durable_mkdir", "durable_mkdir_path", "durable_open_lock", "durable_reserve",
            "durable_clone", "durable_copy_range", "durable_replace",
            # imaged/catalog/vfs.c
            "file_write", "file_truncate", "file_sync", "file_shm_map", "file_shm_unmap", "vfs_open",
            "vfs_delete"]

# What need not: (call, path, function on the stack), as expressions.
ALLOWED = [
    (r"unlink", r".*/imaged\.sock", r"listen_on|server_start|server_stop"),  # a socket is no storage
    (r"chmod|chown", r".*/imaged\.sock", r"listen_on|server_start"),
    (r"fchown", r".*", r"set_group|open_places|create_store|store_dir_open"),  # who may read a new store: asked for again at each making
]

# Children that write by themselves: QEMU is the only writer of active layers, borg of its archives.
WRITERS = {"qemu-storage-daemon", "borg"}

OPENS = {"open", "openat", "openat2"}


def records(path):
    """(pid, call, its text, functions on its stack) of a trace."""
    now, open_calls = None, {}
    with open(path, errors="replace") as trace:
        for line in trace:
            frame = re.match(r" > (\S+?)\((\S*?)(?:\+0x\w+)?\) \[", line)
            if frame or line.startswith(" > "):
                if now and frame:
                    now[3].append((os.path.basename(frame.group(1)), frame.group(2)))
                continue
            if now:
                yield now
            now = None
            call = re.match(r"(\d+) +(\w+)\((.*)", line)
            resumed = re.match(r"(\d+) +<\.\.\. (\w+) resumed>(.*)", line)
            if call and line.rstrip().endswith("<unfinished ...>"):
                open_calls[call.group(1)] = call.group(3)
            elif call:
                now = (call.group(1), call.group(2), call.group(3), [])
            elif resumed:
                now = (resumed.group(1), resumed.group(2),
                       open_calls.pop(resumed.group(1), "") + resumed.group(3), [])
    if now:
        yield now


def changes_storage(call, text):
    """The path if the call changes a file, else None."""
    if re.search(r"\) += -1 E", text) and call not in ("fsync", "fdatasync", "syncfs"):
        return None  # nothing came of it
    if call in OPENS and "O_CREAT" not in text and "O_TRUNC" not in text:
        return None
    if call == "ioctl" and "FICLONE" not in text and "BTRFS_IOC" not in text and "FIDEDUPE" not in text:
        return None
    if call == "mmap" and not ("PROT_WRITE" in text and "MAP_SHARED" in text and "MAP_ANON" not in text):
        return None
    if call in ("io_uring_setup", "io_setup", "io_uring_enter", "io_submit", "sync"):
        return call
    names = re.findall(r'\d+<([^>]*)>', text) + re.findall(r'"([^"]*)"', text.partition(", ")[0])
    first = re.match(r"\d+<([^>]*)>", text)
    if call in ("write", "writev", "pwrite64", "pwritev", "pwritev2", "mmap", "sendfile", "splice"):
        target = re.findall(r"\d+<([^>]*)>", text)
        path = first.group(1) if first else (target[0] if target else "")
        if not path.startswith("/") or re.match("/(proc|sys|dev(?!/shm))/", path):
            return None  # a socket, a pipe, an event
        return path
    quoted = re.search(r'"([^"]*)"', text)
    if quoted and not quoted.group(1).startswith("/"):
        return (first.group(1) + "/" if first else "") + quoted.group(1)
    return quoted.group(1) if quoted else (names[0] if names else text)


def bypasses(trace, wrappers=None, log=None):
    """(number of changes seen, those that none of the wrappers made)"""
    wrappers = set(WRAPPERS if wrappers is None else wrappers)
    programs, n, found = {}, 0, []
    for pid, call, text, stack in records(trace):
        if call == "execve":
            programs[pid] = os.path.basename(re.match(r'"([^"]*)"', text).group(1))
            continue
        path = changes_storage(call, text)
        if path is None or path == log:
            continue
        n += 1
        program = programs.get(pid)
        if program in WRITERS:
            continue
        functions = {name for binary, name in stack if binary == "imaged"}
        if functions & wrappers:
            continue
        if any(re.fullmatch(c, call) and re.fullmatch(p, path) and
               any(re.fullmatch(f, name) for name in functions) for c, p, f in ALLOWED):
            continue
        found.append("%s %s by %s" % (call, path, " < ".join(name for _, name in stack[:8]) or program))
    return n, found


def trace_of(folder, words, **options):
    path = os.path.join(folder, "trace")
    return path, subprocess.Popen(["strace", "-f", "-k", "-y", "-qq", "-s", "200", "-o", path,
                                   "-e", "trace=" + ",".join(CALLS), "-e", "signal=none", *words],
                                  **options)


class Traced(Worker):
    def __init__(self, build, folder):
        super().__init__(build, folder)
        self.trace = None

    def run(self, verb):
        """The trace of a daemon that does one verb."""
        service = self.service
        self.load(verb.situation)
        # Words that name ids are looked up without the trace.
        service.must_start()
        words = verb.words(service) if verb.situation else verb.text.split()
        service.stop()
        self.load(verb.situation)
        with open(service.log, "a") as log:
            self.trace, service.process = trace_of(
                service.folder,
                [service.build + "/imaged", "--state", service.state, "--config",
                 os.path.join(service.folder, "conf")],
                stdout=subprocess.PIPE, stderr=log)
        if not service.process.stdout.readline().startswith(b"ready"):
            raise Wrong("no start: " + service.last_words())
        service.wait_idle()
        service.do(*words)
        service.wait_idle()
        tracer = service.process.pid
        with open("/proc/%d/task/%d/children" % (tracer, tracer)) as children:
            daemon = int(children.read().split()[0])
        if service.connection:
            service.connection.close()
            service.connection = None
        os.kill(daemon, 15)
        service.process.wait(60)
        service.end()


def main():
    build, folder = sys.argv[1], sys.argv[2]
    only = re.compile(os.environ.get("ONLY", ""))
    worker, n_tests, n_bad = Traced(build, os.path.join(folder, "traced")), 0, 0

    def test(is_ok, what, why=()):
        nonlocal n_tests, n_bad
        n_tests += 1
        n_bad += not is_ok
        print("%sok %d - %s" % ("" if is_ok else "not ", n_tests, what))
        for line in list(why)[:20] if not is_ok else ():
            print("# " + line)
        sys.stdout.flush()

    seen, lost = 0, False
    for verb in VERBS:
        if not only.search(verb.name):
            continue
        try:
            worker.run(verb)
            n, found = bypasses(worker.trace, log=worker.service.log)
            seen += n
            test(n > 5 and not found, "%s: %d changes, all through the wrappers" % (verb.name, n), found)
            lost = lost or bool(bypasses(worker.trace, [w for w in WRAPPERS if w != "durable_write"],
                                         worker.service.log)[1])
        except (Wrong, Gone) as why:
            worker.service.kill()
            test(False, verb.name, [str(why)])
    test(lost, "a wrapper that is not on the list is noticed")
    at = os.path.join(folder, "traced", "bypass")
    for words in (["dd", "if=/dev/zero", "of=" + at, "count=1", "conv=fsync"], ["mkdir", at + ".d"],
                  ["mv", at, at + ".2"], ["cp", "--reflink=never", at + ".2", at],
                  ["truncate", "-s", "9", at], ["fallocate", "-l", "4096", at], ["rm", at]):
        trace, process = trace_of(folder, words, stderr=subprocess.DEVNULL)
        process.wait()
        test(bypasses(trace)[1], "%s is noticed" % words[0])
    print("# %d changes looked at" % seen)
    print("1..%d" % n_tests)
    return 1 if n_bad else 0


if __name__ == "__main__":
    sys.exit(main())
