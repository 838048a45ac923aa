/* trace: what the preload record writes down: every change of a file below one folder, by all processes, in one order.
 *
 * The file is mapped by all: a header, then records.  A record's two times are drawn from the header's clock right
 * before and right after the call: of two calls one was first if it ended before the other began; else nobody knows.
 * tests/powercut/tracefile.py reads it. */
#ifndef POSTHOUSE_POWERCUT_TRACE_H
#define POSTHOUSE_POWERCUT_TRACE_H

#include <stdint.h>

#define TRACE_HEADER 4096 /* bytes; records behind it */

struct trace_header {
    _Atomic uint64_t clock;
    _Atomic uint64_t tail; /* where the next record goes */
    uint64_t size;         /* of the file */
    uint64_t lost;         /* records that did not fit */
};

struct trace_record {
    uint64_t size;       /* with texts and data, a multiple of 8 */
    uint64_t begin, end; /* end 0: it never returned */
    uint64_t inode;      /* what it is about; of the new file, the moved file, … */
    uint64_t offset;     /* CALL_WRITE, CALL_TRUNCATE, CALL_ALLOCATE */
    uint64_t length;     /* bytes written or allocated */
    int64_t result;
    uint32_t kind;  /* enum call_kind */
    uint32_t flags; /* TRACE_… */
    uint32_t path_length, path2_length;
    /* path, path2, data */
};
#define TRACE_ZEROS  1u /* length bytes of zero, none stored */
#define TRACE_FRESH  2u /* CALL_CREATE: it was not there before */
#define TRACE_SYNC   4u /* CALL_WRITE to a descriptor with O_SYNC or O_DSYNC */
#define TRACE_FOLDER 8u /* CALL_FSYNC of a folder */

#endif
