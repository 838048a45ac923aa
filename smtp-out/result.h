/* result: what qmgr is told about jobs, as soon as it is known, and again after qmgr was restarted. */
#ifndef POSTHOUSE_SMTP_OUT_RESULT_H
#define POSTHOUSE_SMTP_OUT_RESULT_H

#include "smtp-out/out.h"

/* RESULTs of the recipients decided, and DELIVER_DONE; what does not go now goes later. */
void result_send(struct job *j);
/* The job is about to go. */
void result_forget(struct job *j);

/* A channel to qmgr is up: INFLIGHT for every job, and all results again. */
void result_resume(struct out *out);
/* What had to wait. */
void result_send_unsent(struct out *out);

#endif
