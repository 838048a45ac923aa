/* session: the exchanges that smtpd asked for, from AUTH_START to AUTH_DONE.
 *
 * The loop keeps the sessions, their time-outs and the delays of failed logins; the library's calls, database look-ups
 * and key derivations run in one helper thread, one after the other, so the loop never waits for them.  Where one core
 * of key derivation is not enough, master starts more of this program. */
#ifndef POSTHOUSE_AUTH_SESSION_H
#define POSTHOUSE_AUTH_SESSION_H

#include "ipc/channel.h"
#include "smtpd/auth/throttle.h"

struct auth_limits {
    uint64_t step_timeout_ms; /* for each response of the client */
    size_t sessions_max;
};

struct auth;

/* The engine is up.  The throttle stays the caller's, for as long.  NULL: memory or threads are short. */
struct auth *auth_new(struct loop *l, const struct auth_limits *limits, struct throttle *throttle);
/* Before engine_deinit. */
void auth_free(struct auth *a);

/* No login is under way. */
bool auth_is_idle(const struct auth *a);

/* For the face of the ipc server; their arg is the struct auth. */
extern const struct ipc_handler auth_handlers[];
void auth_on_up(void *arg, struct ipc_channel *c);
void auth_on_down(void *arg, struct ipc_channel *c, const char *why);

#endif
