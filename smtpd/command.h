/* command: which function carries out which command, and what must have gone before.  One file per command: cmd_*.c. */
#ifndef POSTHOUSE_SMTPD_COMMAND_H
#define POSTHOUSE_SMTPD_COMMAND_H

#include "base/buf.h"
#include "smtpd/session.h"

/* A command line without CRLF; it is taken apart in place. */
void command_run(struct session *s, char *line, size_t len);
/* The client's answer to a SASL challenge. */
void command_auth_response(struct session *s, char *line, size_t len);
/* The exchange is over, without an answer of auth. */
void command_auth_give_up(struct session *s);
/* Asks whether a domain takes mail.  true: answered comes later, with NULL when nobody could tell in time; it ends the
 * wait.  RFC 5321 section 5.1, RFC 7505. */
bool command_ask_domain(struct session *s, const struct mail_address *address,
                        void (*answered)(void *session, const struct ipc_domain_checked *answer));
/* The time for it is over. */
void command_domain_unasked(struct session *s);
/* Content after DATA: consumes what belongs to the message. */
void command_data_content(struct session *s, struct buf *in);

/* Bytes of the chunk after BDAT. */
void command_bdat_chunk(struct session *s, struct buf *in);

/* For what smtp/command.h found wrong with the argument of MAIL or RCPT; bad_address: the enhanced code of an address
 * that is none. */
void command_refuse_argument(struct session *s, int result, const char *bad_address,
                             const struct smtp_argument_fault *fault);
/* Whether the name can stand in a trace field. */
bool command_helo_is_harmless(const char *name);

/* argument: what followed the verb, "" = nothing. */
void cmd_auth(struct session *s, char *argument);
void cmd_bdat(struct session *s, char *argument);
void cmd_data(struct session *s, char *argument);
void cmd_ehlo(struct session *s, char *argument);
void cmd_helo(struct session *s, char *argument);
void cmd_help(struct session *s, char *argument);
void cmd_mail(struct session *s, char *argument);
void cmd_noop(struct session *s, char *argument);
void cmd_quit(struct session *s, char *argument);
void cmd_rcpt(struct session *s, char *argument);
void cmd_rset(struct session *s, char *argument);
void cmd_starttls(struct session *s, char *argument);
void cmd_vrfy(struct session *s, char *argument);
void cmd_xclient(struct session *s, char *argument);

#endif
