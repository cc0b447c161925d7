/* interrupt.c: see interrupt.h.  The two static variables are what a signal handler can reach. */
#include "imaged/cli/interrupt.h"

#include <signal.h>

static volatile sig_atomic_t seen;
static volatile sig_atomic_t first;

static void note(int signal_number)
{
    seen = signal_number;
    first = signal_number;
}

void interrupt_catch(void)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction action = { .sa_handler = note, .sa_flags = (int)SA_RESETHAND };

    sigemptyset(&action.sa_mask);
    for (guint i = 0; i < G_N_ELEMENTS(signals); i++) {
        struct sigaction before;
        /* nohup and a shell's background jobs ignore some of them: so do we. */
        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
    }
}

int interrupt_seen(void)
{
    return seen;
}

void interrupt_rearm(void)
{
    seen = 0;
    interrupt_catch();
}

void interrupt_end(void)
{
    if (!first)
        return;
    signal(first, SIG_DFL);
    raise(first);
}
