/* What a session may do, and what it is offered. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "smtpd/listen.h"
#include "smtpd/quota.h"
#include "smtpd/session.h"
#include "tls/identity.h"

static void forget_owner(struct session *s)
{
    free(s->credential);
    free(s->tenant);
    free(s->senders);
    s->credential = s->tenant = s->senders = NULL;
    s->bulk = false;
}

void session_log_out(struct session *s)
{
    if (s->credential != NULL)
        quota_leave(s);
    forget_owner(s);
}

int session_log_in(struct session *s, const struct session_owner *owner)
{
    s->credential = strdup(owner->credential);
    s->tenant = strdup(owner->tenant);
    s->senders = strdup(owner->senders);
    s->login_us = clock_wall_us();
    s->bulk = owner->bulk;
    int r = s->credential == NULL || s->tenant == NULL || s->senders == NULL ? -ENOMEM : quota_enter(s) ? 0 : -EUSERS;
    if (r < 0)
        forget_owner(s);
    return r;
}

bool session_may_relay(const struct session *s)
{
    return s->credential != NULL || s->trusted;
}

const char *session_senders(const struct session *s)
{
    return s->credential != NULL ? s->senders : s->listener->senders;
}

const char *session_tenant(const struct session *s)
{
    return s->credential != NULL ? s->tenant : s->listener->tenant;
}

int64_t session_max_message_size(const struct session *s)
{
    return listener_limit(s->listener->max_message_size_bytes, s->server->settings.max_message_size_bytes);
}

int64_t session_max_recipients(const struct session *s)
{
    return listener_limit(s->listener->max_recipients, s->server->settings.max_recipients);
}

bool session_offers_auth(const struct session *s)
{
    return s->listener->auth != LISTENER_AUTH_NO && s->server->auth != NULL &&
           (stream_is_secure(s->stream) || s->listener->auth_without_tls);
}

/* EXTERNAL and channel binding are offered only where the client can use them: some try the first that they know. */
bool session_offers_mechanism(const struct session *s, const char *mechanism)
{
    const struct conf_list *mechanisms = &s->server->settings.auth_mechanisms;
    size_t i = 0;
    while (i < mechanisms->count && !text_equal_nocase(mechanisms->items[i], mechanism))
        i++;
    if (i == mechanisms->count)
        return false;
    if (text_equal_nocase(mechanism, "EXTERNAL"))
        return s->listener->client_certificates && tls_has_identity(s->stream);
    return !text_equal_nocase(mechanism, "SCRAM-SHA-256-PLUS") || tls_has_exporter(s->stream);
}

static bool offers_some_mechanism(const struct session *s)
{
    const struct conf_list *mechanisms = &s->server->settings.auth_mechanisms;
    for (size_t i = 0; i < mechanisms->count; i++)
        if (session_offers_mechanism(s, mechanisms->items[i]))
            return true;
    return false;
}

unsigned session_offers(const struct session *s)
{
    unsigned offers = SMTP_EXT_ALL & ~s->hidden_extensions;
    if (s->listener->tls != LISTENER_TLS_STARTTLS || stream_is_secure(s->stream))
        offers &= ~SMTP_EXT_STARTTLS;
    if (!session_offers_auth(s) || s->credential != NULL || !offers_some_mechanism(s))
        offers &= ~SMTP_EXT_AUTH;
    if (!stream_is_secure(s->stream)) /* RFC 8689 section 2 */
        offers &= ~SMTP_EXT_REQUIRETLS;
    /* RFC 4865 section 3: for submission. */
    if (s->listener->role != LISTENER_SUBMISSION || s->server->settings.future_release_max_ms == 0)
        offers &= ~SMTP_EXT_FUTURERELEASE;
    if (!s->may_xclient)
        offers &= ~SMTP_EXT_XCLIENT;
    if ((offers & SMTP_EXT_CHUNKING) == 0) /* RFC 3030 section 3 */
        offers &= ~SMTP_EXT_BINARYMIME;
    return offers;
}

const char *session_protocol(const struct session *s, bool smtputf8)
{
    static const char *const names[2][4] = {
        {"ESMTP", "ESMTPA", "ESMTPS", "ESMTPSA"},
        {"UTF8SMTP", "UTF8SMTPA", "UTF8SMTPS", "UTF8SMTPSA"},
    };
    unsigned secure = stream_is_secure(s->stream) ? 2 : 0;
    if (!s->esmtp && secure == 0)
        return "SMTP";
    return names[smtputf8 ? 1 : 0][secure + (s->credential != NULL ? 1 : 0)];
}

void session_judge_client(struct session *s)
{
    const struct settings_listener *l = s->listener;
    s->trusted = listener_networks_hold(&l->trusted_networks, &s->peer);
    s->may_xclient = listener_networks_hold(&l->xclient_networks, &s->peer);
    s->normalises = l->bare_line_ends == LISTENER_NORMALISE || listener_networks_hold(&l->normalise_networks, &s->peer);
    s->hidden_extensions = 0;
    for (size_t i = 0; i < l->discard_ehlo_keywords.count; i++)
        s->hidden_extensions |= smtp_extension_named(l->discard_ehlo_keywords.items[i]);
}
