/* dkim-signer: adds nothing to a message and never sees the network; it is handed a descriptor and answers with the
 * signature fields.  The only program that holds private DKIM keys.
 *
 * Job description: reads dkim-signer.conf, the key table and the keys while it may; then it is posthouse-dkim in the
 * run directory, with one connection to qmgr (SIGN in, SIGNATURE out) and descriptors it reads by position. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "log/log.h"
#include "service/service.h"
#include "dkim-signer/signer.h"

#define LINES_MAX 65536

static struct {
    struct settings_dkim_signer settings;
    struct key_table table;
    struct signer *signer;
    struct signer_answer answer;
    struct ipc_client *qmgr;
    struct ipc_face face;
} state;

/* --- SIGN --------------------------------------------------------------------------------------------------------- */

static void log_outcome(const char *queue_id, enum ipc_sign_status status)
{
    if (status == SIGN_SIGNED)
        log_message(LOG_LEVEL_DEBUG, queue_id, "signed: keys=%s", buf_str(&state.answer.keys));
    else if (status == SIGN_NO_KEY)
        log_message(LOG_LEVEL_DEBUG, queue_id, "not signed: %s", buf_str(&state.answer.reason));
    else
        log_message(LOG_LEVEL_WARNING, queue_id, "signing failed: %s, qmgr will try again",
                    buf_str(&state.answer.reason));
}

static void on_sign(void *arg, struct ipc_channel *from, const void *message, int *fd)
{
    const struct ipc_sign *sign = message;
    struct signer_request request = {sign->queue_id, *fd, sign->content_offset, sign->content_length};
    if (*fd < 0) {
        ipc_channel_break(from, "SIGN without a descriptor");
        return;
    }
    enum ipc_sign_status status = signer_sign(state.signer, &request, &state.answer);
    log_outcome(sign->queue_id, status);
    struct ipc_signature reply = {.job = sign->job,
                                  .status = status,
                                  .headers = buf_str(&state.answer.headers),
                                  .keys = status == SIGN_SIGNED ? buf_str(&state.answer.keys) : "none",
                                  .reason = buf_str(&state.answer.reason)};
    int r = ipc_send(from, IPC_SIGNATURE, &reply, -1);
    if (r < 0)
        log_message(LOG_LEVEL_WARNING, sign->queue_id, "signature could not be handed to qmgr: %s, it will ask again",
                    text_errno(r));
    ipc_flush(from); /* the next one takes a while */
}

static const struct ipc_handler handlers[] = {{IPC_SIGN, on_sign}, {IPC_NONE}};

static void on_up(void *arg, struct ipc_channel *c)
{
    const struct ipc_keys keys = {.keys = (uint32_t)state.table.count};
    log_debug("connected to qmgr, process %u", ipc_channel_peer(c)->pid);
    ipc_send(c, IPC_KEYS, &keys, -1);
}

static void on_down(void *arg, struct ipc_channel *c, const char *why)
{
    /* lib/ipc logged it and connects again; qmgr asks again for what it got no answer to */
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void log_lines(void (*log)(const char *fmt, ...), struct buf *lines)
{
    char *save = NULL;
    for (char *line = lines->len > 0 ? strtok_r(lines->data, "\n", &save) : NULL; line != NULL;
         line = strtok_r(NULL, "\n", &save))
        log("%s", line);
    buf_clear(lines);
}

static int load_settings(struct service *s, struct buf *errors)
{
    int r = conf_load(&settings_dkim_signer_schema, s->config_dir, &state.settings, errors);
    if (r < 0 || state.settings.key_table[0] != '\0')
        return r;
    free(state.settings.key_table);
    state.settings.key_table = text_format("%s/key-table", s->config_dir);
    /* A suite without keys is a suite that does not sign; a table that was named and is missing is a mistake. */
    if (state.settings.key_table != NULL && access(state.settings.key_table, F_OK) < 0 && errno == ENOENT) {
        log_info("no %s: nothing will be signed", state.settings.key_table);
        free(state.settings.key_table);
        state.settings.key_table = strdup("");
    }
    return state.settings.key_table != NULL ? 0 : -ENOMEM;
}

static int load_keys(struct buf *errors, struct buf *warnings)
{
    const char *path = state.settings.key_table;
    if (path[0] == '\0')
        return 0;
    int r = key_table_load(path, &state.table, errors);
    return r == 0 ? key_table_load_keys(path, &state.table, errors, warnings) : r;
}

static int prepare(struct service *s)
{
    struct buf errors, warnings;
    buf_init(&errors, LINES_MAX);
    buf_init(&warnings, LINES_MAX);
    signer_answer_init(&state.answer);
    int r = load_settings(s, &errors);
    if (r == 0)
        r = load_keys(&errors, &warnings);
    if (r == 0)
        r = signer_new(&state.settings, &state.table, &state.signer, &warnings);
    log_lines(r < 0 ? log_error : log_warning, &warnings);
    log_lines(log_error, &errors);
    if (r == 0)
        log_debug("%zu keys loaded", state.table.count);
    buf_deinit(&errors);
    buf_deinit(&warnings);
    return r;
}

static int start(struct service *s)
{
    state.face = (struct ipc_face){.self = s->self, .handlers = handlers, .on_up = on_up, .on_down = on_down};
    state.qmgr = ipc_client_new(s->loop, SERVICE_QMGR_SOCKET, ROLE_QMGR, &state.face);
    return state.qmgr != NULL ? 0 : -ENOMEM;
}

static void stop(struct service *s)
{
    ipc_client_free(state.qmgr);
    signer_free(state.signer);
    signer_answer_deinit(&state.answer);
    key_table_deinit(&state.table);
    conf_free(&settings_dkim_signer_schema, &state.settings);
}

int main(int argc, char **argv)
{
    /* Signing a message never waits for anything, so there is nothing to drain. */
    static struct service service = {.role = ROLE_DKIM_SIGNER, .prepare = prepare, .start = start, .stop = stop};
    return service_main(&service, argc, argv);
}
