/* A BOUNCE through the real queue and suppression list: what stands on disk afterwards, and what a second one adds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "bounce/office.h"
#include "queue/file.h"
#include "queue/folder.h"

#define CONTENT "Subject: hello\r\n\r\nbody\r\n"

static struct {
    char folder[64];
    char *queue, *list;
    struct loop *loop;
    struct injector *injector;
    struct suppression *suppression;
    struct settings_bounce settings;
    struct office *office;
    bool idle;
} t;

static struct ipc_channel *no_channel(void *arg)
{
    return NULL;
}

static void on_idle(void *arg)
{
    t.idle = true;
}

static int setup(void **state)
{
    const char *where;
    struct buf errors;
    snprintf(t.folder, sizeof(t.folder), "/tmp/posthouse-office-XXXXXX");
    assert_non_null(mkdtemp(t.folder));
    t.queue = text_format("%s/queue", t.folder);
    t.list = text_format("%s/suppression.db", t.folder);
    buf_init(&errors, 4096);
    assert_int_equal(conf_parse(&settings_bounce_schema, "bounce.conf", "", &t.settings, &errors), 0);
    assert_int_equal(queue_make_folders(t.queue, 1, NULL, &where), 0);
    t.loop = loop_new();
    assert_int_equal(injector_new(t.loop, t.queue, QUEUE_WRITER_BOUNCE, 2, &t.injector), 0);
    assert_int_equal(suppression_open_writer(t.list, &t.suppression), 0);
    const struct office_setup office = {.loop = t.loop,
                                        .settings = &t.settings,
                                        .hostname = "relay.example.com",
                                        .injector = t.injector,
                                        .suppression = t.suppression,
                                        .channel = no_channel,
                                        .idle = on_idle};
    t.office = office_new(&office);
    assert_non_null(t.office);
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static int teardown(void **state)
{
    office_free(t.office);
    injector_free(t.injector);
    suppression_free(t.suppression);
    loop_free(t.loop);
    conf_free(&settings_bounce_schema, &t.settings);
    nftw(t.folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(t.queue);
    free(t.list);
    return 0;
}

/* Every notice in the queue; the envelope of the last one in *out when not NULL. */
static unsigned count_notices(struct envelope *out)
{
    unsigned count = 0;
    for (const char *c = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"; *c != '\0'; c++) {
        _cleanup_(freep) char *path = text_format("%s/new/%c", t.queue, *c);
        DIR *dir = opendir(path);
        assert_non_null(dir);
        for (struct dirent *e; (e = readdir(dir)) != NULL;) {
            if (e->d_name[0] == '.')
                continue;
            count++;
            _cleanup_(fd_closep) int fd = openat(dirfd(dir), e->d_name, O_RDONLY | O_CLOEXEC);
            if (out != NULL)
                assert_int_equal(queue_file_read(fd, out), 0);
        }
        closedir(dir);
    }
    return count;
}

static void take(const struct ipc_bounce *b)
{
    _cleanup_(freep) char *path = text_format("%s/message", t.folder);
    _cleanup_(fd_closep) int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, CONTENT, strlen(CONTENT)), strlen(CONTENT));
    t.idle = false;
    office_take(t.office, b, &fd);
    for (int i = 0; i < 500 && office_reports(t.office) > 0; i++)
        loop_turn(t.loop, 10);
    assert_int_equal(office_reports(t.office), 0);
}

static bool is_suppressed(const char *address)
{
    struct suppression_row row;
    if (suppression_lookup(t.suppression, address, "", &row) != 1)
        return false;
    assert_string_equal(row.reason, "bad-mailbox");
    assert_int_equal(row.code, 550);
    assert_string_equal(row.enhanced, "5.1.1");
    assert_string_equal(row.reply, "no such user");
    assert_string_equal(row.queue_id, "1P8X2K7Q3M40A");
    assert_true(row.expires_s > row.since_s + 300 * 86400);
    return true;
}

static const struct ipc_bounce_recipient gone = {.address = "gone@example.net",
                                                 .orcpt = "",
                                                 .code = 550,
                                                 .enhanced = "5.1.1",
                                                 .reply = "550 5.1.1 no such user",
                                                 .relay = "mx.example.net[192.0.2.1]:25"};
static const struct ipc_bounce_recipient full = {.address = "full@example.net",
                                                 .orcpt = "",
                                                 .code = 552,
                                                 .enhanced = "5.2.2",
                                                 .reply = "552 5.2.2 over quota",
                                                 .relay = "mx.example.net[192.0.2.1]:25"};

static struct ipc_bounce make_bounce(const char *sender, const struct ipc_bounce_recipient *r)
{
    return (struct ipc_bounce){.job = 1,
                               .queue_id = "1P8X2K7Q3M40A",
                               .kind = BOUNCE_FAILED,
                               .sender = sender,
                               .tenant = "shop",
                               .credential = "",
                               .envid = "",
                               .arrived_s = 1763920000,
                               .content_length = strlen(CONTENT),
                               .recipients = r,
                               .recipients_count = 1};
}

static void test_failed(void **state)
{
    struct ipc_bounce b = make_bounce("alice@example.com", &gone);
    struct envelope e;
    take(&b);
    assert_true(t.idle);
    assert_int_equal(count_notices(&e), 1);
    assert_string_equal(e.sender, "");
    assert_string_equal(e.tenant, "shop");
    assert_int_equal(e.recipient_count, 1);
    assert_string_equal(e.recipients[0].address, "alice@example.com");
    assert_true(e.flags & ENVELOPE_NOTICE);
    assert_true(e.content_length > 500);
    envelope_free(&e);
    assert_true(is_suppressed("gone@example.net"));
    /* The answer was lost, qmgr asks again. */
    b.job = 2;
    take(&b);
    assert_int_equal(count_notices(NULL), 1);
}

static void test_soft_failure(void **state)
{
    const struct ipc_bounce b = make_bounce("alice@example.com", &full);
    take(&b);
    assert_int_equal(count_notices(NULL), 1);
    assert_false(is_suppressed("full@example.net"));
}

/* Nobody to tell, and still an address to remember. */
static void test_null_sender(void **state)
{
    const struct ipc_bounce b = make_bounce("", &gone);
    take(&b);
    assert_int_equal(count_notices(NULL), 0);
    assert_true(is_suppressed("gone@example.net"));
}

static void test_closed(void **state)
{
    const struct ipc_bounce b = make_bounce("alice@example.com", &gone);
    office_close(t.office);
    take(&b);
    assert_int_equal(count_notices(NULL), 0);
    assert_false(is_suppressed("gone@example.net"));
}

static void test_unreadable(void **state)
{
    struct ipc_bounce b = make_bounce("alice@example.com", &gone);
    b.content_length = 1000000;
    take(&b);
    assert_int_equal(count_notices(NULL), 1);
}

static void test_nonsense(void **state)
{
    struct ipc_bounce b = make_bounce("alice@example.com", &gone);
    b.kind = 17;
    take(&b);
    b = make_bounce("alice@example.com", &gone);
    b.queue_id = "../../etc";
    take(&b);
    assert_int_equal(count_notices(NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_failed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_soft_failure, setup, teardown),
        cmocka_unit_test_setup_teardown(test_null_sender, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unreadable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nonsense, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
