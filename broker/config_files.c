/* config_files.c: each format has one way to quote, and every value passes it: g_shell_quote() for
 * imaged.conf, jansson for YAML (JSON is a part of YAML), g_markup_escape_text() for XML. */
#include "broker/config_files.h"

#include <jansson.h>
#include <string.h>

#include "broker/iso9660.h"

#define LABEL "cidata"

static gboolean has(const char *text)
{
    return text && *text;
}

/* A domain is joined only with the right to do so; else it is a part of the name. */
static gboolean joins(const ConfigFacts *f)
{
    return has(f->domain) && (has(f->join_password) || has(f->one_time_password));
}

static char *instance_of(const ConfigFacts *f)
{
    return g_strdup_printf("%s-%" G_GINT64_FORMAT, f->desktop_id, f->generation);
}

/* ---- imaged.conf ---- */

static void add_line(GString *out, const char *key, const char *value)
{
    if (!has(value))
        return;
    g_autofree char *quoted = g_shell_quote(value);
    g_string_append_printf(out, "IMAGED_%s=%s\n", key, quoted);
}

char *config_files_conf(const ConfigFacts *f)
{
    GString *out = g_string_new("# Read by imaged-firstboot, once for each generation.\n");
    g_autofree char *instance = instance_of(f);

    add_line(out, "INSTANCE", instance);
    add_line(out, "HOSTNAME", f->hostname);
    add_line(out, "COMPUTER_NAME", f->computer_name);
    add_line(out, "DOMAIN", f->domain);
    if (joins(f)) {
        add_line(out, "JOIN", "yes");
        add_line(out, "OU", f->ou);
        add_line(out, "ACCOUNT", f->renews_account ? "renew" : "keep");
        add_line(out, "ONE_TIME_PASSWORD", f->one_time_password);
        if (!has(f->one_time_password)) {
            add_line(out, "JOIN_USER", f->join_user);
            add_line(out, "JOIN_PASSWORD", f->join_password);
        }
    }
    add_line(out, "USER", f->user);
    if (has(f->user)) {
        add_line(out, "USER_IS_LOCAL", f->is_domain_user ? "no" : "yes");
        add_line(out, "AUTO_LOGIN", f->auto_login ? "yes" : "no");
        if (!f->is_domain_user)
            add_line(out, "PASSWORD_HASH", f->user_password_hash);
    }
    return g_string_free(out, FALSE);
}

/* ---- NoCloud ---- */

static char *dump(json_t *object, const char *before)
{
    char *text = json_dumps(object, JSON_INDENT(2));
    char *out = g_strconcat(before, text, "\n", NULL);

    free(text);
    json_decref(object);
    return out;
}

char *config_files_meta_data(const ConfigFacts *f)
{
    g_autofree char *instance = instance_of(f);

    return dump(json_pack("{s:s,s:s}", "instance-id", instance, "local-hostname", f->hostname), "");
}

/* What cloud-init leaves as it was in the template: the machine id. */
static json_t *new_machine_id(void)
{
    return json_pack("[[s,s,s,s,s,s]]", "cloud-init-per", "instance", "imaged-machine-id", "sh",
                     "-c",
                     "umount -l /etc/machine-id 2>/dev/null; "
                     "tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id");
}

char *config_files_user_data(const ConfigFacts *f)
{
    json_t *object = json_pack("{s:s,s:b,s:b,s:o}", "hostname", f->hostname, "preserve_hostname", 0,
                               "ssh_deletekeys", 1, "bootcmd", new_machine_id());

    if (has(f->domain)) {
        g_autofree char *full = g_strdup_printf("%s.%s", f->hostname, f->domain);
        json_object_set_new(object, "fqdn", json_string(full));
    }
    if (has(f->user) && !f->is_domain_user) {
        json_t *user = json_pack("{s:s,s:s}", "name", f->user, "shell", "/bin/bash");
        if (has(f->user_password_hash)) {
            json_object_set_new(user, "lock_passwd", json_false());
            json_object_set_new(user, "passwd", json_string(f->user_password_hash));
        }
        json_object_set_new(object, "users", json_pack("[o]", user));
    }
    return dump(object, "#cloud-config\n");
}

/* ---- Windows ---- */

static void add_element(GString *out, const char *name, const char *value)
{
    if (!has(value))
        return;
    g_autofree char *escaped = g_markup_escape_text(value, -1);
    g_string_append_printf(out, "<%s>%s</%s>\n", name, escaped, name);
}

