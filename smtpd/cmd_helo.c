/* HELO and EHLO: RFC 5321 section 4.1.1.1.
 *
 *     helo = "HELO" SP Domain CRLF
 *     ehlo = "EHLO" SP ( Domain / address-literal ) CRLF
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "mail/date.h"
#include "smtpd/command.h"
#include "smtpd/transaction.h"

/* Names that clients make up are taken as they are (section 4.1.4: never refuse because of the name), as long as they
 * can stand in a trace field. */
bool command_helo_is_harmless(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]");
    return len > 0 && name[len] == '\0' && len < sizeof(((struct session *)NULL)->helo);
}

/* Section 4.1.4: a greeting also ends the transaction. */
static bool hello(struct session *s, const char *name, bool esmtp)
{
    if (!command_helo_is_harmless(name)) {
        session_refuse(s, 501, "5.5.4", "%s needs the name or address literal of the client", smtp_verb_name(s->verb));
        return false;
    }
    transaction_end(s);
    snprintf(s->helo, sizeof(s->helo), "%s", name);
    s->esmtp = esmtp;
    return true;
}

void cmd_helo(struct session *s, char *argument)
{
    if (hello(s, argument, false))
        session_reply(s, 250, "", "%s", s->server->hostname);
}

/* RFC 1870 section 3 */
static void offer_size(const struct session *s, struct buf *offer)
{
    buf_printf(offer, " %lld", (long long)session_max_message_size(s));
}

/* RFC 4954 section 3 */
static void offer_auth(const struct session *s, struct buf *offer)
{
    const struct conf_list *mechanisms = &s->server->settings.auth_mechanisms;
    for (size_t i = 0; i < mechanisms->count; i++)
        if (session_offers_mechanism(s, mechanisms->items[i]))
            buf_printf(offer, " %s", mechanisms->items[i]);
}

/* RFC 4865 section 3: the longest time, in seconds and as a date. */
static void offer_future_release(const struct session *s, struct buf *offer)
{
    char date[MAIL_DATE_MAX];
    int64_t longest_s = s->server->settings.future_release_max_ms / 1000;
    buf_printf(offer, " %lld %s", (long long)longest_s, mail_date_time_format(clock_wall_s() + longest_s, date));
}

/* RFC 9422 section 4 */
static void offer_limits(const struct session *s, struct buf *offer)
{
    buf_printf(offer, " RCPTMAX=%lld", (long long)session_max_recipients(s));
}

static void offer_xclient(const struct session *s, struct buf *offer)
{
    buf_append_str(offer, " NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT");
}

static const struct {
    const char *keyword;
    unsigned extension;
    void (*parameters)(const struct session *s, struct buf *offer);
} offers[] = {
    {"PIPELINING", SMTP_EXT_PIPELINING, NULL},
    {"SIZE", SMTP_EXT_SIZE, offer_size},
    {"STARTTLS", SMTP_EXT_STARTTLS, NULL},
    {"AUTH", SMTP_EXT_AUTH, offer_auth},
    {"ENHANCEDSTATUSCODES", SMTP_EXT_ENHANCEDSTATUSCODES, NULL},
    {"8BITMIME", SMTP_EXT_8BITMIME, NULL},
    {"DSN", SMTP_EXT_DSN, NULL},
    {"SMTPUTF8", SMTP_EXT_SMTPUTF8, NULL},
    {"CHUNKING", SMTP_EXT_CHUNKING, NULL},
    {"BINARYMIME", SMTP_EXT_BINARYMIME, NULL},
    {"REQUIRETLS", SMTP_EXT_REQUIRETLS, NULL},
    {"FUTURERELEASE", SMTP_EXT_FUTURERELEASE, offer_future_release},
    {"DELIVERBY", SMTP_EXT_DELIVERBY, NULL},
    {"MT-PRIORITY", SMTP_EXT_MT_PRIORITY, NULL},
    {"LIMITS", SMTP_EXT_LIMITS, offer_limits},
    {"XCLIENT", SMTP_EXT_XCLIENT, offer_xclient},
    {"HELP", SMTP_EXT_HELP, NULL},
};

void cmd_ehlo(struct session *s, char *argument)
{
    struct buf offer;
    if (!hello(s, argument, true))
        return;
    buf_init(&offer, 2048);
    buf_append_str(&offer, s->server->hostname);
    unsigned offered = session_offers(s);
    for (size_t i = 0; i < ARRAY_LENGTH(offers); i++) {
        if ((offers[i].extension & offered) == 0)
            continue;
        buf_printf(&offer, "\n%s", offers[i].keyword);
        if (offers[i].parameters != NULL)
            offers[i].parameters(s, &offer);
    }
    session_reply(s, 250, "", "%s", buf_str(&offer));
    buf_deinit(&offer);
}
