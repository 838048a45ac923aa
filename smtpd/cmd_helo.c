/* HELO and EHLO: RFC 5321 section 4.1.1.1.
 *
 *     helo = "HELO" SP Domain CRLF
 *     ehlo = "EHLO" SP ( Domain / address-literal ) CRLF
 */
#include <stdio.h>
#include <string.h>

#include "smtpd/command.h"
#include "smtpd/transaction.h"

/* Names that clients make up are taken as they are (section 4.1.4: never refuse because of the name), as long as they
 * can stand in a trace field. */
static bool is_harmless(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]");
    return len > 0 && name[len] == '\0' && len < sizeof(((struct session *)NULL)->helo);
}

/* Section 4.1.4: a greeting also ends the transaction. */
static bool hello(struct session *s, const char *name, bool esmtp)
{
    if (!is_harmless(name)) {
        session_refuse(s, 501, "5.5.4", "%s needs the name or address literal of the client", smtp_verb_name(s->verb));
        return false;
    }
    transaction_free(s->transaction);
    s->transaction = NULL;
    snprintf(s->helo, sizeof(s->helo), "%s", name);
    s->esmtp = esmtp;
    return true;
}

void cmd_helo(struct session *s, char *argument)
{
    if (hello(s, argument, false))
        session_reply(s, 250, "", "%s", s->server->hostname);
}

static void offer_auth(const struct session *s, struct buf *offer)
{
    const struct conf_list *mechanisms = &s->server->settings.auth_mechanisms;
    if (!session_offers_auth(s) || s->credential != NULL || mechanisms->count == 0)
        return;
    buf_append_str(offer, "\nAUTH");
    for (size_t i = 0; i < mechanisms->count; i++)
        buf_printf(offer, " %s", mechanisms->items[i]);
}

void cmd_ehlo(struct session *s, char *argument)
{
    struct buf offer;
    if (!hello(s, argument, true))
        return;
    buf_init(&offer, 2048);
    buf_printf(&offer, "%s\nPIPELINING\nSIZE %lld", s->server->hostname,
               (long long)s->server->settings.max_message_size_bytes);
    if (s->listener->tls == LISTENER_TLS_STARTTLS && !stream_is_secure(s->stream))
        buf_append_str(&offer, "\nSTARTTLS");
    offer_auth(s, &offer);
    buf_append_str(&offer, "\nENHANCEDSTATUSCODES\n8BITMIME\nDSN\nSMTPUTF8\nHELP");
    session_reply(s, 250, "", "%s", buf_str(&offer));
    buf_deinit(&offer);
}
