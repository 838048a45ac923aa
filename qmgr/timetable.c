#include "qmgr/timetable.h"

#include <errno.h>
#include <stdlib.h>

#include "qmgr/message.h"

static void put(struct timetable *t, size_t place, struct message *m)
{
    t->heap[place] = m;
    m->place = (uint32_t)place;
}

static void rise(struct timetable *t, size_t place, struct message *m)
{
    while (place > 0 && t->heap[(place - 1) / 2]->due_s > m->due_s) {
        put(t, place, t->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    put(t, place, m);
}

static void sink(struct timetable *t, size_t place, struct message *m)
{
    for (;;) {
        size_t child = place * 2 + 1;
        if (child >= t->count)
            break;
        if (child + 1 < t->count && t->heap[child + 1]->due_s < t->heap[child]->due_s)
            child++;
        if (t->heap[child]->due_s >= m->due_s)
            break;
        put(t, place, t->heap[child]);
        place = child;
    }
    put(t, place, m);
}

int timetable_add(struct timetable *t, struct message *m)
{
    if (t->count == t->capacity) {
        size_t capacity = t->capacity > 0 ? t->capacity * 2 : 256;
        struct message **grown = realloc(t->heap, capacity * sizeof(*grown));
        if (grown == NULL)
            return -ENOMEM;
        t->heap = grown;
        t->capacity = capacity;
    }
    rise(t, t->count++, m);
    return 0;
}

void timetable_remove(struct timetable *t, struct message *m)
{
    size_t place = m->place;
    struct message *last = t->heap[--t->count];
    if (last == m)
        return;
    if (place > 0 && t->heap[(place - 1) / 2]->due_s > last->due_s)
        rise(t, place, last);
    else
        sink(t, place, last);
}

struct message *timetable_first(const struct timetable *t)
{
    return t->count > 0 ? t->heap[0] : NULL;
}

void timetable_deinit(struct timetable *t)
{
    free(t->heap);
    *t = (struct timetable){0};
}
