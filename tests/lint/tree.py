# tree.py: what can be seen wrong in the tree without running it.  Called by run.sh.
#
# Each check is a function that yields "file:line: what is wrong".  Lines that begin with "note:"
# are printed and do not fail.
import os
import re
import subprocess
import sys

import yaml

CODE_FOLDERS = ("cow/", "imaged/", "templates/", "snapshot/", "broker/")

# Who may include whom: a file includes what stands on its own level or below.  The longest prefix
# decides.  The three domains on level 3 do not include one another.
LEVELS = {
    "imaged/base/": 0, "cow/": 1, "imaged/catalog/": 1, "imaged/job/": 2, "imaged/guest/": 2,
    "templates/": 3, "snapshot/": 3, "broker/": 3,
    "imaged/ops/": 4, "imaged/http/": 5, "imaged/": 6,
}
DOMAINS = ("templates/", "snapshot/", "broker/")
# imagectl is a client of the API; of the engine it uses what checks a source before an import.
CLI_MAY = ("imaged/cli/", "imaged/base/", "cow/qcow2.h", "cow/layer.h", "cow/layer_check.h")

# imaged-guest reads hostile file systems: it knows no catalog and no store.
HELPER_MAY = ("imaged/guest/helper/", "imaged/guest/protocol.h", "imaged/base/")

MAX_LINE, LONG_FILE, LONG_FUNCTION = 100, 500, 80

# Commands that tests call, and the package they come with.  Those marked "word" are looked for only
# where a command stands, since they are words of other kinds too.
PACKAGES = {
    "qemu-utils": "qemu-img qemu-io qemu-nbd", "libnbd-bin": "nbdinfo nbdcopy nbdsh nbddump",
    "nbdkit": "nbdkit", "qemu-system-x86": "qemu-system-x86_64", "sqlite3": "sqlite3",
    "e2fsprogs": "mkfs.ext4 mke2fs debugfs tune2fs e2fsck", "xfsprogs": "mkfs.xfs xfs_io",
    "mtools": "mcopy mformat mdir", "dosfstools": "mkfs.vfat mkfs.fat", "fdisk": "sfdisk fdisk",
    "shellcheck": "shellcheck", "clang-format": "clang-format", "pkg-config": "pkg-config",
    "python3": "python3", "xorriso": "xorriso", "acl": "setfacl getfacl", "bubblewrap": "bwrap",
    "quota": "setquota", "libcap2-bin": "capsh setcap",
}
PACKAGES_BY_POSITION = {
    "curl": "curl", "jq": "jq", "strace": "strace", "faketime": "faketime", "tmux": "tmux",
    "perl": "perl prove", "cpio": "cpio", "syslinux": "syslinux extlinux", "clang": "clang",
    "gcc": "gcc", "make": "make", "procps": "ps pgrep pkill", "psmisc": "fuser killall",
    "iproute2": "ip ss tc", "socat": "socat", "fio": "fio", "xxd": "xxd", "file": "file",
    "openssl": "openssl", "bc": "bc", "gdb": "gdb", "valgrind": "valgrind", "zstd": "zstd",
    "rsync": "rsync", "attr": "setfattr getfattr", "lsof": "lsof", "time": "/usr/bin/time",
}
COMMAND_POSITION = (r"(?:^|[|&;(`{]|\b(?:then|do|else|if|while|until|exec|sudo|env|nice|run|!)\s"
                    r"|\btimeout\s+\S+\s|\bcommand\s+-v\s)\s*")

errors = 0


def list_files():
    git = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], capture_output=True,
                         text=True)
    if git.returncode == 0 and git.stdout:
        names = git.stdout.splitlines()
    else:  # a tree without its repository
        names = [os.path.join(d, f)[2:] for d, _, fs in os.walk(".") for f in fs]
        names = [n for n in names if not n.startswith(("build/", ".git/"))]
    return sorted(n for n in set(names) if os.path.isfile(n))


def read(name):
    try:
        with open(name, encoding="utf-8") as f:
            return f.read()
    except UnicodeDecodeError:
        return ""


TEXTS = {name: read(name) for name in list_files()}


