// Replicas that move to primaries that have lost all of theirs, as Redis does (cluster-allow-replica-migration).
#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bus/engine/core.h"
#include "glog/logging.h"

namespace skein::bus {
namespace {
constexpr int64_t kLookMs = 500;
// How long a primary must have been without a working replica: its own may be restarting.
constexpr int64_t kOrphanMs = 5000;
}  // namespace

// What TendMigration finds by counting once for all.
bool EngineCore::Orphaned(const Node& primary) const {
  if (!primary.owner() || !primary.had_replicas || primary.fail) return false;
  return std::none_of(table_.all().begin(), table_.all().end(), [&](const auto& node) {
    return node->record().primary_id == primary.id() && !node->fail && !node->pfail;
  });
}

// Of the primaries with the most working replicas, the replica with the smallest id moves, one at a time: all who see
// the same choose the same.
void EngineCore::TendMigration() {
  if (now() < next_migration_look_ms_) return;
  next_migration_look_ms_ = now() + kLookMs;
  if (!groups_changed_ && !check_state_ && !orphans_ && Many()) {
    DCHECK(std::none_of(table_.all().begin(), table_.all().end(), [&](const auto& n) { return Orphaned(*n); }));
    return;
  }
  groups_changed_ = orphans_ = false;
  std::vector<uint32_t> working(table_.places(), 0);
  uint32_t most = 0;
  for (const auto& node : table_.all()) {
    Node* primary = table_.PrimaryOf(*node);
    if (primary == nullptr) continue;
    primary->had_replicas = true;
    if (!node->fail && !node->pfail) most = std::max(most, ++working[primary->index]);
  }
  Node* orphan = nullptr;
  for (const auto& node : table_.all()) {
    bool is = node->owner() && node->had_replicas && working[node->index] == 0 && !node->fail;
    orphans_ |= is;
    if (!is) {
      if (node->troubled()) node->change_trouble().orphan_since_ms = 0;
    } else if (node->trouble().orphan_since_ms == 0) {
      node->change_trouble().orphan_since_ms = now();
    } else if (orphan == nullptr && now() - node->trouble().orphan_since_ms > kOrphanMs) {
      orphan = node.get();
    }
  }
  Node* primary = Primary();
  if (orphan == nullptr || primary == nullptr || !options_.allow_replica_migration || !ok_) return;
  if (promote_epoch_ != 0 || by_hand_.until_ms != 0 || election_.phase != Election::kNone) return;
  uint32_t ours = working[primary->index];
  if (ours <= std::max<uint32_t>(options_.migration_barrier, 1) || ours != most) return;
  for (const auto& node : table_.all()) {  // by id
    Node* its = table_.PrimaryOf(*node);
    if (its == nullptr || working[its->index] != most || node->fail || node->pfail) continue;
    if (node->self) Follow(orphan, absl::StrCat("it has no working replica, and ", Name(*primary), " has ", ours));
    return;
  }
}

}  // namespace skein::bus
