/* driver.c: see driver.h. */
#include "broker/host/driver.h"

void host_facts_clear(HostFacts *facts)
{
    g_free(facts->hostname);
    g_free(facts->cpu_model);
    g_free(facts->machine_uuid);
    *facts = (HostFacts){ 0 };
}

const char *domain_state_name(DomainState state)
{
    static const char *const names[] = { "running", "paused", "stuck", "ending", "off" };

    return names[state];
}

void host_domain_free(gpointer data)
{
    HostDomain *domain = data;

    if (!domain)
        return;
    g_free(domain->name);
    g_free(domain->desktop_id);
    g_free(domain->incarnation);
    g_free(domain->addresses);
    g_free(domain);
}

void client_event_free(gpointer data)
{
    ClientEvent *event = data;

    if (!event)
        return;
    g_free(event->address);
    g_free(event->port);
    g_free(event);
}
