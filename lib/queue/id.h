/* id: queue ids.  Eleven characters of time (microseconds since 1970, Crockford's base 32: digits and capitals without
 * I, L, O, U) and two of the writer that made it, so that ids sort by time and two writers never make the same one.  A
 * process never makes the same id twice, as it goes on to the next microsecond; after a reload the old and the new
 * process of a writer live side by side, each with a share of the microseconds of its own; a clock that steps back over
 * a restart is caught when the file is made in queue/new (the name exists). */
#ifndef POSTHOUSE_QUEUE_ID_H
#define POSTHOUSE_QUEUE_ID_H

#include <stdbool.h>
#include <stdint.h>

#define QUEUE_ID_LEN     13
#define QUEUE_ID_SIZE    (QUEUE_ID_LEN + 1)
#define QUEUE_WRITER_MAX 1023

/* Writers: smtpd slots count from 0, bounce slots from here. */
#define QUEUE_WRITER_BOUNCE 1000

/* Of every QUEUE_ID_SHARES * 32 microseconds this process uses 32 from now on, the share-th. */
#define QUEUE_ID_SHARES 8
void queue_id_set_share(unsigned share);
void queue_id_new(unsigned writer, char id[QUEUE_ID_SIZE]);
bool queue_id_valid(const char *id);
/* When the id was made, microseconds since 1970. */
int64_t queue_id_time_us(const char *id);
/* The sub-folder of new/ it belongs to: one character, evenly spread. */
char queue_id_folder(const char *id);

#endif
