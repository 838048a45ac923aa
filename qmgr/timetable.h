/* timetable: messages in the order in which they are due, a binary heap; eight bytes a message. */
#ifndef POSTHOUSE_QMGR_TIMETABLE_H
#define POSTHOUSE_QMGR_TIMETABLE_H

#include <stddef.h>
#include <stdint.h>

struct message;

struct timetable {
    struct message **heap;
    size_t count, capacity;
};

/* By message->due_s; the place is kept in message->place.  0 or -ENOMEM. */
int timetable_add(struct timetable *t, struct message *m);
void timetable_remove(struct timetable *t, struct message *m);
/* The one due first, NULL when empty. */
struct message *timetable_first(const struct timetable *t);
void timetable_deinit(struct timetable *t);

#endif
