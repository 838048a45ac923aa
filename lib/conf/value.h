/* value: one configuration value from text into its place in the settings struct, and back. */
#ifndef POSTHOUSE_CONF_VALUE_H
#define POSTHOUSE_CONF_VALUE_H

#include "conf/conf.h"

/* Replaces the value.  0, -EINVAL (conf_expected tells what was), -ENOMEM. */
int conf_value_set(const struct conf_param *param, void *settings, const char *text);
void conf_value_free(const struct conf_param *param, void *settings);

#endif
