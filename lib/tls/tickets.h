/* tickets: the keys that protect TLS session tickets, shared by all processes that serve one address, so that each
 * resumes the others' sessions (RFC 5077, RFC 8446 section 4.6.1).
 *
 * The keys stand in memory that belongs to no file and can not be dumped.  One process, master, makes and replaces
 * them; the others map them read-only, which the kernel sees to.  A key is good for new tickets for half a day and for
 * old ones for another half: longer than any ticket lives. */
#ifndef POSTHOUSE_TLS_TICKETS_H
#define POSTHOUSE_TLS_TICKETS_H

#include <stddef.h>
#include <stdint.h>

#define TICKETS_LIFETIME_MS UINT64_C(43200000)

enum { TICKET_KEYS_MAX = 2 };

struct tls_ticket_key {
    unsigned char name[16], aes[32], hmac[32];
};

struct tickets;

/* The writer's, with a first key.  0 or -errno. */
int tickets_new(struct tickets **out);
/* A reader's, of a descriptor from tickets_fd; fd stays the caller's.  0, -EINVAL (not ours) or -errno. */
int tickets_map(int fd, struct tickets **out);
void tickets_free(struct tickets *t); /* accepts NULL */

/* To be inherited by readers. */
int tickets_fd(const struct tickets *t);
/* A new key for new tickets; the one before it still opens old ones.  The writer's alone.  0 or -errno: then all stays
 * as it was. */
int tickets_rotate(struct tickets *t);

/* Copies the keys, the newest first; returns how many.  To be wiped by the caller. */
size_t tickets_read(const struct tickets *t, struct tls_ticket_key keys[TICKET_KEYS_MAX]);

#endif
