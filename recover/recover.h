/* recover: the one-shot program that master runs before all others. */
#ifndef POSTHOUSE_RECOVER_RECOVER_H
#define POSTHOUSE_RECOVER_RECOVER_H

#include "service/service.h"

struct service *recover_service(void);

#endif
