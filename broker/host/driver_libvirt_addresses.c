/* driver_libvirt_addresses.c: see driver_libvirt_addresses.h.  What an agent says comes from the
 * guest: only what reads as an address is taken. */
#include "broker/host/driver_libvirt_addresses.h"

#include <arpa/inet.h>
#include <string.h>

#define AGENT_S 1
#define MAX_ADDRESSES 8

static gboolean is_useful(const char *address)
{
    struct in6_addr six;
    struct in_addr four;

    if (inet_pton(AF_INET, address, &four) == 1)
        return !g_str_has_prefix(address, "127.") && !g_str_has_prefix(address, "169.254.");
    return inet_pton(AF_INET6, address, &six) == 1 && !IN6_IS_ADDR_LOOPBACK(&six) &&
           !IN6_IS_ADDR_LINKLOCAL(&six);
}

static guint add_all(const virDomainInterface *interface, GString *out, guint n)
{
    for (unsigned int i = 0; i < interface->naddrs && n < MAX_ADDRESSES; i++) {
        const char *address = interface->addrs[i].addr;
        if (!address || !is_useful(address))
            continue;
        g_string_append_printf(out, "%s%s", n ? " " : "", address);
        n++;
    }
    return n;
}

char *libvirt_addresses(virDomainPtr domain)
{
    static const unsigned int sources[] = { VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT,
                                            VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE,
                                            VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP };
    g_autoptr(GString) out = g_string_new(NULL);

    virDomainAgentSetResponseTimeout(domain, AGENT_S, 0);
    for (guint s = 0; s < G_N_ELEMENTS(sources) && !out->len; s++) {
        virDomainInterfacePtr *interfaces = NULL;
        int n_interfaces = virDomainInterfaceAddresses(domain, &interfaces, sources[s], 0);
        guint n = 0;
        for (int i = 0; i < n_interfaces; i++) {
            n = add_all(interfaces[i], out, n);
            virDomainInterfaceFree(interfaces[i]);
        }
        free(interfaces);
    }
    return out->len ? g_strdup(out->str) : NULL;
}
