// The functions of the commands on keys of any type and on databases; the rows are in generic.cc.
#ifndef SKEIN_NODE_COMMANDS_GENERIC_H_
#define SKEIN_NODE_COMMANDS_GENERIC_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "node/call.h"

namespace skein::node {

struct Config;

using Partials = std::span<const std::string_view>;

// generic_keys.cc
void RunDel(Call& call);
void RunUnlink(Call& call);
void RunExists(Call& call);
void RunTouch(Call& call);
void RunType(Call& call);
void RunRename(Call& call);
void RunRenamenx(Call& call);
void RunCopy(Call& call);
void RunMove(Call& call);
// generic_expire.cc
void RunExpire(Call& call);
void RunPexpire(Call& call);
void RunExpireat(Call& call);
void RunPexpireat(Call& call);
void RunExpiretime(Call& call);
void RunPexpiretime(Call& call);
void RunTtl(Call& call);
void RunPttl(Call& call);
void RunPersist(Call& call);
// generic_wait.cc
// generic_scan.cc
void RunKeys(Call& call);
void MergeKeys(Call& call, Partials partials);
void RunScan(Call& call);
std::optional<uint16_t> RouteScan(Args argv);
// generic_database.cc
void RunRandomkey(Call& call);
void MergeRandomkey(Call& call, Partials partials);
void RunDbsize(Call& call);
void MergeDbsize(Call& call, Partials partials);
void RunFlushdb(Call& call);
void RunFlushall(Call& call);
void RunSwapdb(Call& call);
// The reply of the first shard that refused, else of the first shard: FLUSHDB, FLUSHALL, SWAPDB.
void MergeAllSucceeded(Call& call, Partials partials);
// generic_object.cc
void RunObjectEncoding(Call& call);
void RunObjectFreq(Call& call);
void RunObjectHelp(Call& call);
void RunObjectIdletime(Call& call);
void RunObjectRefcount(Call& call);
// Whether maxmemory-policy makes access data a counter (LFU) rather than a clock.
bool UsesLfu(const Config& config);
// generic_dump.cc

}  // namespace skein::node

#endif  // SKEIN_NODE_COMMANDS_GENERIC_H_