def sources(*suffixes, folders=CODE_FOLDERS):
    for name, text in TEXTS.items():
        if name.endswith(suffixes or (".c", ".h")) and name.startswith(folders):
            yield name, text


def lines(text):
    return enumerate(text.split("\n"), 1)


def level_of(name):
    prefix = max((p for p in LEVELS if name.startswith(p)), key=len, default=None)
    return LEVELS[prefix] if prefix else None


def check_includes():
    for name, text in sources(".c", ".h", folders=CODE_FOLDERS + ("tests/",)):
        for n, line in lines(text):
            m = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not m:
                continue
            target = m.group(1)
            if target not in TEXTS:
                yield f"{name}:{n}: '{target}' is not a path from the top folder"
                continue
            if name.startswith("tests/"):
                continue
            if name.startswith("imaged/cli/"):
                if not target.startswith(CLI_MAY):
                    yield f"{name}:{n}: imagectl may not use '{target}'"
                continue
            if name.startswith("imaged/guest/helper/"):
                if not target.startswith(HELPER_MAY):
                    yield f"{name}:{n}: imaged-guest may not use '{target}'"
                continue
            if target.startswith(("imaged/cli/", "imaged/guest/helper/", "tests/")):
                yield f"{name}:{n}: '{target}' is for a program of its own or tests alone"
                continue
            mine, its = level_of(name), level_of(target)
            if its > mine:
                yield f"{name}:{n}: level {mine} includes '{target}' of level {its}"
            for domain in DOMAINS:
                if (target.startswith(domain) and name.startswith(DOMAINS)
                        and not name.startswith(domain)):
                    yield f"{name}:{n}: a domain includes another domain's '{target}'"


def check_layout():
    for name, text in TEXTS.items():
        is_c = name.endswith((".c", ".h"))
        if name == "COPYING":
            continue
        for n, line in lines(text):
            if is_c and len(line) > MAX_LINE:
                yield f"{name}:{n}: {len(line)} characters, the limit is {MAX_LINE}"
            if is_c and "\t" in line:
                yield f"{name}:{n}: a tab"
            if line != line.rstrip():
                yield f"{name}:{n}: blanks at the end of the line"
        if text and not text.endswith("\n"):
            yield f"{name}: no newline at its end"


def check_lengths():
    for name, text in sources(".c", ".h", folders=CODE_FOLDERS + ("tests/",)):
        rows = text.split("\n")
        if len(rows) > LONG_FILE:
            yield f"note: {name}: {len(rows)} lines"
        start = None
        for n, line in enumerate(rows, 1):
            if line == "{":
                start = n
            elif line.startswith("}") and start:
                if n - start > LONG_FUNCTION:
                    yield f"note: {name}:{start}: a function of {n - start} lines"
                start = None


def check_opening_comments():
    for name, text in sources():
        first = text.split("\n", 1)[0]
        m = re.match(r"/\* (\S+): ", first)
        if not m or not ("/" + name).endswith("/" + m.group(1)):
            yield f"{name}:1: does not begin with a comment '/* {os.path.basename(name)}: ...'"


def check_strangers():
    markers = "|".join(("TO" "DO", "FIX" "ME", '(?<!")XX' "X"))
    patterns = (
        (r"(?:^|[^\w.])/(?:work|farm|root)/", "a path of one machine"),
        (r"\b(?:deb|security)\.debian\.org|\bregistry\.npmjs", "a registry's host"),
        (rf"\b(?:{markers})\b", "unfinished work"),
    )
    for name, text in TEXTS.items():
        for pattern, what in patterns:
            if not re.search(pattern, text, re.M):
                continue
            for n, line in lines(text):
                if re.search(pattern, line):
                    yield f"{name}:{n}: {what}: {line.strip()[:80]}"


def check_api():
    routes = set(re.findall(r'\{ "(GET|POST|PUT|DELETE|PATCH)", "([^"]+)"',
                            TEXTS["imaged/http/routes.c"]))
    paths = yaml.safe_load(TEXTS["docs/openapi.yaml"])["paths"]
    described = {(method.upper(), path) for path, item in paths.items() for method in item
                 if method in ("get", "post", "put", "delete", "patch")}
    for method, path in sorted(routes - described):
        yield f"docs/openapi.yaml: {method} {path} is missing"
    for method, path in sorted(described - routes):
        yield f"docs/openapi.yaml: {method} {path} is not served"


