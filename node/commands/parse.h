// Reading the words of a command.
#ifndef SKEIN_NODE_COMMANDS_PARSE_H_
#define SKEIN_NODE_COMMANDS_PARSE_H_

#include "node/util/numbers.h"  // IWYU pragma: export
#include "node/util/words.h"    // IWYU pragma: export

#endif  // SKEIN_NODE_COMMANDS_PARSE_H_
