#include "ctl/item.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl/listing.h"

#define OUTPUT_MAX (256 * 1024 * 1024) /* bytes: a message with all the recipients and history it may have */

static void take(const struct ipc_queue_item *m, int fd, struct item *out)
{
    if (out->fd >= 0)
        close(out->fd);
    snprintf(out->state, sizeof(out->state), "%s", m->state);
    out->due_s = (int64_t)m->due_s;
    out->fd = fd;
}

/* CTL_OK with *found, or what to exit with. */
static int ask(struct ipc_sync *qmgr, const char *queue_id, struct item *out, bool *found, char *why, size_t why_size)
{
    const struct ipc_queue_show question = {.queue_id = queue_id};
    *out = (struct item){.fd = -1};
    *found = false;
    if (ipc_sync_send(qmgr, IPC_QUEUE_SHOW, &question) < 0)
        return CTL_TRY_LATER;
    for (;;) {
        enum ipc_type type;
        union ipc_any m;
        int fd = -1;
        if (ipc_sync_receive(qmgr, &type, &m, &fd) < 0)
            return CTL_TRY_LATER;
        if (type == IPC_QUEUE_ITEM) {
            take(&m.queue_item, fd, out);
            *found = true;
            continue;
        }
        if (fd >= 0)
            close(fd);
        snprintf(why, why_size, "%s", type == IPC_ORDER_DONE ? m.order_done.text : "an answer that was not expected");
        break;
    }
    out->readable = out->fd >= 0 && queue_file_read(out->fd, &out->envelope) == 0;
    return CTL_OK;
}

int item_ask(struct ctl *c, struct ipc_sync *qmgr, const char *queue_id, struct item *out)
{
    char why[256] = "";
    bool found;
    int status = ask(qmgr, queue_id, out, &found, why, sizeof(why));
    if (status == CTL_OK && found)
        return CTL_OK;
    item_deinit(out);
    if (status != CTL_OK)
        return ctl_say(CTL_TRY_LATER, "qmgr did not answer to the end; try again later");
    return ctl_say(CTL_FAILED, "%s: %s", queue_id, why[0] != '\0' ? why : "no such message in the queue");
}

bool item_find(struct ipc_sync *qmgr, const char *queue_id, struct item *out)
{
    char why[256];
    bool found;
    if (ask(qmgr, queue_id, out, &found, why, sizeof(why)) == CTL_OK && found)
        return true;
    item_deinit(out);
    return false;
}

void item_deinit(struct item *i)
{
    if (i->readable)
        envelope_free(&i->envelope);
    if (i->fd >= 0)
        close(i->fd);
    *i = (struct item){.fd = -1};
}

static const char *address_of(const struct envelope *e, uint32_t index)
{
    for (size_t k = 0; k < e->recipient_count; k++)
        if (e->recipients[k].index == index)
            return e->recipients[k].address;
    return "?";
}

/* The texts of an envelope, in the order both forms show them. */
static const struct {
    const char *key, *title;
    size_t offset;
} texts[] = {
    {"sender", "Sender", offsetof(struct envelope, sender)},
    {"credential", "Credential", offsetof(struct envelope, credential)},
    {"tenant", "Tenant", offsetof(struct envelope, tenant)},
    {"client_address", "Client", offsetof(struct envelope, client_address)},
    {"client_name", "Client name", offsetof(struct envelope, client_name)},
    {"listener", "Listener", offsetof(struct envelope, listener)},
    {"protocol", "Protocol", offsetof(struct envelope, protocol)},
    {"tls", "TLS", offsetof(struct envelope, tls)},
    {"envid", "ENVID", offsetof(struct envelope, envid)},
};

static const char *text_at(const struct envelope *e, size_t i)
{
    const char *text = *(const char *const *)((const char *)e + texts[i].offset);
    return text != NULL ? text : "";
}

struct printing {
    const struct envelope *envelope;
    struct buf *out;
    struct json *json;
};

