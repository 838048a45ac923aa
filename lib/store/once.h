/* once: what was submitted with which key, so that a client who never read our 250 and sends again is answered with the
 * first queue id and nothing is queued twice (RFC 1047 describes the trouble).
 *
 * One file that all smtpd processes share: a hash table of fixed size, whose entries are evicted when they are a day
 * old, or when younger ones need the room.  Keys stand in it as SHA-256 fingerprints, cut to 128 bits. */
#ifndef POSTHOUSE_STORE_ONCE_H
#define POSTHOUSE_STORE_ONCE_H

#include <stdint.h>

#define ONCE_ID_SIZE   16
#define ONCE_KEEP_S    86400
#define ONCE_PENDING_S 300 /* a claim that nobody finished is void then: its process was killed */

struct once;

enum once_state {
    ONCE_CLAIMED = 1, /* nobody had this key: it is ours, to be finished or given back */
    ONCE_TAKEN,       /* it was submitted: id filled */
    ONCE_PENDING,     /* somebody is at it just now */
};

/* A claim, to find its entry again. */
struct once_claim {
    uint64_t fingerprint[2];
};

/* Opens the file, making it when there is none; call it before chroot.  0 or -errno. */
int once_open(const char *path, struct once **out);
void once_close(struct once *o);

/* owner: whose key it is; key: what tells the submission from the owner's others, of any length.  An enum once_state,
 * or -errno (the file can not be locked, read or written). */
int once_claim(struct once *o, const char *owner, const char *key, struct once_claim *claim, char id[ONCE_ID_SIZE]);
/* The message is durable under this id.  0 or -errno: then the key is void when ONCE_PENDING_S have passed. */
int once_finish(struct once *o, const struct once_claim *claim, const char *id);
/* It is not: the next one may try.  0 or -errno, likewise. */
int once_give_back(struct once *o, const struct once_claim *claim);

#endif
