// The string commands' functions; the rows are in string.cc.
#ifndef SKEIN_NODE_COMMANDS_STRING_H_
#define SKEIN_NODE_COMMANDS_STRING_H_

#include "node/call.h"

namespace skein::node {

// string_set.cc
void RunSet(Call& call);
void RunSetnx(Call& call);
void RunSetex(Call& call);
void RunPsetex(Call& call);
void RunGetex(Call& call);
void RunGetdel(Call& call);
void RunGetset(Call& call);
void RunMset(Call& call);
void RunMsetnx(Call& call);
// string_range.cc
void RunGet(Call& call);
void RunMget(Call& call);
void RunStrlen(Call& call);
void RunAppend(Call& call);
void RunSetrange(Call& call);
void RunGetrange(Call& call);
// string_number.cc
void RunIncr(Call& call);
void RunDecr(Call& call);
void RunIncrby(Call& call);
void RunDecrby(Call& call);
void RunIncrbyfloat(Call& call);
// string_lcs.cc
void RunLcs(Call& call);

}  // namespace skein::node

#endif  // SKEIN_NODE_COMMANDS_STRING_H_
