/* AUTH: RFC 4954.
 *
 *     auth = "AUTH" SP sasl-mech [SP initial-response] *(CRLF [base64]) [CRLF "*"] CRLF
 *     initial-response = base64 / "="
 *
 * The exchange itself is the auth program's; nothing of it is looked at here. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/encode.h"
#include "base/text.h"
#include "smtpd/command.h"
#include "smtpd/limits.h"
#include "log/log.h"
#include "smtpd/transaction.h"
#include "tls/identity.h"

enum { CERTIFICATE_NAMES_MAX = 4096 };

static void log_login(const struct session *s, const char *result, const char *credential)
{
    log_info("auth: result=%s, credential=%s, mechanism=%s, client=%s, listener=%s, tls=%s", result, credential,
             s->mechanism, s->client, s->listener->name, stream_tls_text(s->stream));
}

static void login_succeeded(struct session *s, const struct ipc_auth_done *done)
{
    const struct session_owner owner = {
        .credential = done->credential, .tenant = done->tenant, .senders = done->senders, .bulk = done->bulk != 0};
    int r = session_log_in(s, &owner);
    if (r < 0) {
        log_login(s, r == -EUSERS ? "too many sessions" : "unavailable", done->credential);
        session_decline(s, 454, "4.7.0", "%s, try again later",
                        r == -EUSERS ? "too many sessions of this credential or its tenant" : "no memory");
        return;
    }
    log_login(s, "ok", done->credential);
    session_reply(s, 235, "2.7.0", "authenticated");
}

/* The reply says nothing about which of name and password was wrong. */
static void login_failed(struct session *s, const struct ipc_auth_done *done)
{
    log_login(s, "failed", "");
    limits_login_failed(s->server->limits, &s->peer);
    session_refuse(s, 535, "5.7.8", "user name or password is wrong");
    if (++s->failed_logins >= (unsigned)s->server->settings.max_login_attempts)
        session_end_soon(s, "too many failed logins");
}

static void login_unavailable(struct session *s, const struct ipc_auth_done *done)
{
    log_login(s, "unavailable", "");
    session_decline(s, 454, "4.7.0", "logins can not be checked now, try again later");
}

static void login_malformed(struct session *s, const struct ipc_auth_done *done)
{
    session_refuse(s, 501, "5.5.2", "not valid base64, or not of the mechanism's form");
}

static void login_no_mechanism(struct session *s, const struct ipc_auth_done *done)
{
    session_refuse(s, 504, "5.5.4", "mechanism is not supported");
}

static void (*const login_results[])(struct session *s, const struct ipc_auth_done *done) = {
    [AUTH_OK] = login_succeeded,
    [AUTH_FAILED] = login_failed,
    [AUTH_TEMPFAIL] = login_unavailable,
    [AUTH_MALFORMED] = login_malformed,
    [AUTH_NO_MECHANISM] = login_no_mechanism,
};

static void on_done(void *arg, const struct ipc_auth_done *done)
{
    struct session *s = arg;
    size_t result = done->result < ARRAY_LENGTH(login_results) ? done->result : AUTH_TEMPFAIL;
    s->exchange = NULL;
    s->phase = SESSION_COMMAND;
    login_results[result](s, done);
    if (s->phase == SESSION_COMMAND)
        session_resume(s, SESSION_COMMAND);
}

static void on_challenge(void *arg, const char *challenge)
{
    struct session *s = arg;
    /* Not through session_reply, which cuts long lines: a challenge may have 12,288 bytes (section 4). */
    if (stream_printf(s->stream, "334 %s\r\n", challenge) < 0) {
        session_give_up_login(s);
        session_close(s, 421, "4.7.0", "%s closing the connection", s->server->hostname);
        return;
    }
    session_resume(s, SESSION_AUTH_RESPONSE);
}

static const struct auth_ops auth_answers = {on_challenge, on_done};

/* What auth is told of the channel, and what it needs to hold it. */
struct channel_proof {
    struct tls_identity identity;
    struct buf names, binding;
};

static void proof_deinit(struct channel_proof *proof)
{
    buf_deinit(&proof->names);
    buf_deinit(&proof->binding);
}

/* A server that offers channel binding has to notice when a client was made to believe it does not (RFC 5802 section
 * 6), so the binding goes along with every SCRAM. */
