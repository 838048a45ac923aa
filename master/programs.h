/* programs: the suite as a table: which programs there are, how many of each, and what each is handed. */
#ifndef POSTHOUSE_MASTER_PROGRAMS_H
#define POSTHOUSE_MASTER_PROGRAMS_H

#include <stdbool.h>

#include "ipc/role.h"
#include "settings/master.h"

struct program {
    enum ipc_role role;
    const char *file;      /* below program_directory */
    size_t workers_offset; /* of its number in struct settings_master; 0 with one_worker */
    bool one_worker;
    const char *socket;    /* the socket it serves, NULL = none */
    bool listeners;        /* gets the SMTP listeners of its slot */
    bool retires;          /* at a reload the old one takes no new work, and goes on with what it has */
    bool lock;             /* keeps the queue lock alive, so that no second suite starts while it runs */
    bool replaced_in_turn; /* at a reload the old one ends before the new one starts: there must never be two */
    int stop_stage;        /* stages end one after the other: first those that take mail in */
};

/* In starting order; file NULL ends it. */
extern const struct program programs[];

unsigned program_workers(const struct program *p, const struct settings_master *settings);

#endif
