/* office: the failure reports of qmgr under way, each through its steps: remember hard failures and read the original
 * (in a helper thread), compose the notice, commit it, answer.
 *
 * A BOUNCE may come twice: qmgr sends it again when it did not see the answer.  What is under way is then answered
 * under its new job number, and what was answered lately is answered again, so that only a crash of this process
 * between commit and answer makes a second notice; that one has the Message-ID of the first. */
#ifndef POSTHOUSE_BOUNCE_OFFICE_H
#define POSTHOUSE_BOUNCE_OFFICE_H

#include "ipc/channel.h"
#include "queue/inject.h"
#include "settings/bounce.h"
#include "store/suppression.h"
#include "store/usage.h"

struct office;

struct office_setup {
    struct loop *loop;
    const struct settings_bounce *settings;
    const char *hostname;
    struct injector *injector;
    struct suppression *suppression; /* used by the office's helper thread from now on */
    struct usage *usage;             /* likewise; NULL = bounces of a credential are not counted */
    /* The way to qmgr while there is one, else NULL. */
    struct ipc_channel *(*channel)(void *arg);
    /* The last report in hand was finished. */
    void (*idle)(void *arg);
    void *arg;
};

/* NULL: memory, threads or descriptors are short.  What setup points to must outlive the office. */
struct office *office_new(const struct office_setup *setup);
void office_free(struct office *o);

/* Takes the report in hand, or answers at once that it has to come again.  *fd: the message; taken when it is needed.
 */
void office_take(struct office *o, const struct ipc_bounce *b, int *fd);
/* From now on every new report has to come again. */
void office_close(struct office *o);
size_t office_reports(const struct office *o);

#endif