static void add_binding(struct session *s, struct ipc_auth_start *start, struct channel_proof *proof)
{
    unsigned char binding[TLS_EXPORTER_BYTES];
    if (!session_offers_mechanism(s, "SCRAM-SHA-256-PLUS") || tls_exporter(s->stream, binding) < 0 ||
        base64_encode(binding, sizeof(binding), &proof->binding) < 0)
        return;
    start->binding_name = "tls-exporter";
    start->binding = buf_str(&proof->binding);
}

static void add_certificate(struct session *s, struct ipc_auth_start *start, struct channel_proof *proof)
{
    if (!s->listener->client_certificates || tls_identity(s->stream, &proof->identity) < 0)
        return;
    start->certificate = proof->identity.certificate;
    start->certificate_key = proof->identity.key;
    if (proof->identity.verified && tls_identity_names(s->stream, &proof->names) == 0)
        start->certificate_names = buf_str(&proof->names);
}

static void begin(struct session *s, const char *initial)
{
    _cleanup_(proof_deinit) struct channel_proof proof = {0};
    struct ipc_auth_start start = {
        .mechanism = s->mechanism,
        .has_initial = initial != NULL,
        /* Section 4: "=" is the response of length zero. */
        .initial = initial == NULL || strcmp(initial, "=") == 0 ? "" : initial,
        .client_address = s->client,
        .secure = stream_is_secure(s->stream) || s->listener->auth_without_tls,
        .binding_name = "",
        .binding = "",
        .certificate = "",
        .certificate_key = "",
        .certificate_names = "",
    };
    buf_init(&proof.names, CERTIFICATE_NAMES_MAX);
    buf_init(&proof.binding, 64);
    add_binding(s, &start, &proof);
    add_certificate(s, &start, &proof);
    if (auth_start(s->server->auth, &start, &auth_answers, s, &s->exchange) < 0)
        login_unavailable(s, NULL);
    else
        session_wait(s, SESSION_AUTH_WAIT);
}

void cmd_auth(struct session *s, char *argument)
{
    char *initial = strchr(argument, ' ');
    if (s->listener->auth == LISTENER_AUTH_NO) {
        session_refuse(s, 502, "5.5.1", "AUTH is not offered here");
        return;
    }
    /* Section 3: extensions are for clients that said EHLO. */
    if (!s->esmtp) {
        session_refuse(s, 503, "5.5.1", "AUTH needs EHLO");
        return;
    }
    /* Section 4: a second AUTH, or one inside a transaction, is refused. */
    if (s->credential != NULL || s->transaction != NULL) {
        session_refuse(s, 503, "5.5.1", s->credential != NULL ? "logged in already" : "not inside a transaction");
        return;
    }
    if (!session_offers_auth(s)) {
        session_refuse(s, 538, "5.7.11", "login needs encryption, send STARTTLS first");
        return;
    }
    if (initial != NULL) {
        *initial++ = '\0';
        initial += strspn(initial, " ");
    }
    if (argument[0] == '\0') {
        session_refuse(s, 501, "5.5.4", "AUTH needs a mechanism");
        return;
    }
    if (!session_offers_mechanism(s, argument)) {
        session_refuse(s, 504, "5.5.4", "mechanism is not supported");
        return;
    }
    if (limits_login_blocked(s->server->limits, &s->peer)) {
        log_info("ended: client=%s, listener=%s, reason=too many failed logins in a minute", s->client,
                 s->listener->name);
        session_close(s, 421, "4.7.0", "%s too many failed logins from your address, wait a minute",
                      s->server->hostname);
        return;
    }
    snprintf(s->mechanism, sizeof(s->mechanism), "%s", argument);
    begin(s, initial);
    if (initial != NULL)
        explicit_bzero(initial, strlen(initial));
}

void command_auth_give_up(struct session *s)
{
    session_give_up_login(s);
    s->phase = SESSION_COMMAND;
}

void command_auth_response(struct session *s, char *line, size_t len)
{
    if (strcmp(line, "*") == 0) {
        command_auth_give_up(s);
        session_refuse(s, 501, "5.7.0", "login given up");
        return;
    }
    if (auth_step(s->server->auth, s->exchange, line) < 0) {
        command_auth_give_up(s);
        login_unavailable(s, NULL);
    } else {
        session_wait(s, SESSION_AUTH_WAIT);
    }
    explicit_bzero(line, len);
}
