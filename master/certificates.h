/* certificates: sees when a TLS certificate, key or authority of smtpd.conf is another file than it was, and has smtpd
 * replaced, which alone reads them. */
#ifndef POSTHOUSE_MASTER_CERTIFICATES_H
#define POSTHOUSE_MASTER_CERTIFICATES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "io/loop.h"

struct master;

struct certificate_file {
    const char *path; /* the configuration's */
    struct stat seen; /* all zero: it is not there */
};

struct certificates {
    struct master *master;
    struct timer timer;
    struct certificate_file *files;
    size_t count;
    bool changed; /* since smtpd was replaced; that waits until the files rest */
};

int certificates_init(struct certificates *c, struct master *m);
void certificates_deinit(struct certificates *c);
/* The configuration is another: from here on its files count, as they are now.  0 or -ENOMEM. */
int certificates_watch(struct certificates *c);

#endif
