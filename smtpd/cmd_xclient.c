/* XCLIENT: what a proxy in front of us knows of its client, in Postfix's form (www.postfix.org/XCLIENT_README.html).
 *
 *     xclient = "XCLIENT" 1*( SP name "=" value ) CRLF, values in xtext
 *
 * The session begins anew, as that client's. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/encode.h"
#include "base/text.h"
#include "log/log.h"
#include "smtpd/command.h"
#include "smtpd/limits.h"
#include "store/credentials.h"

struct client {
    struct net_address address;
    bool has_address, esmtp, has_protocol;
    uint16_t port;
    char helo[256], login[256];
};

static bool is_unknown(const char *value)
{
    return text_equal_nocase(value, "[UNAVAILABLE]") || text_equal_nocase(value, "[TEMPUNAVAIL]");
}

static bool take_address(struct client *c, const char *value)
{
    if (is_unknown(value))
        return true;
    if (text_equal_nocase_n(value, "IPV6:", 5))
        value += 5;
    c->has_address = net_parse(value, 0, &c->address) == 0;
    return c->has_address;
}

static bool take_port(struct client *c, const char *value)
{
    uint64_t port = 0;
    bool right = is_unknown(value) || text_parse_u64(value, 65535, &port) == 0;
    c->port = (uint16_t)port;
    return right;
}

static bool take_protocol(struct client *c, const char *value)
{
    c->has_protocol = true;
    c->esmtp = text_equal_nocase(value, "ESMTP");
    return c->esmtp || text_equal_nocase(value, "SMTP");
}

static bool take_helo(struct client *c, const char *value)
{
    bool harmless = command_helo_is_harmless(value);
    snprintf(c->helo, sizeof(c->helo), "%s", harmless ? value : "");
    return harmless || is_unknown(value);
}

/* It goes into the envelope, where a line is a line. */
static bool take_login(struct client *c, const char *value)
{
    if (is_unknown(value))
        return true;
    snprintf(c->login, sizeof(c->login), "%s", value);
    return value[0] == '\0' || credential_name_valid(value);
}

static bool pass_over(struct client *c, const char *value)
{
    return true;
}

static const struct {
    const char *name;
    bool (*take)(struct client *c, const char *value);
} attributes[] = {
    {"ADDR", take_address}, {"PORT", take_port}, {"PROTO", take_protocol}, {"HELO", take_helo},
    {"LOGIN", take_login},  {"NAME", pass_over}, {"DESTADDR", pass_over},  {"DESTPORT", pass_over},
};

static bool take_attribute(struct client *c, const char *word)
{
    const char *equals = strchr(word, '=');
    struct buf value;
    bool right = false;
    buf_init(&value, 1024);
    if (equals != NULL && xtext_decode(equals + 1, strlen(equals + 1), &value) == 0 &&
        text_is_ascii(buf_str(&value), value.len) && strlen(buf_str(&value)) == value.len)
        for (size_t i = 0; i < ARRAY_LENGTH(attributes); i++)
            if (strlen(attributes[i].name) == (size_t)(equals - word) &&
                text_equal_nocase_n(word, attributes[i].name, (size_t)(equals - word)))
                right = attributes[i].take(c, buf_str(&value));
    buf_deinit(&value);
    return right;
}

static void greet(struct session *s)
{
    session_reply(s, 220, "", "%s ESMTP", s->server->hostname);
}

static void log_in(struct session *s, const struct ipc_auth_done *done)
{
    const struct session_owner owner = {.credential = done->credential,
                                        .tenant = done->tenant[0] != '\0' ? done->tenant : done->credential,
                                        .senders = done->senders,
                                        .bulk = done->bulk != 0};
    int r = session_log_in(s, &owner);
    if (r == 0)
        greet(s);
    else
        session_close(s, 421, r == -EUSERS ? "4.7.0" : "4.3.0", "%s %s, try again later", s->server->hostname,
                      r == -EUSERS ? "too many sessions of this credential or its tenant" : "no memory");
}

/* A name that is none of our credentials is taken as the proxy has it; of one that is, our rules hold. */
static void on_login_known(void *arg, const struct ipc_auth_done *done)
{
    struct session *s = arg;
    s->exchange = NULL;
    s->phase = SESSION_COMMAND;
    if (done->result == AUTH_OK || done->result == AUTH_NOBODY)
        log_in(s, done);
    else if (done->result == AUTH_FAILED)
        session_close(s, 421, "4.7.0", "%s this login is disabled", s->server->hostname);
    else
        session_close(s, 421, "4.3.0", "%s logins can not be looked up now, try again later", s->server->hostname);
    if (s->phase == SESSION_COMMAND)
        session_resume(s, SESSION_COMMAND);
}

static const struct auth_ops login_known = {.on_done = on_login_known};

/* What its login may do here. */
static void ask_login(struct session *s, const char *login)
{
    struct ipc_auth_start start = {
        .mechanism = "XCLIENT",
        .has_initial = 1,
        .initial = login,
        .vouched = 1,
        .client_address = s->client,
        .binding_name = "",
        .binding = "",
        .certificate = "",
        .certificate_key = "",
        .certificate_names = "",
    };
    if (auth_start(s->server->auth, &start, &login_known, s, &s->exchange) < 0)
        session_close(s, 421, "4.3.0", "%s logins can not be looked up now, try again later", s->server->hostname);
    else
        session_wait(s, SESSION_AUTH_WAIT);
}

/* 0; LIMITS_…: the client itself has too many sessions. */
static int become(struct session *s, const struct client *c)
{
    if (c->has_address) {
        int reason = session_set_client(s, &c->address);
        if (reason != 0)
            return reason;
        net_set_port(&s->peer, c->port);
    }
    session_forget(s);
    session_judge_client(s);
    snprintf(s->helo, sizeof(s->helo), "%s", c->helo);
    s->esmtp = c->helo[0] != '\0' && (c->esmtp || !c->has_protocol);
    return 0;
}

void cmd_xclient(struct session *s, char *argument)
{
    struct client c = {0};
    char *save = NULL;
    if ((session_offers(s) & SMTP_EXT_XCLIENT) == 0) {
        session_refuse(s, 550, "5.7.0", "XCLIENT is not for this client");
        return;
    }
    if (s->transaction != NULL) {
        session_refuse(s, 503, "5.5.1", "a transaction is under way");
        return;
    }
    if (argument[0] == '\0') {
        session_refuse(s, 501, "5.5.4", "XCLIENT needs attributes");
        return;
    }
    for (char *word = strtok_r(argument, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
        if (!take_attribute(&c, word)) {
            session_refuse(s, 501, "5.5.4", "%.64s is no attribute of XCLIENT, or has no valid value", word);
            return;
        }
    }
    log_info("xclient: client=%s, listener=%s, helo=%s, credential=%s", s->client, s->listener->name, c.helo, c.login);
    if (become(s, &c) != 0)
        session_close(s, 421, "4.7.0", "%s too many connections from your address", s->server->hostname);
    else if (c.login[0] != '\0')
        ask_login(s, c.login);
    else
        greet(s);
}
