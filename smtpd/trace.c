#include "smtpd/trace.h"

#include <string.h>

#include "mail/date.h"

/* "TLSv1.3/CIPHER" becomes a comment of its own. */
static int trace_tls(const char *tls, struct buf *out)
{
    const char *slash = strchr(tls, '/');
    if (slash == NULL)
        return 0;
    return buf_printf(out, "\r\n\t(using %.*s with cipher %s)", (int)(slash - tls), tls, slash + 1);
}

int trace_format(const struct trace_facts *facts, struct buf *out)
{
    char literal[NET_TEXT_MAX], date[MAIL_DATE_MAX];
    int r = buf_printf(out, "Received: from %s (%s)", facts->helo, net_format_literal(facts->peer, literal));
    if (r == 0)
        r = trace_tls(facts->tls, out);
    if (r == 0)
        r = buf_printf(out, "\r\n\tby %s (Posthouse) with %s id %s", facts->hostname, facts->protocol, facts->queue_id);
    if (r == 0 && facts->only_recipient != NULL)
        r = buf_printf(out, "\r\n\tfor <%s>", facts->only_recipient);
    if (r == 0)
        r = buf_printf(out, ";\r\n\t%s\r\n", mail_date_format(facts->time_s, date));
    return r;
}
