/* worker.h: one alert's thread: looks for events, gives them to the receiver, tries again.
 *
 * For alerts.c alone.  Any thread may call these functions. */
#pragma once

#include "broker/alert/alerts.h"

typedef struct AlertWorker AlertWorker;

/* row is copied; secret may be NULL. */
AlertWorker *alert_worker_new(World *world, const AlertRow *row, const char *secret);

/* Returns once its thread has ended, within a second or so; what was on its way may have come. */
void alert_worker_end(AlertWorker *worker);

/* There are new events; or (now) a receiver that failed is to be tried at once. */
void alert_worker_wake(AlertWorker *worker, gboolean now);

void alert_worker_view(AlertWorker *worker, AlertView *ret);

/* Give a message to the receiver once. */
gboolean alert_give(World *world, const AlertRow *row, const char *secret, GPtrArray *events,
                    gint64 n_lost, const gint *is_ended, GError **error);
