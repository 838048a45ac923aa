/* RSET: RFC 5321 section 4.1.1.5.
 *
 *     rset = "RSET" CRLF
 */
#include "smtpd/command.h"
#include "smtpd/transaction.h"

void cmd_rset(struct session *s, char *argument)
{
    transaction_end(s);
    session_reply(s, 250, "2.0.0", "ok");
}
