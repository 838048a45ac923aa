/* stream: a non-blocking byte stream over a connected socket, in plain text or TLS, on the loop.
 *
 * A stream owns its descriptor, an input buffer that it fills and its owner consumes, and an output buffer that it
 * sends: what the owner writes while it handles one event leaves in one write (one TLS record if it fits) when the
 * event is over. Both buffers are bounded, and both give their memory back while they are empty or nearly so.
 *
 * All callbacks run from the loop, never from inside the function that caused them.  A callback may call any function
 * of the stream, stream_free included.  The process must ignore SIGPIPE (lib/service does). */
#ifndef POSTHOUSE_TLS_STREAM_H
#define POSTHOUSE_TLS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/net.h"
#include "io/loop.h"

struct stream;
struct tls_server;
struct tls_client;
struct tls_client_params;

enum stream_end_reason {
    STREAM_END_CLOSED,         /* stream_close_after_flush came to its end */
    STREAM_END_PEER,           /* the peer closed the connection */
    STREAM_END_RESET,          /* the connection broke (reset, unreachable, …) */
    STREAM_END_CONNECT_FAILED, /* the connection never came about */
    STREAM_END_TIMED_OUT,      /* nothing moved for stream_set_timeout_ms, or the peer reads too slowly */
    STREAM_END_DEADLINE,       /* stream_set_deadline_ms passed */
    STREAM_END_TLS_FAILED,     /* handshake, verification or record layer */
    STREAM_END_NO_MEMORY,
};

struct stream_end {
    enum stream_end_reason reason;
    int error;        /* positive errno where one is known, else 0 */
    const char *text; /* for a log line: "connection timed out", "TLS handshake: certificate verify failed: …" */
};

/* Any of them may be NULL except on_end. */
struct stream_ops {
    /* The connection stands (streams from stream_connect only). */
    void (*on_connected)(void *arg);
    /* Bytes were appended to stream_input.  What is left there unconsumed stays; on_input comes again with the next
     * bytes. */
    void (*on_input)(void *arg);
    /* Bytes were sent and no more than a quarter of output_limit still waits: time to write on. */
    void (*on_drained)(void *arg);
    /* The TLS handshake succeeded. */
    void (*on_secure)(void *arg);
    /* The stream is over; called once, and no other callback follows.  Input that arrived before was announced before.
     * The owner frees the stream, here or later. */
    void (*on_end)(void *arg, const struct stream_end *end);
};

/* Takes fd, a connected socket, in any case: on failure (NULL: memory) it is closed.  Sets O_NONBLOCK and TCP_NODELAY.
 * ops is kept by pointer. */
struct stream *stream_new(struct loop *l, int fd, const struct stream_ops *ops, void *arg, size_t input_limit,
                          size_t output_limit);
/* Begins to connect.  source NULL = any.  The outcome comes as on_connected or on_end(STREAM_END_CONNECT_FAILED), but a
 * failure that shows at once (no route, no descriptor) is returned as -errno.  Bound the wait by
 * stream_set_deadline_ms. */
int stream_connect(struct loop *l, const struct net_address *to, const struct net_address *source,
                   const struct stream_ops *ops, void *arg, size_t input_limit, size_t output_limit,
                   struct stream **out);
/* Closes at once, output that waits is lost.  Accepts NULL; safe inside the stream's own callbacks. */
void stream_free(struct stream *s);

int stream_fd(const struct stream *s);

/* The unread bytes; the owner consumes from it with buf_consume. */
struct buf *stream_input(struct stream *s);
/* Stops on_input and reading until stream_resume_input. */
void stream_pause_input(struct stream *s);
/* Reading goes on.  When unread bytes are there already, on_input is called for them from the loop.  Also to be called
 * when the owner consumed input outside of on_input after the input limit was reached. */
void stream_resume_input(struct stream *s);
/* Throws away what was read and not consumed; returns how many bytes. */
size_t stream_discard_input(struct stream *s);

/* Queue for sending; all or nothing.  0, -ENOBUFS (output_limit: wait for on_drained), -ENOMEM, -EPIPE (stream is
 * over). */
int stream_write(struct stream *s, const void *data, size_t len);
int stream_write_str(struct stream *s, const char *text);
int stream_printf(struct stream *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* To fill the output in place (read a file straight into it): append to the buffer, then call stream_send. */
struct buf *stream_output(struct stream *s);
void stream_send(struct stream *s);
size_t stream_writable_bytes(const struct stream *s);
size_t stream_pending_output(const struct stream *s);
/* Sends what waits, says goodbye (close_notify, FIN), ignores further input and ends with STREAM_END_CLOSED when the
 * peer closed too or after two seconds. */
void stream_close_after_flush(struct stream *s);
/* The same without waiting, neither for what the socket does not take at once nor for the peer: when room is needed. */
void stream_close_at_once(struct stream *s);

/* The stream ends when neither input nor output moved for that long; starts anew with each call.  0 = never. */
void stream_set_timeout_ms(struct stream *s, uint64_t ms);
/* The stream ends when output waits on a full socket, and has not all left that long after; 0 = never. */
void stream_set_output_limit_ms(struct stream *s, uint64_t ms);
/* The stream ends that long from now whatever moves; 0 = never. */
void stream_set_deadline_ms(struct stream *s, uint64_t ms);

/* Begin TLS.  Output written before leaves in plain text first; output written from now on waits for the handshake.
 * Input not yet consumed is discarded, since it was sent without protection (RFC 3207 section 4.2 and 5: command
 * injection). Then on_secure or on_end(STREAM_END_TLS_FAILED).  0, -EALREADY or -ENOMEM.  params and its strings are
 * copied.  A client that is asked for a certificate need not have one, and any will do: identity.h tells what it is
 * worth. */
int stream_start_tls_server(struct stream *s, struct tls_server *server, bool ask_certificate);
int stream_start_tls_client(struct stream *s, struct tls_client *client, const struct tls_client_params *params);

struct stream_tls_info {
    const char *version; /* "TLSv1.3"; "" while the stream is plain */
    const char *cipher;  /* "TLS_AES_256_GCM_SHA384" */
    bool resumed;
    bool verified;            /* client: chain and name are good, whether that was asked for or not */
    const char *verify_error; /* why not: "self-signed certificate"; "" when verified */
    const char
        *peer_name; /* client: common name of the server's certificate; server: the name asked for (SNI); or "" */
};
bool stream_is_secure(const struct stream *s);
/* Strings live as long as the stream. */
void stream_tls_info(const struct stream *s, struct stream_tls_info *out);
/* "TLSv1.3/TLS_AES_256_GCM_SHA384", or "" for a plain stream. */
const char *stream_tls_text(const struct stream *s);

#endif
