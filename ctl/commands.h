/* commands: the functions of the phrase table, by the file they stand in. */
#ifndef POSTHOUSE_CTL_COMMANDS_H
#define POSTHOUSE_CTL_COMMANDS_H

#include "ctl/phrase.h"

/* suite.c */
int suite_start(struct ctl *c, const struct args *a);
int suite_stop(struct ctl *c, const struct args *a);
int suite_reload(struct ctl *c, const struct args *a);
int suite_status(struct ctl *c, const struct args *a);
/* check.c */
int check_suite(struct ctl *c, const struct args *a);
/* user.c */
int user_add(struct ctl *c, const struct args *a);
int user_passwd(struct ctl *c, const struct args *a);
int user_list(struct ctl *c, const struct args *a);
int user_disable(struct ctl *c, const struct args *a);
int user_enable(struct ctl *c, const struct args *a);
int user_lane(struct ctl *c, const struct args *a);
int user_senders(struct ctl *c, const struct args *a);
int user_certificate(struct ctl *c, const struct args *a);
int user_remove(struct ctl *c, const struct args *a);
/* usage.c */
int user_usage(struct ctl *c, const struct args *a);
int user_thaw(struct ctl *c, const struct args *a);
int usage_show(struct ctl *c, const struct args *a);
/* dkim.c */
int dkim_generate(struct ctl *c, const struct args *a);
int dkim_list(struct ctl *c, const struct args *a);
int dkim_dns(struct ctl *c, const struct args *a);
/* queue.c */
int queue_list(struct ctl *c, const struct args *a);
int queue_show(struct ctl *c, const struct args *a);
int queue_retry(struct ctl *c, const struct args *a);
int queue_hold(struct ctl *c, const struct args *a);
int queue_release(struct ctl *c, const struct args *a);
int queue_delete(struct ctl *c, const struct args *a);
/* rules.c */
int queue_suspend(struct ctl *c, const struct args *a);
int queue_bounce(struct ctl *c, const struct args *a);
int queue_reroute(struct ctl *c, const struct args *a);
int queue_resume(struct ctl *c, const struct args *a);
int queue_rules(struct ctl *c, const struct args *a);
/* audit.c */
int queue_audit(struct ctl *c, const struct args *a);
/* suppress.c */
int suppress_list(struct ctl *c, const struct args *a);
int suppress_add(struct ctl *c, const struct args *a);
int suppress_remove(struct ctl *c, const struct args *a);
/* config.c */
int config_show(struct ctl *c, const struct args *a);
int config_check(struct ctl *c, const struct args *a);
/* trace.c */
int trace_message(struct ctl *c, const struct args *a);

/* table.c */
extern const struct phrase phrases[];

#endif
