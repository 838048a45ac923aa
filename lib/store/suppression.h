/* suppression: the addresses that mail must not be sent to any more, and why.  One SQLite file.
 *
 * The bounce daemon and the admin command write; smtpd and qmgr read, with read permission only, also after a chroot.
 * Rows are found by scope and address: scope "" is for everybody, else the tenant the row is for. */
#ifndef POSTHOUSE_STORE_SUPPRESSION_H
#define POSTHOUSE_STORE_SUPPRESSION_H

#include <stddef.h>
#include <stdint.h>

#define SUPPRESSION_ADDRESS_MAX 1024 /* bytes; more than any address that RFC 5321 or RFC 6531 allows */
#define SUPPRESSION_SCOPE_MAX   255
#define SUPPRESSION_REASON_MAX  31
#define SUPPRESSION_REPLY_MAX   511

struct suppression_row {
    char address[SUPPRESSION_ADDRESS_MAX + 1]; /* normalised */
    char scope[SUPPRESSION_SCOPE_MAX + 1];     /* "" or a tenant */
    char reason[SUPPRESSION_REASON_MAX + 1];   /* class: "hard-bounce", "complaint", "manual" ... */
    unsigned code;                             /* the reply that caused it, 0 = none */
    char enhanced[16];                         /* RFC 3463, "" = none */
    char reply[SUPPRESSION_REPLY_MAX + 1];
    char queue_id[64]; /* of the message that bounced, "" = none */
    char added_by[64]; /* "bounce", "admin" ... */
    int64_t since_s;   /* since 1970 */
    int64_t expires_s; /* 0 = never */
};

/* The form in which addresses are compared: ASCII letters lower, no dot behind the domain.  0, -EINVAL (not
 * local@domain, too long, control characters or blanks outside quotes). */
int suppression_normalise(const char *address, char out[SUPPRESSION_ADDRESS_MAX + 1]);

struct suppression;

/* Opens the file for writing; makes and migrates it (mode 0640, so that the folder's group can read).  0 or -errno. */
int suppression_open_writer(const char *path, struct suppression **out);
/* Never fails but for -ENOMEM: a list that does not exist yet is empty and is looked for again, at most once a second,
 * as long as its path can be reached.  A file that cannot be read shows as the error of the next lookup. */
int suppression_open_reader(const char *path, struct suppression **out);
void suppression_free(struct suppression *s);

/* Writes the row; one with the same scope and address keeps its `since` and takes everything else from the new one.
 * row's address is normalised here; its since_s 0 means now; texts are cut to valid characters.  0, -EINVAL, -errno. */
int suppression_add(struct suppression *s, const struct suppression_row *row);
/* 0, -ENOENT, -EINVAL, -errno. */
int suppression_remove(struct suppression *s, const char *address, const char *scope);
/* Removes what expired; returns how many rows, or -errno. */
int suppression_expire(struct suppression *s);

/* Is this address suppressed for everybody or for tenant?  1 yes (out filled, the tenant's own row first), 0 no, also
 * for what is no address; -EBUSY and other -errno: not known now. */
int suppression_lookup(struct suppression *s, const char *address, const char *tenant, struct suppression_row *out);

/* Where a listing goes on: behind the row with this address and scope; {0} is the beginning. */
struct suppression_cursor {
    char address[SUPPRESSION_ADDRESS_MAX + 1];
    char scope[SUPPRESSION_SCOPE_MAX + 1];
};
/* Calls fn for up to limit rows by address, expired ones too, until it returns other than 0, and moves the cursor
 * behind the last row shown.  Returns the number of rows shown (less than limit: the end), fn's negative value, or
 * -errno. */
int suppression_list(struct suppression *s, struct suppression_cursor *cursor, unsigned limit,
                     int (*fn)(const struct suppression_row *row, void *arg), void *arg);

#endif
