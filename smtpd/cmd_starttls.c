/* STARTTLS: RFC 3207.
 *
 *     starttls = "STARTTLS" CRLF
 */
#include "smtpd/command.h"
#include "log/log.h"

void cmd_starttls(struct session *s, char *argument)
{
    if (stream_is_secure(s->stream)) {
        session_refuse(s, 503, "5.5.1", "TLS is on already");
        return;
    }
    if (s->listener->tls != LISTENER_TLS_STARTTLS) {
        session_refuse(s, 502, "5.5.1", "STARTTLS is not offered here");
        return;
    }
    /* Section 4.1.1: the client must wait for our reply.  Bytes that are here already may be an attacker's, put in
     * front of what the client will say under TLS: they are thrown away. */
    size_t early = stream_discard_input(s->stream);
    if (early > 0)
        log_warning("client=%s, listener=%s: %zu bytes sent behind STARTTLS were discarded", s->client,
                    s->listener->name, early);
    session_reply(s, 220, "2.0.0", "begin TLS");
    /* Section 4.2: nothing the client said before counts. */
    session_forget(s);
    if (stream_start_tls_server(s->stream, s->server->tls, s->listener->client_certificates) < 0)
        session_close(s, 454, "4.7.0", "TLS is not available, try again later");
    else
        s->phase = SESSION_HANDSHAKE;
}
