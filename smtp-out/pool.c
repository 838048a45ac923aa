#include "smtp-out/pool.h"

#include <stdlib.h>
#include <string.h>

#include "log/log.h"

struct site_sessions {
    char *site;
    struct session_list sessions; /* used last first; linked by peer */
    UT_hash_handle hh;
};

static struct site_sessions *sessions_of(struct out *out, const char *site)
{
    struct site_sessions *of_site = NULL;
    HASH_FIND_STR(out->idle_by_site, site, of_site);
    return of_site;
}

static struct site_sessions *sessions_add(struct out *out, const char *site)
{
    struct site_sessions *of_site = sessions_of(out, site);
    if (of_site != NULL)
        return of_site;
    of_site = calloc(1, sizeof(*of_site));
    char *copy = strdup(site);
    if (of_site == NULL || copy == NULL) {
        free(of_site);
        free(copy);
        return NULL;
    }
    of_site->site = copy;
    TAILQ_INIT(&of_site->sessions);
    HASH_ADD_KEYPTR(hh, out->idle_by_site, of_site->site, strlen(of_site->site), of_site);
    return of_site;
}

static void pool_remove(struct session *s)
{
    struct out *out = s->out;
    struct site_sessions *of_site = sessions_of(out, s->site);
    TAILQ_REMOVE(&out->idle, s, link);
    out->idle_count--;
    timer_deinit(&s->idle);
    TAILQ_REMOVE(&of_site->sessions, s, peer);
    if (!TAILQ_EMPTY(&of_site->sessions))
        return;
    HASH_DEL(out->idle_by_site, of_site);
    free(of_site->site);
    free(of_site);
}

static void pool_quit(struct session *s)
{
    pool_remove(s);
    session_quit(s);
}

static void idle_passed(void *arg)
{
    pool_quit(arg);
}

/* A server speaks to an idle session only to say that it closes it. */
static void idle_reply(void *arg, const struct smtp_reply *reply)
{
    struct session *s = arg;
    log_debug("idle connection to %s: server said %u", s->relay, reply->code);
    pool_remove(s);
    session_free(s);
}

static void idle_event(void *arg)
{
}

static void idle_end(void *arg, const char *why, bool tls_failed)
{
    struct session *s = arg;
    pool_remove(s);
    session_free(s);
}

static const struct session_ops idle_ops = {
    .on_connected = idle_event,
    .on_reply = idle_reply,
    .on_drained = idle_event,
    .on_secure = idle_event,
    .on_end = idle_end,
};

static bool is_worth_keeping(const struct session *s)
{
    const struct settings_smtp_out *settings = s->out->settings;
    return !s->out->draining && settings->idle_connections_max > 0 && settings->idle_timeout_ms > 0 &&
           s->messages < settings->messages_per_connection_max &&
           (s->messages_max == 0 || s->messages < s->messages_max);
}

bool pool_put(struct session *s)
{
    struct out *out = s->out;
    struct site_sessions *of_site = is_worth_keeping(s) ? sessions_add(out, s->site) : NULL;
    if (of_site == NULL) {
        session_quit(s);
        return false;
    }
    TAILQ_INSERT_HEAD(&of_site->sessions, s, peer);
    TAILQ_INSERT_TAIL(&out->idle, s, link);
    out->idle_count++;
    session_set_owner(s, &idle_ops, s);
    session_expect_nothing(s);
    if (timer_init(&s->idle, out->loop, idle_passed, s) < 0 ||
        timer_set_ms(&s->idle, (uint64_t)out->settings->idle_timeout_ms) < 0) {
        pool_quit(s);
        return false;
    }
    if (out->idle_count > (size_t)out->settings->idle_connections_max)
        pool_quit(TAILQ_FIRST(&out->idle)); /* another, unless none may wait */
    return true;
}

struct session *pool_take(struct out *out, const char *site)
{
    struct site_sessions *of_site = sessions_of(out, site);
    if (of_site == NULL)
        return NULL;
    struct session *s = TAILQ_FIRST(&of_site->sessions);
    pool_remove(s);
    return s;
}

void pool_clear(struct out *out)
{
    while (!TAILQ_EMPTY(&out->idle))
        pool_quit(TAILQ_FIRST(&out->idle));
}
