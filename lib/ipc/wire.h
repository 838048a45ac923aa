/* wire: one record with its descriptor in or out of a SOCK_SEQPACKET socket. */
#ifndef POSTHOUSE_IPC_WIRE_H
#define POSTHOUSE_IPC_WIRE_H

#include <stddef.h>

#include "ipc/catalogue.h"

/* 0 or -errno. */
int ipc_wire_send(int socket, const struct buf *record, int fd);
/* Bytes read into data (size IPC_RECORD_MAX + 1), 0 at the end, or -errno (-EMSGSIZE: longer than a record may be).  At
 * most one descriptor is kept, close-on-exec, in *fd. */
int ipc_wire_receive(int socket, char *data, int *fd);

#endif
