/* Volume options: the annotation that says for single volumes of a pod how they are to be shown. */
#pragma once

#include "agent/pod.h"

/* The annotation's value: a map in YAML or JSON, from the name of a volume, or "*" for all that are served here, to what is
 * asked of it.
 *
 *   layout    kubelet | flat
 *   owner     uid of its files
 *   group     gid of its files
 *   mode      of its files: octal digits, the first one 0
 *   onChange  a signal's name
 *   keys      a map from a path in the volume to owner, group and mode of that file
 *
 * What "*" says holds where the volume's own entry says nothing. A volume of which anything is wrong has an option_error;
 * in a text that cannot be read all of them have. Keeps the text in p->volume_options. -ENOMEM. */
int volume_options_read(struct pod *p, const char *text, size_t len);
