/* folder: the folders of the queue directory, who owns them, and where a message's file stands in each state. */
#ifndef POSTHOUSE_QUEUE_FOLDER_H
#define POSTHOUSE_QUEUE_FOLDER_H

#include <sys/types.h>

#include "queue/id.h"

#define QUEUE_PATH_MAX 64 /* bytes of a path below the queue directory, NUL included */

/* A slice of due time is one folder below deferred/. */
#define QUEUE_SLICE_S 600

/* A file in new/ that is shorter than it says is its writer's for so long, then qmgr puts it aside into tmp/qmgr/. */
#define QUEUE_UNFINISHED_MS 3000
#define QUEUE_UNFINISHED    "tmp/qmgr"

enum queue_state { QUEUE_NEW, QUEUE_DEFERRED, QUEUE_HOLD, QUEUE_CORRUPT, QUEUE_STATE_COUNT };

/* Path below the queue directory: "new/K/ID", "deferred/2938/ID.DUE", "hold/ID", "corrupt/ID".  due_s counts for
 * deferred only. */
void queue_path(enum queue_state state, const char *id, int64_t due_s, char path[QUEUE_PATH_MAX]);
/* The id and due time from a file name below deferred/ ("ID.DUE").  0 or -EINVAL. */
int queue_parse_deferred_name(const char *name, char id[QUEUE_ID_SIZE], int64_t *due_s);

/* Makes every folder that is missing and sets owner and mode of all.  With separate users: files of a writer get the
 * group of qmgr by the set-group-id bit of its folder, writers may create in new/ but not list it.  Called by master
 * before it starts anything; sweeps tmp/.  owners NULL = everything belongs to the caller.  0 or -errno; *where (static
 * text or part of the path) tells which folder failed. */
struct queue_owners {
    uid_t qmgr;
    gid_t qmgr_group;
    uid_t smtpd, bounce;
    gid_t inject_group; /* a group that smtpd and bounce have and nobody else */
};
int queue_make_folders(const char *queue_directory, unsigned smtpd_slots, const struct queue_owners *owners,
                       const char **where);

/* Makes sure that no second suite runs on this queue: an exclusive lock, held by the returned descriptor.  Descriptor,
 * -EWOULDBLOCK (somebody has it; *pid is who, 0 = unknown) or -errno. */
int queue_lock(const char *queue_directory, pid_t *pid);

/* Free bytes and inodes of the file system the descriptor is on.  0 or -errno. */
int queue_free_space(int fd, uint64_t *bytes, uint64_t *inodes);

#endif
