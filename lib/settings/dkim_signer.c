#include "settings/dkim_signer.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/text.h"

#define AT(field) offsetof(struct settings_dkim_signer, field)

/* libopendkim joins the names into one pattern of at most 1024 bytes. */
#define NAMES_BYTES_MAX 900

/* Header first: libopendkim's Ed25519 signatures over simple headers do not verify, so headers are always relaxed. */
static const char *const canonicalizations[] = {"relaxed/relaxed", "relaxed/simple", NULL};

static const struct conf_param params[] = {
    {"key_table", CONF_PATH, AT(key_table), "", 0, 0, NULL,
     "The file that lists the keys, see posthouse-key-table(5); empty = key-table in the configuration directory"},
    {"canonicalization", CONF_ENUM, AT(canonicalization), "relaxed/relaxed", 0, 0, canonicalizations,
     "What changes of header/body on the way a signature survives"},
    {"sign_headers", CONF_LIST, AT(sign_headers),
     "From Sender Reply-To Subject Date Message-ID To Cc MIME-Version Content-Type Content-Transfer-Encoding "
     "Content-Disposition In-Reply-To References List-Id List-Help List-Unsubscribe List-Unsubscribe-Post "
     "List-Subscribe "
     "List-Post List-Owner List-Archive Feedback-ID Resent-From Resent-Date Resent-To Resent-Cc Resent-Message-ID",
     0, 0, NULL, "Header fields that are signed where present; From always is"},
    {"oversign_headers", CONF_LIST, AT(oversign_headers), "From Subject Date To Reply-To", 0, 0, NULL,
     "Header fields signed once more than present, so that nobody can add another"},
    {0},
};

/* field-name without what would mean something in a pattern. */
static int check_names(const char *parameter, const struct conf_list *names, struct buf *why)
{
    size_t total = 0;
    for (size_t i = 0; i < names->count; i++) {
        const char *name = names->items[i];
        size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
        if (name[len] != '\0') {
            buf_printf(why, "%s = … %s …: expected names of header fields (letters, digits, hyphens)", parameter, name);
            return -EINVAL;
        }
        total += len + 1;
    }
    if (total <= NAMES_BYTES_MAX)
        return 0;
    buf_printf(why, "%s: %zu bytes of names: expected no more than %d", parameter, total, NAMES_BYTES_MAX);
    return -EINVAL;
}

static int check(const void *settings, struct buf *why)
{
    const struct settings_dkim_signer *s = settings;
    int r = check_names("sign_headers", &s->sign_headers, why);
    return r < 0 ? r : check_names("oversign_headers", &s->oversign_headers, why);
}

const struct conf_schema settings_dkim_signer_schema = {
    .file = "dkim-signer.conf", .params = params, .size = sizeof(struct settings_dkim_signer), .check = check};
