/* selfsigned: a certificate for the first minutes, until the admin has a real one. */
#ifndef POSTHOUSE_TLS_SELFSIGNED_H
#define POSTHOUSE_TLS_SELFSIGNED_H

#include <stddef.h>

#include "tls/server.h"

/* Writes a new P-256 key (mode 0600) and a certificate for names (host names or addresses, at least one; the first is
 * the common name), valid for days.  The files must not exist (-EEXIST).  0 or -errno with the reason in error; on
 * failure no file is left behind. */
int tls_selfsigned_write(const char *chain_file, const char *key_file, const char *const *names, size_t name_count,
                         unsigned days, char error[TLS_ERROR_MAX]);

#endif
