/* limits: how many sessions and failed logins a client address has, and how many sessions its network or a credential,
 * counted over all smtpd processes.
 *
 * The counters stand in memory that master makes and every process maps; not in a file, as a page that a full disk has
 * no room for would end the process that touches it.  They are a count-min sketch: an address adds to one cell in
 * each of two rows chosen by two keyed hashes, and its count is the smaller of the two.  So the table has a fixed size,
 * needs no locks, and an address can at worst be counted too high, by those few that share both its cells.  Sessions
 * are counted in a region per process; one that died without saying goodbye stops counting when its heartbeat ends.
 * What is an address here is a /64 network with IPv6. */
#ifndef POSTHOUSE_SMTPD_LIMITS_H
#define POSTHOUSE_SMTPD_LIMITS_H

#include "base/net.h"
#include "io/loop.h"

enum limits_result {
    LIMITS_TOO_MANY = 1,          /* in all */
    LIMITS_TOO_MANY_FROM_ADDRESS, /* at the same time */
    LIMITS_TOO_MANY_FROM_NETWORK, /* the same */
    LIMITS_TOO_FAST,              /* in a minute */
};

/* 0 as a maximum = no limit. */
struct limits_maxima {
    int64_t sessions, sessions_per_address, sessions_per_network, connections_per_minute, failed_logins_per_minute;
    int64_t ipv4_prefix, ipv6_prefix; /* what a network is, bits; IPv6: 64 at most */
};

struct limits;

/* memory: a memfd that can be sealed, empty before the first process; it stays the caller's.  0 or -errno. */
int limits_new(struct loop *l, int memory, const struct limits_maxima *maxima, struct limits **out);
void limits_free(struct limits *limits);

/* Counts a new session: 0, or an enum limits_result (then it is not counted).  LIMITS_TOO_MANY only when nothing else
 * stands against this client: it is the one that an ended session helps against.  client NULL: a proxy's that has not
 * told who its client is, which counts in all only. */
int limits_connect(struct limits *limits, const struct net_address *client);
/* Whether there were nearly as many sessions as there may be when the last one came. */
bool limits_crowded(const struct limits *limits);
void limits_disconnect(struct limits *limits, const struct net_address *client);
/* The client of a session turned out to be another, as its proxy told: as limits_connect, but when it is refused the
 * session goes on counting as from's. */
int limits_move(struct limits *limits, const struct net_address *from, const struct net_address *to);

enum { LIMITS_LISTENER = 100 }; /* a kind beside those of enum usage_kind */

/* Sessions of somebody else than a client, told by a kind and a name: a credential, a tenant, a listener.  Returns how
 * many there were before this one. */
int64_t limits_enter(struct limits *limits, unsigned kind, const char *name);
void limits_leave(struct limits *limits, unsigned kind, const char *name);

void limits_login_failed(struct limits *limits, const struct net_address *client);
/* Whether this address must wait before it may try to log in again. */
bool limits_login_blocked(struct limits *limits, const struct net_address *client);

#endif
