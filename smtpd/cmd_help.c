/* HELP: RFC 5321 section 4.1.1.8.
 *
 *     help = "HELP" [ SP String ] CRLF
 */
#include "smtpd/command.h"

void cmd_help(struct session *s, char *argument)
{
    session_reply(s, 214, "2.0.0",
                  "HELO EHLO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT\nfor more see RFC 5321");
}
