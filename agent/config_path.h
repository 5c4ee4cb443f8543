/* Where the daemon's configuration is when the command line does not say so. */
#pragma once

#include "common/sysconfdir.h"

#define CONFIG_DEFAULT_PATH SECRETLET_SYSCONFDIR "/secretlet/secretlet.yaml"
