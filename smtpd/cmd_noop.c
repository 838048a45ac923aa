/* NOOP: RFC 5321 section 4.1.1.9.
 *
 *     noop = "NOOP" [ SP String ] CRLF
 */
#include "smtpd/command.h"

void cmd_noop(struct session *s, char *argument)
{
    session_reply(s, 250, "2.0.0", "ok");
}