def plain(roff):
    """The words of a manual page, without fonts and requests."""
    text = re.sub(r"\\f(?:\[\w*\]|\(..|.)", "", roff)
    text = text.replace("\\-", "-").replace('"', "")
    text = re.sub(r"^\.(?:B|I|BR|BI|RB|IB|RI|IR) ", "", text, flags=re.M)
    return re.sub(r"[ \t]+", " ", text)


def check_config_page():
    keys = re.findall(r'^    \{ "(\w+)", parse_', TEXTS["imaged/config.c"], re.M)
    page = TEXTS.get("docs/man/imaged.conf.5", "")
    described = re.findall(r"^\.TP\n\.B\w* (\w+)", page, re.M)
    for key in sorted(set(keys) - set(described)):
        yield f"docs/man/imaged.conf.5: key {key} is missing"
    for key in sorted(set(described) - set(keys)):
        yield f"docs/man/imaged.conf.5: there is no key {key}"
    example = re.findall(r"^#?(\w+) =", TEXTS.get("imaged/imaged.conf", ""), re.M)
    for key in sorted(set(keys) ^ set(example)):
        yield f"imaged/imaged.conf: key {key} is missing there, or in imaged/config.c"
    words = plain(TEXTS.get("docs/man/imaged.8", ""))
    for option in re.findall(r'^        \{ "([a-z-]+)", 0, 0, G_OPTION', TEXTS["imaged/config.c"],
                             re.M):
        if f"--{option}" not in words:
            yield f"docs/man/imaged.8: --{option} is missing"


def check_recipe_page():
    keys = re.findall(r'^    \{ "(\w+)",\s+TYPE_', TEXTS["templates/recipe.c"], re.M)
    words = set(re.findall(r"^\.BR? (.*)$", TEXTS["docs/man/imaged-recipe.5"], re.M))
    words = set(re.findall(r"\w+", " ".join(words)))
    for key in sorted(set(keys) - words):
        yield f"docs/man/imaged-recipe.5: key {key} is missing"


def check_imagectl_page():
    words = plain(TEXTS["docs/man/imagectl.1"])
    verbs = set()
    for name, text in TEXTS.items():
        if not re.match(r"imaged/cli/verbs_\w+\.c$", name):
            continue
        for noun, table_name in re.findall(r'^const Noun \w+ = \{ "([a-z]+)",[^;]*?(\w+) \};', text,
                                           re.M):
            table = re.search(rf"Command {table_name}\[\] = \{{\n(.*?)\n\}};", text, re.S)
            for verb in re.findall(r'^    \{ (NULL|"[a-z-]+"), ?\n?\s*"', table.group(1), re.M):
                verbs.add(noun if verb == "NULL" else f"{noun} {verb[1:-1]}")
        for option in re.findall(r'^    \{ "([a-z-]+)", OPTION_', text, re.M):
            if f"--{option}" not in words:
                yield f"docs/man/imagectl.1: --{option} is missing"
    if not verbs:
        yield "tests/lint/tree.py: found no verbs in imaged/cli/verbs_*.c"
    described = set()
    nouns = {v.split()[0] for v in verbs}
    for line in re.findall(r"^\.TP\n(.*)$", words, re.M):
        parts = line.split()
        if parts and parts[0] in nouns:
            both = " ".join(parts[:2])
            described.add(parts[0] if parts[0] in verbs and both not in verbs else both)
    for verb in sorted(verbs - described):
        yield f"docs/man/imagectl.1: 'imagectl {verb}' is missing"
    for verb in sorted(described - verbs):
        yield f"docs/man/imagectl.1: there is no 'imagectl {verb}'"


