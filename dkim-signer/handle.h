/* handle: names for private keys that are parsed already, in a form libopendkim takes for a PEM text. */
#ifndef POSTHOUSE_DKIM_SIGNER_HANDLE_H
#define POSTHOUSE_DKIM_SIGNER_HANDLE_H

#include <stdbool.h>

#include "dkim/key.h"

#define HANDLE_TEXT_MAX 40

/* Keeps a reference of the key; the text stands for it in dkim_sign from here on.  0 or -ENOMEM. */
int handle_add(const struct signing_key *key, char text[HANDLE_TEXT_MAX]);
/* Forgets all handles: texts handed out are void. */
void handle_clear(void);

/* Whether libopendkim frees the keys of this type that it was given.  It does for RSA and, up to 2.11.0 beta 2, does
 * not for Ed25519; the self-test finds out by watching a key. */
void handle_set_library_frees(enum signing_key_type type, bool frees);
/* Sets *freed when the last reference of the key goes away; NULL = no longer.  0 or -ENOMEM. */
int handle_watch_key(struct signing_key *key, bool *freed);

#endif