static void attempt_json(void *arg, const struct queue_attempt *a)
{
    struct printing *p = arg;
    json_begin_object(p->json, NULL);
    json_time(p->json, "time", a->time_s);
    json_string(p->json, "recipient", address_of(p->envelope, a->index));
    json_string(p->json, "outcome", a->outcome);
    json_number(p->json, "code", a->code);
    json_string(p->json, "enhanced", a->enhanced);
    json_string(p->json, "relay", a->relay);
    json_string(p->json, "reply", a->reply);
    json_end_object(p->json);
}

void item_json(const struct item *i, struct json *j)
{
    const struct envelope *e = &i->envelope;
    struct printing p = {.envelope = e, .json = j};
    json_string(j, "state", i->state);
    json_time(j, "due", i->due_s);
    if (!i->readable)
        return;
    json_string(j, "queue_id", e->id);
    json_time(j, "arrived", e->arrived_us / 1000000);
    json_number(j, "size", (int64_t)e->content_length);
    json_number(j, "attempts", e->attempts);
    for (size_t k = 0; k < sizeof(texts) / sizeof(texts[0]); k++)
        json_string(j, texts[k].key, text_at(e, k));
    json_begin_array(j, "recipients");
    for (size_t k = 0; k < e->recipient_count; k++) {
        json_begin_object(j, NULL);
        json_string(j, "address", e->recipients[k].address);
        json_string(j, "status", recipient_status_name(e->recipients[k].status));
        json_end_object(j);
    }
    json_end_array(j);
    json_begin_array(j, "history");
    queue_file_history(i->fd, e, attempt_json, &p);
    json_end_array(j);
}

static void put_line(struct buf *out, const char *title, const char *text)
{
    if (text[0] == '\0')
        return;
    buf_printf(out, "%-13s ", title);
    listing_printable(text, out);
    buf_append_char(out, '\n');
}

static void put_time(struct buf *out, const char *title, int64_t value_s)
{
    buf_printf(out, "%-13s ", title);
    listing_format_time(value_s, out);
    buf_append_char(out, '\n');
}

static void attempt_text(void *arg, const struct queue_attempt *a)
{
    struct printing *p = arg;
    buf_append_str(p->out, "  ");
    listing_format_time(a->time_s, p->out);
    buf_printf(p->out, "  %-9s ", a->outcome);
    listing_printable(address_of(p->envelope, a->index), p->out);
    buf_printf(p->out, "  %u %s  ", a->code, a->enhanced);
    listing_printable(a->relay, p->out);
    buf_append_str(p->out, "  ");
    listing_printable(a->reply, p->out);
    buf_append_char(p->out, '\n');
}

static void put_text(const struct item *i, struct buf *out)
{
    const struct envelope *e = &i->envelope;
    struct printing p = {.envelope = e, .out = out};
    put_line(out, "Queue id", e->id);
    put_line(out, "State", i->state);
    put_time(out, "Arrived", e->arrived_us / 1000000);
    put_time(out, "Next attempt", i->due_s);
    for (size_t k = 0; k < sizeof(texts) / sizeof(texts[0]); k++)
        put_line(out, texts[k].title, text_at(e, k));
    buf_printf(out, "%-13s %llu bytes\n%-13s %u\nRecipients\n", "Size", (unsigned long long)e->content_length,
               "Attempts", e->attempts);
    for (size_t k = 0; k < e->recipient_count; k++) {
        buf_printf(out, "  %-8s ", recipient_status_name(e->recipients[k].status));
        listing_printable(e->recipients[k].address, out);
        buf_append_char(out, '\n');
    }
    buf_append_str(out, "History\n");
    queue_file_history(i->fd, e, attempt_text, &p);
}

void item_print(const struct ctl *c, const struct item *i)
{
    struct buf out;
    buf_init(&out, OUTPUT_MAX);
    if (c->json) {
        struct json j = {.out = &out};
        json_begin_object(&j, NULL);
        item_json(i, &j);
        json_end_object(&j);
        buf_append_char(&out, '\n');
    } else {
        put_text(i, &out);
    }
    fwrite(buf_str(&out), 1, out.len, stdout);
    buf_deinit(&out);
}
