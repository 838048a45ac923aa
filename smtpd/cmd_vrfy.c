/* VRFY: RFC 5321 section 4.1.1.6.
 *
 *     vrfy = "VRFY" SP String CRLF
 */
#include "smtpd/command.h"

/* Section 7.3: a server need not tell who exists; a relay does not even know. */
void cmd_vrfy(struct session *s, char *argument)
{
    if (argument[0] == '\0')
        session_refuse(s, 501, "5.5.4", "VRFY needs an address");
    else
        session_reply(s, 252, "2.5.2", "cannot verify, but will take a message and attempt delivery");
}
