/* rules: the rules in force.  They are kept in rules/rules below the queue directory, so that they outlive us, and are
 * asked wherever recipients are routed and once more before they are sent. */
#ifndef POSTHOUSE_QMGR_RULES_H
#define POSTHOUSE_QMGR_RULES_H

#include "io/loop.h"
#include "ipc/channel.h"
#include "qmgr/rule.h"

#define RULE_NOT_KNOWN UINT32_MAX /* of a message found at a start: some rule may have put it off */

struct qmgr;
struct part;

struct rules {
    struct rule_list list;
    uint32_t generation; /* changes with the list; never 0 once started */
    struct timer timer;  /* the next one that expires */
};

/* Reads the file; a broken one is set aside.  0 or -errno. */
int rules_start(struct qmgr *q);
void rules_free(struct qmgr *q);
/* Takes the members out of the part that a rule is for: settles them, or gives them to a part with another route.  The
 * caller then calls round_check. */
void rules_apply(struct part *p);
/* Whether one is about mail of this kind. */
bool rules_concern(struct qmgr *q, const struct rule_subject *s);
/* From the admin. */
void rules_order(void *arg, struct ipc_channel *from, const void *message, int *fd);
void rules_list(void *arg, struct ipc_channel *from, const void *message, int *fd);

#endif
