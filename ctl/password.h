/* password: where a new password comes from: the terminal (twice, not shown), standard input (its first line), or
 * chance. Never from an argument, which every user of the machine could read. */
#ifndef POSTHOUSE_CTL_PASSWORD_H
#define POSTHOUSE_CTL_PASSWORD_H

#include "base/buf.h"

/* Fills password, which the caller wipes with password_wipe.  name is for the prompt.  CTL_OK, or what to exit with
 * after saying why. */
int password_read(const char *name, struct buf *password);
int password_generate(struct buf *password);
void password_wipe(struct buf *password);

#endif