def check_events():
    kinds = set()
    for name, text in sources(".c"):
        if name.startswith("imaged/cli/"):
            continue
        for second in re.findall(r"\bchanges_event\(\s*[^,]+,\s*([^,]+),", text):
            kinds.update(re.findall(r'"([a-z]+\.[a-z.-]+)"', second))
            if "job_type_kind(" in second:  # the event is called like the job: one of this file's
                kinds.update(re.findall(r'\bJobType \w+ =\s*\{\s*"([a-z.-]+)"', text))
        if re.search(r"\b(?:new_version_commit|batch_event)\([^;]*job_type_kind\(", text):
            kinds.update(re.findall(r'\bJobType \w+ =\s*\{\s*"([a-z.-]+)"', text))
        # these hand the kind on: it is the second or third of what they are called with
        kinds.update(re.findall(r'\b(?:say|batch_event|new_version_commit)\((?:[^,"]+,\s*){1,2}'
                                r'"([a-z]+\.[a-z.-]+)"', text))
    described = set(re.findall(r"^\| `([a-z.-]+)` \|", TEXTS.get("docs/events.md", ""), re.M))
    for kind in sorted(kinds - described):
        yield f"docs/events.md: {kind} is missing"
    for kind in sorted(described - kinds):
        yield f"docs/events.md: nothing writes {kind}"


def check_docs():
    code = "\n".join(text for _, text in sources())
    for name, text in TEXTS.items():
        if not name.endswith(".md"):
            continue
        for n, line in lines(text):
            for target in re.findall(r"\]\(([^)#:]+)", line):
                if not os.path.exists(os.path.join(os.path.dirname(name), target)):
                    yield f"{name}:{n}: there is no {target}"
            for path in re.findall(r"`((?:cow|imaged|templates|snapshot|broker|tests|docs)/[\w./-]+)`",
                                   line):
                if not os.path.exists(path):
                    yield f"{name}:{n}: there is no {path}"
            for function in re.findall(r"`([a-z]\w+)\(\)`", line):
                if f"{function}(" not in code and "ext4" not in line:
                    yield f"{name}:{n}: there is no {function}()"


def check_packages():
    listed = [line.split()[1] for line in TEXTS["docs/packages.txt"].split("\n")
              if line.split() and not line.startswith("#")]
    for name in sorted({p for p in listed if listed.count(p) > 1}):
        yield f"docs/packages.txt: {name} stands there twice"
    try:
        answer = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n",
                                 *listed], capture_output=True, text=True).stdout
        there = {row.split()[0] for row in answer.split("\n") if row.endswith(" installed")}
        for name in sorted(set(listed) - there):
            yield f"docs/packages.txt: {name} is not installed (make deps)"
    except FileNotFoundError:
        yield "note: no dpkg here: docs/packages.txt was not held against what is installed"
    explained = TEXTS.get("docs/dependencies.md", "")
    for name in listed:
        if f"`{name}`" not in explained:
            yield f"docs/dependencies.md: does not say what {name} is for"
    for name, text in TEXTS.items():
        if not (name.startswith((".ci/", "tests/")) and name.endswith((".sh", ".t", ".py", "run"))):
            continue
        if name == "tests/lint/tree.py":
            continue
        code = "\n".join(re.sub(r"(?:^|\s)#.*", "", line) for line in text.split("\n"))
        for table, before in ((PACKAGES, r"(?<![\w./-])"), (PACKAGES_BY_POSITION, COMMAND_POSITION)):
            for package, commands in table.items():
                if package in listed:
                    continue
                for command in commands.split():
                    if re.search(before + re.escape(command) + r"(?=\s|$|[)\";])", code, re.M):
                        yield (f"{name}: uses {command}, but {package} is not in "
                               "docs/packages.txt")


def check_plans():
    """A script of tests that does not end with its plan and its verdict has passed whatever it found."""
    for name, text in TEXTS.items():
        if name.startswith("tests/functional/") and name.endswith(".t"):
            last = text.rstrip().split("\n")[-1]
            if last != "done_testing" and not ("python3" in text and last == "exit $?"):
                yield f"{name}: does not end with done_testing"


for check in (check_includes, check_layout, check_lengths, check_opening_comments, check_strangers,
              check_api, check_config_page, check_recipe_page, check_imagectl_page, check_events, check_docs,
              check_packages, check_plans):
    for problem in check():
        errors += not problem.startswith("note:")
        print(problem)
sys.exit(1 if errors else 0)
