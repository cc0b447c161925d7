/* seal_table.c: the table, and nothing else. */
#include "imaged/guest/helper/seal_table.h"

#include <string.h>

const SealEntry seal_table[] = {
    { "machine-id", SEAL_MACHINE_ID, { NULL } },
    { "ssh-host-keys", SEAL_PATTERNS, { "/etc/ssh/*_host_*", "/etc/dropbear/*_host_key", NULL } },
    { "logs", SEAL_LOGS, { "/var/log/journal/*", NULL } },
    { "network-leases",
      SEAL_PATTERNS,
      { "/var/lib/dhcp/*", "/var/lib/dhclient/*", "/var/lib/dhcpcd/*", "/var/lib/NetworkManager/*",
        "/var/lib/systemd/network/*", "/var/lib/wicked/*", "/var/lib/connman/*", NULL } },
    { "udev-rules",
      SEAL_PATTERNS,
      { "/etc/udev/rules.d/70-persistent-*.rules", "/etc/udev/rules.d/75-persistent-*.rules",
        "/etc/udev/rules.d/75-cd*.rules", NULL } },
    { "package-caches",
      SEAL_PATTERNS,
      { "/var/cache/apt/archives/*.deb", "/var/cache/apt/archives/partial/*",
        "/var/cache/apt/*.bin", "/var/lib/apt/lists/*_*", "/var/lib/apt/lists/auxfiles/*",
        "/var/lib/apt/lists/partial/*", "/var/cache/dnf/*", "/var/cache/yum/*", "/var/cache/zypp/*",
        "/var/cache/PackageKit/*", "/var/cache/pacman/pkg/*", NULL } },
    { "caches",
      SEAL_PATTERNS,
      { "/var/cache/man/*", "/var/cache/debconf/*-old", "/var/lib/dpkg/*-old",
        "/etc/resolv.conf.dpkg-*", "/etc/*passwd-", "/etc/*group-", "/etc/*shadow-", "/etc/subuid-",
        "/etc/subgid-", NULL } },
    { "temporary-files",
      SEAL_PATTERNS,
      { "/tmp/*", "/tmp/.*", "/var/tmp/*", "/var/tmp/.*", NULL } },
    { "histories", SEAL_HOMES, { NULL } },
    { "crash-data",
      SEAL_PATTERNS,
      { "/var/crash/*", "/var/lib/systemd/coredump/*", "/var/spool/abrt/*",
        "/var/lib/systemd/pstore/*", NULL } },
    { "random-seed",
      SEAL_PATTERNS,
      { "/var/lib/systemd/random-seed", "/var/lib/urandom/random-seed", "/var/lib/random-seed",
        "/boot/efi/loader/random-seed", "/boot/loader/random-seed",
        "/var/lib/systemd/credential.secret", NULL } },
    { "cloud-init",
      SEAL_PATTERNS,
      { "/var/lib/cloud/instance", "/var/lib/cloud/instances/*", "/var/lib/cloud/data/*",
        "/var/lib/cloud/sem/*", NULL } },
    /* The stamp of imaged's own first boot (templates/guest), and an account in a domain. */
    { "first-boot",
      SEAL_PATTERNS,
      { "/var/lib/imaged/*", "/etc/krb5.keytab", "/var/lib/sss/db/*",
        "/var/lib/samba/private/secrets.tdb", NULL } },
    { "mail", SEAL_PATTERNS, { "/var/mail/*", "/var/spool/mail/*", NULL } },
    { "spools",
      SEAL_PATTERNS,
      { "/var/spool/cron/atjobs/[a-z0-9]*", "/var/spool/cups/[cd]*", "/var/spool/exim4/input/*",
        "/var/spool/exim4/msglog/*", NULL } },
    { "network-hardware",
      SEAL_PATTERNS,
      { "/var/lib/bluetooth/*", "/var/lib/systemd/rfkill/*", NULL } },
    { NULL, SEAL_PATTERNS, { NULL } },
};

const char *const seal_home_names[] = {
    ".*_history",
    ".history",
    ".lesshst",
    ".viminfo",
    ".wget-hsts",
    ".xsession-errors*",
    ".cache/*",
    ".local/share/recently-used.xbel",
    ".local/share/Trash/*",
    NULL,
};

gboolean seal_is_rotated(const char *name)
{
    static const char *const ends[] = { ".gz", ".xz", ".bz2", ".zst", ".old", ".0" };
    const char *dot = strrchr(name, '.');

    for (guint i = 0; i < G_N_ELEMENTS(ends); i++) {
        if (g_str_has_suffix(name, ends[i]))
            return TRUE;
    }
    return dot && g_ascii_isdigit(dot[1]) && strspn(dot + 1, "0123456789") == strlen(dot + 1);
}