static void begin_component(GString *out, const char *name)
{
    g_string_append_printf(out,
                           "<component name=\"Microsoft-Windows-%s\" processorArchitecture="
                           "\"amd64\" publicKeyToken=\"31bf3856ad364e35\" language=\"neutral\" "
                           "versionScope=\"nonSxS\">\n",
                           name);
}

static void end_component(GString *out)
{
    g_string_append(out, "</component>\n");
}

static void add_join(GString *out, const ConfigFacts *f)
{
    begin_component(out, "UnattendedJoin");
    g_string_append(out, "<Identification>\n");
    if (has(f->one_time_password)) {
        add_element(out, "MachinePassword", f->one_time_password);
        add_element(out, "UnsecureJoin", "true");
    } else {
        g_string_append(out, "<Credentials>\n");
        add_element(out, "Domain", f->domain);
        add_element(out, "Username", has(f->join_user) ? f->join_user : "Administrator");
        add_element(out, "Password", f->join_password);
        g_string_append(out, "</Credentials>\n");
    }
    add_element(out, "JoinDomain", f->domain);
    add_element(out, "MachineObjectOU", f->ou);
    g_string_append(out, "</Identification>\n");
    end_component(out);
}

static void add_password(GString *out, const char *password)
{
    g_string_append(out, "<Password>\n");
    if (has(password))
        add_element(out, "Value", password);
    else
        g_string_append(out, "<Value></Value>\n");
    add_element(out, "PlainText", "true");
    g_string_append(out, "</Password>\n");
}

/* Setup's questions: without answers it waits for a person. */
static void add_oobe(GString *out)
{
    static const char *const hidden[] = { "HideEULAPage", "HideLocalAccountScreen",
                                          "HideOEMRegistrationScreen", "HideOnlineAccountScreens",
                                          "HideWirelessSetupInOOBE" };

    g_string_append(out, "<OOBE>\n");
    for (guint i = 0; i < G_N_ELEMENTS(hidden); i++)
        add_element(out, hidden[i], "true");
    add_element(out, "ProtectYourPC", "3");
    g_string_append(out, "</OOBE>\n");
}

static void add_log_in(GString *out, const ConfigFacts *f)
{
    begin_component(out, "Shell-Setup");
    add_oobe(out);
    if (has(f->user) && !f->is_domain_user) {
        g_string_append(out, "<UserAccounts><LocalAccounts>"
                             "<LocalAccount wcm:action=\"add\">\n");
        add_password(out, f->user_password);
        add_element(out, "Name", f->user);
        add_element(out, "Group", "Users");
        g_string_append(out, "</LocalAccount></LocalAccounts></UserAccounts>\n");
    }
    if (has(f->user) && f->auto_login) {
        g_string_append(out, "<AutoLogon>\n");
        add_password(out, f->user_password);
        if (f->is_domain_user)
            add_element(out, "Domain", f->domain);
        add_element(out, "Enabled", "true");
        add_element(out, "LogonCount", "9999999");
        add_element(out, "Username", f->user);
        g_string_append(out, "</AutoLogon>\n");
    }
    end_component(out);
}

char *config_files_unattend(const ConfigFacts *f)
{
    GString *out = g_string_new("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
                                "<unattend xmlns=\"urn:schemas-microsoft-com:unattend\" "
                                "xmlns:wcm=\"http://schemas.microsoft.com/WMIConfig/2002/State\">\n"
                                "<settings pass=\"specialize\">\n");

    begin_component(out, "Shell-Setup");
    add_element(out, "ComputerName", f->computer_name);
    end_component(out);
    if (joins(f))
        add_join(out, f);
    g_string_append(out, "</settings>\n<settings pass=\"oobeSystem\">\n");
    add_log_in(out, f);
    g_string_append(out, "</settings>\n</unattend>\n");
    return g_string_free(out, FALSE);
}

/* ---- The disk ---- */

GByteArray *config_files_disk(const ConfigFacts *f)
{
    g_autofree char *meta_data = config_files_meta_data(f);

    if (f->is_windows) {
        g_autofree char *answers = config_files_unattend(f);
        gsize len = strlen(answers);
        const IsoFile files[] = { { "autounattend.xml", answers, len },
                                  { "meta-data", meta_data, strlen(meta_data) },
                                  { "unattend.xml", answers, len } };
        return iso9660_make(LABEL, files, G_N_ELEMENTS(files));
    }
    g_autofree char *conf = config_files_conf(f);
    g_autofree char *user_data = config_files_user_data(f);
    const IsoFile files[] = { { "imaged.conf", conf, strlen(conf) },
                              { "meta-data", meta_data, strlen(meta_data) },
                              { "user-data", user_data, strlen(user_data) } };
    return iso9660_make(LABEL, files, G_N_ELEMENTS(files));
}
