/* out: what the parts of smtp-out share: one worker's settings, routes, DNS, idle connections and jobs.
 *
 * A DELIVER becomes a job (job.h).  A job takes an idle session of its site from the pool (pool.h), or finds the site's
 * hosts (site.h) and connects (connect.h); then the session carries the message (deliver.h).  What became of each
 * recipient goes to qmgr and is kept until qmgr has settled it (result.h). */
#ifndef POSTHOUSE_SMTP_OUT_OUT_H
#define POSTHOUSE_SMTP_OUT_OUT_H

#include "base/list.h"
#include "base/net.h"
#include "dns/cache.h"
#include "io/loop.h"
#include "ipc/channel.h"
#include "smtp-out/route.h"
#include "settings/smtp_out.h"

struct job;
struct routing;
struct session;
struct site_sessions;

TAILQ_HEAD(session_list, session);
TAILQ_HEAD(job_list, job);
TAILQ_HEAD(routing_list, routing);

struct out {
    struct loop *loop;
    const struct settings_smtp_out *settings;
    const char *hostname, *helo_name;
    struct net_address source_ipv4, source_ipv6; /* len 0 = any */
    struct dns_resolver *resolver;
    struct dns_cache *dns;
    struct route_table routes;

    struct session_list idle; /* pool: oldest first */
    size_t idle_count;
    struct site_sessions *idle_by_site;

    struct session_list quitting; /* QUIT was said, the server has not closed yet */

    struct ipc_client *qmgr;
    struct job *jobs;            /* all not settled, by job number and queue id */
    struct job_list unsent;      /* with results that qmgr has not been sent */
    size_t working;              /* jobs not finished */
    struct routing_list routing; /* ROUTEs not answered */
    struct timer send_later;     /* qmgr did not keep up */

    bool draining;
    void (*on_drained)(void *arg); /* draining, and nothing is left to do, to report or to close */
    void *on_drained_arg;
};

/* settings, hostname and the routes must be there; makes the rest.  0 or -errno. */
int out_init(struct out *out, struct loop *l, const struct dns_config *dns);
void out_deinit(struct out *out);
/* No new work; on_drained is called when the rest is done. */
void out_drain(struct out *out);
/* To be called whenever a job or a result is out of the way. */
void out_check_drained(struct out *out);

#endif
