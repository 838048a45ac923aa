/* item: one message of the queue as qmgr shows it: what it knows, and the file. */
#ifndef POSTHOUSE_CTL_ITEM_H
#define POSTHOUSE_CTL_ITEM_H

#include "ctl/ctl.h"
#include "ctl/json.h"
#include "queue/file.h"

struct item {
    char state[32];
    int64_t due_s;
    int fd; /* the file, read-only; -1 = none */
    bool readable;
    struct envelope envelope; /* when readable */
};

/* Asks qmgr.  CTL_OK, or what to exit with after saying why. */
int item_ask(struct ctl *c, struct ipc_sync *qmgr, const char *queue_id, struct item *out);
/* The same, silently, for those who can do without. */
bool item_find(struct ipc_sync *qmgr, const char *queue_id, struct item *out);
void item_deinit(struct item *i);

/* All of it on standard output. */
void item_print(const struct ctl *c, const struct item *i);
/* As members of an object that was begun. */
void item_json(const struct item *i, struct json *j);

#endif
