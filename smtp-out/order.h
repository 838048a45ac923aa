/* order: what qmgr asks of us: ROUTE, DELIVER, SETTLED. */
#ifndef POSTHOUSE_SMTP_OUT_ORDER_H
#define POSTHOUSE_SMTP_OUT_ORDER_H

#include "smtp-out/out.h"

/* Connects to qmgr.  0 or -ENOMEM. */
int order_open(struct out *out, const char *socket_path, const struct ipc_identity *self);
void order_close(struct out *out);
/* Tells qmgr how much we take now: nothing while we drain. */
void order_send_capacity(struct out *out);

/* ROUTE answers that qmgr could not take before. */
void order_send_unsent(struct out *out);

#endif
