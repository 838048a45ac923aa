/* QUIT: RFC 5321 section 4.1.1.10.
 *
 *     quit = "QUIT" CRLF
 */
#include "smtpd/command.h"

void cmd_quit(struct session *s, char *argument)
{
    session_close(s, 221, "2.0.0", "%s goodbye", s->server->hostname);
}
