#include "node/commands/cluster_change.h"

#include <bitset>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bus/bus.h"
#include "bus/command.h"
#include "fmt/format.h"
#include "node/commands/families.h"
#include "node/commands/parse.h"
#include "node/loop.h"
#include "node/node.h"
#include "node/replication/replication.h"
#include "storage/slot.h"

namespace skein::node {
namespace {

using bus::OperatorCommand;
using bus::OperatorReply;
using bus::SlotRange;

void WriteOperatorReply(ReplyWriter& reply, const OperatorReply& answer) {
  switch (answer.kind) {
    case OperatorReply::Kind::kStatus:
      return reply.Status(answer.text);
    case OperatorReply::Kind::kError:
      return reply.Error(answer.text);
    case OperatorReply::Kind::kInteger:
      return reply.Integer(answer.number);
  }
}

// Asks the engine on behalf of a reply that is owed. std::function wants copies, hence the shared ownership of the
// token.
void Ask(Node& node, OperatorCommand command, DeferredReply deferred) {
  auto owed = std::make_shared<DeferredReply>(std::move(deferred));
  node.bus()->Submit(std::move(command), [owed](OperatorReply answer) {
    owed->Complete([answer = std::move(answer)](ReplyWriter& reply) { WriteOperatorReply(reply, answer); });
  });
}

void Ask(Call& call, OperatorCommand command) { Ask(*call.node, std::move(command), call.node->Defer(call)); }

// Counts keys on all shards first (of `slot`, or of everything in any database), then asks with the number.
void AskWithKeyCount(Call& call, uint16_t slot, std::function<OperatorCommand(uint64_t keys)> make) {
  auto owed = std::make_shared<DeferredReply>(call.node->Defer(call));
  call.node->CollectShards(
      *call.loop,
      [slot](storage::Shard& shard) {
        uint64_t keys = 0;
        for (uint32_t db = 0; db < shard.databases(); ++db) {
          keys += slot == storage::kNoSlot ? shard.KeyCount(db) : shard.KeyCountInSlot(db, slot);
        }
        return std::to_string(keys);
      },
      [owed, node = call.node, make = std::move(make)](std::vector<std::string> parts) {
        uint64_t keys = 0;
        for (const std::string& part : parts) keys += std::stoull(part);
        Ask(*node, make(keys), std::move(*owed));
      });
}

// Slots as words, or as pairs first..last. False: an error has been written; nothing has changed.
bool ParseSlots(Call& call, bool ranges, std::vector<SlotRange>* out) {
  auto seen = std::make_unique<std::bitset<storage::kSlots>>();
  if (ranges && call.argv.size() % 2 != 0) {
    WrongArity(*call.spec, call.reply);
    return false;
  }
  for (size_t i = 2; i < call.argv.size(); i += ranges ? 2 : 1) {
    const auto first = ParseSlot(call.argv[i]), last = ranges ? ParseSlot(call.argv[i + 1]) : first;
    if (!first.has_value() || !last.has_value()) {
      BadSlot(call);
      return false;
    }
    if (*first > *last) {
      call.reply->Error(fmt::format("ERR start slot number {} is greater than end slot number {}", *first, *last));
      return false;
    }
    for (uint32_t slot = *first; slot <= *last; ++slot) {
      if (seen->test(slot)) {
        call.reply->Error(fmt::format("ERR Slot {} specified multiple times", slot));
        return false;
      }
      seen->set(slot);
    }
    out->push_back({*first, *last});
  }
  return true;
}

template <typename Command>
void ChangeSlots(Call& call, bool ranges) {
  std::vector<SlotRange> slots;
  if (ParseSlots(call, ranges, &slots)) Ask(call, Command{std::move(slots)});
}

// Refuses what would make a primary of a node that has a part of its own primary's data only.
bool RefusesPart(Call& call) {
  if (call.node->replication() == nullptr) return false;
  const absl::Status whole = call.node->replication()->CheckWhole();
  if (!whole.ok()) call.reply->Error("ERR " + std::string(whole.message()));
  return !whole.ok();
}

}  // namespace

std::optional<uint16_t> ParseSlot(std::string_view word) {
  int64_t slot;
  if (!ParseInt64(word, &slot) || slot < 0 || slot >= storage::kSlots) return std::nullopt;
  return static_cast<uint16_t>(slot);
}

void BadSlot(Call& call) { call.reply->Error("ERR Invalid or out of range slot"); }

void ClusterMeet(Call& call) {
  int64_t port, bus_port = 0;
  if (call.argv.size() > 5) return WrongArity(*call.spec, call.reply);
  if (!ParseInt64(call.argv[3], &port)) {
    return call.reply->Error(fmt::format("ERR Invalid TCP base port specified: {}", call.argv[3]));
  }
  if (call.argv.size() == 5 && !ParseInt64(call.argv[4], &bus_port)) {
    return call.reply->Error(fmt::format("ERR Invalid TCP bus port specified: {}", call.argv[4]));
  }
  if (call.argv.size() == 4) bus_port = port + 10000;
  if (port < 1 || port > 65535 || bus_port < 1 || bus_port > 65535) {
    return call.reply->Error(fmt::format("ERR Invalid node address specified: {}:{}", call.argv[2], call.argv[3]));
  }
  Ask(call, bus::MeetCommand{std::string(call.argv[2]), static_cast<uint16_t>(port), static_cast<uint16_t>(bus_port)});
}

void ClusterReplicate(Call& call) {
  AskWithKeyCount(call, storage::kNoSlot, [id = std::string(call.argv[2])](uint64_t keys) {
    return OperatorCommand(bus::ReplicateCommand{id, keys != 0});
  });
}

void ClusterFailover(Call& call) {
  if (call.argv.size() > 3) return WrongArity(*call.spec, call.reply);
  bus::FailoverCommand command{bus::FailoverKind::kAgreed};
  if (call.argv.size() == 3) {
    if (IsWord(call.argv[2], "FORCE")) {
      command.kind = bus::FailoverKind::kForce;
    } else if (IsWord(call.argv[2], "TAKEOVER")) {
      command.kind = bus::FailoverKind::kTakeover;
    } else {
      return call.reply->SyntaxError();
    }
  }
  if (!RefusesPart(call)) Ask(call, command);
}

void ClusterForget(Call& call) { Ask(call, bus::ForgetCommand{std::string(call.argv[2])}); }

void ClusterAddSlots(Call& call) { ChangeSlots<bus::AddSlotsCommand>(call, /*ranges=*/false); }
void ClusterAddSlotsRange(Call& call) { ChangeSlots<bus::AddSlotsCommand>(call, /*ranges=*/true); }
void ClusterDelSlots(Call& call) { ChangeSlots<bus::DelSlotsCommand>(call, /*ranges=*/false); }
void ClusterDelSlotsRange(Call& call) { ChangeSlots<bus::DelSlotsCommand>(call, /*ranges=*/true); }

void ClusterFlushSlots(Call& call) {
  AskWithKeyCount(call, storage::kNoSlot,
                  [](uint64_t keys) { return OperatorCommand(bus::FlushSlotsCommand{keys != 0}); });
}

void ClusterReset(Call& call) {
  bool hard = false;
  if (call.argv.size() > 3) return WrongArity(*call.spec, call.reply);
  if (call.argv.size() == 3) {
    hard = IsWord(call.argv[2], "HARD");
    if (!hard && !IsWord(call.argv[2], "SOFT")) return call.reply->SyntaxError();
  }
  if (!call.loop->is_primary()) {
    if (RefusesPart(call)) return;  // before the bus lets go of anything
    auto owed = std::make_shared<DeferredReply>(call.node->Defer(call));
    call.node->bus()->Submit(
        bus::ResetCommand{hard, /*has_keys=*/false}, [owed, node = call.node](OperatorReply answer) {
          const auto complete = [owed](OperatorReply reply) {
            owed->Complete([reply = std::move(reply)](ReplyWriter& writer) { WriteOperatorReply(writer, reply); });
          };
          if (answer.kind == OperatorReply::Kind::kError) return complete(std::move(answer));
          node->BecomeEmptyPrimary([complete, answer](const absl::Status& status) {
            if (status.ok()) return complete(answer);
            complete({OperatorReply::Kind::kError,
                      fmt::format("ERR reset, but not emptied: {}", std::string(status.message())), 0});
          });
        });
    return;
  }
  AskWithKeyCount(call, storage::kNoSlot, [hard](uint64_t keys) {
    return OperatorCommand(bus::ResetCommand{hard, keys != 0});
  });
}

void ClusterBumpEpoch(Call& call) { Ask(call, bus::BumpEpochCommand{}); }
void ClusterSaveConfig(Call& call) { Ask(call, bus::SaveConfigCommand{}); }

void ClusterSetConfigEpoch(Call& call) {
  int64_t epoch;
  if (!ParseInt64(call.argv[2], &epoch)) return call.reply->NotAnInteger();
  if (epoch < 0) return call.reply->Error(fmt::format("ERR Invalid config epoch specified: {}", epoch));
  Ask(call, bus::SetConfigEpochCommand{static_cast<uint64_t>(epoch)});
}

void ClusterCountFailureReports(Call& call) { Ask(call, bus::CountFailureReportsCommand{std::string(call.argv[2])}); }

void ClusterSetSlot(Call& call) {
  const auto slot = ParseSlot(call.argv[2]);
  if (!slot.has_value()) return BadSlot(call);
  bus::SetSlotCommand command{*slot, bus::SetSlotKind::kStable, std::string(), 0};
  if (call.argv.size() == 4 && IsWord(call.argv[3], "STABLE")) return Ask(call, command);
  if (call.argv.size() == 5) {
    command.id = call.argv[4];
    if (IsWord(call.argv[3], "MIGRATING")) {
      command.kind = bus::SetSlotKind::kMigrating;
      return Ask(call, command);
    }
    if (IsWord(call.argv[3], "IMPORTING")) {
      command.kind = bus::SetSlotKind::kImporting;
      return Ask(call, command);
    }
    if (IsWord(call.argv[3], "NODE")) {
      command.kind = bus::SetSlotKind::kNode;
      return AskWithKeyCount(call, *slot, [command](uint64_t keys) mutable {
        command.keys_in_slot = keys;
        return OperatorCommand(command);
      });
    }
  }
  call.reply->Error("ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP");
}

}  // namespace skein::node
