// Which command the words are, and where it runs: made for a whole batch before anything of it is executed.
#include <strings.h>

#include <cstring>
#include <optional>
#include <utility>

#include "node/loop_impl.h"
#include "node/node_impl.h"

namespace skein::node {
namespace {

bool SameWord(std::string_view a, const char* b) {
  return a.size() == std::strlen(b) && strncasecmp(a.data(), b, a.size()) == 0;
}

// The bytes of a short name as two words.
inline void NameWords(std::string_view name, uint64_t* a, uint64_t* b) {
  const char* p = name.data();
  const size_t n = name.size();
  if (n >= 8) {
    std::memcpy(a, p, 8);
    std::memcpy(b, p + n - 8, 8);
  } else if (n >= 4) {
    uint32_t x, y;
    std::memcpy(&x, p, 4);
    std::memcpy(&y, p + n - 4, 4);
    *a = x;
    *b = y;
  } else {
    uint64_t w = 0;
    for (size_t i = 0; i < n; ++i) w = w << 8 | static_cast<unsigned char>(p[i]);
    *a = w;
    *b = 0;
  }
}

}  // namespace

CommandInfo* LoopImpl::InfoOf(const CommandSpec* spec) {
  std::unique_ptr<CommandInfo>& info = infos_[spec];
  if (info == nullptr) {
    info = std::make_unique<CommandInfo>();
    info->stats.spec = spec;
    if (spec->scope == Scope::kShard && spec->keys.size() == 1) {
      const KeySpec& k = spec->keys[0];
      if (k.keyword == nullptr && !k.by_keynum && k.last_key == 0 && k.index > 0 &&
          static_cast<int>(k.index) < std::abs(spec->arity)) {
        info->single_key = k.index;
      }
    }
    info->cheap = (spec->flags & kFlagFast) || SameWord("set", spec->name);
    info->cached = spec->subcommands.empty() && spec->parent == nullptr;
  }
  return info.get();
}

CommandInfo* LoopImpl::Lookup(Args argv) {
  const std::string_view name = argv[0];
  if (name.empty() || name.size() > 16) {
    const CommandSpec* spec = FindCommand(argv);
    return spec == nullptr ? nullptr : InfoOf(spec);
  }
  uint64_t a, b;
  NameWords(name, &a, &b);
  const uint64_t mixed = (a ^ (b * 0x9e3779b97f4a7c15ull) ^ name.size()) * 0xff51afd7ed558ccdull;
  CacheLine& line = cache_[mixed >> 56];
  static_assert(kCacheLines == 256);
  if (line.a == a && line.b == b && line.size == name.size()) return line.info;
  const CommandSpec* spec = FindCommand(argv);
  if (spec == nullptr) return nullptr;
  CommandInfo* info = InfoOf(spec);
  if (info->cached) line = CacheLine{a, b, static_cast<uint32_t>(name.size()), info};
  return info;
}

void LoopImpl::Prepare(ClientSession& s, Args argv, Prepared* p) {
  CommandInfo* info = Lookup(argv);
  p->info = info;
  p->multiple_keys = false;
  p->slot = storage::kNoSlot;
  p->key_index = -1;
  if (info == nullptr) {
    p->kind =
        SameWord(argv[0], "post") || SameWord(argv[0], "host:") ? Prepared::Kind::kHostile : Prepared::Kind::kUnknown;
    return;
  }
  const CommandSpec& spec = *info->stats.spec;
  if (!ArityOk(spec, argv.size())) {
    p->kind = Prepared::Kind::kArity;
    return;
  }
  if (!s.st.authenticated && !config_->requirepass.empty() && !(spec.flags & kFlagNoAuth)) {
    p->kind = Prepared::Kind::kNoAuth;
    return;
  }
  if (!spec.subcommands.empty() && (spec.run == nullptr || argv.size() > 1)) {
    // The container's own row: its subcommand is not known.
    p->kind = Prepared::Kind::kUnknown;
    return;
  }
  switch (spec.scope) {
    case Scope::kSession:
      p->kind = Prepared::Kind::kSession;
      return;
    case Scope::kAllShards:
      p->kind = Prepared::Kind::kAllShards;
      return;
    case Scope::kShard:
      break;
  }
  const uint32_t shards = node_->shard_count();
  if (info->single_key != 0) {
    p->key_index = info->single_key;
    p->slot = storage::KeySlot(argv[p->key_index]);
  } else if (!spec.keys.empty()) {
    positions_.clear();
    if (FindKeys(spec, argv, &positions_) && !positions_.empty()) {
      p->key_index = static_cast<int32_t>(positions_[0]);
      p->slot = storage::KeySlot(argv[positions_[0]]);
      p->multiple_keys = positions_.size() > 1;
      if (cluster_ || shards > 1) {
        for (size_t i = 1; i < positions_.size(); ++i) {
          if (storage::KeySlot(argv[positions_[i]]) != p->slot) {
            p->kind = Prepared::Kind::kCrossSlot;
            return;
          }
        }
      }
    }
    // Without valid keys the command itself finds the error; any shard will do.
    if (p->key_index < 0) p->slot = 0;
  } else if (spec.route != nullptr) {
    const std::optional<uint16_t> slot = spec.route(argv);
    if (!slot.has_value()) {
      p->kind = Prepared::Kind::kNowhere;
      return;
    }
    p->slot = *slot;
  } else {
    p->slot = 0;
  }
  p->shard = shards == 1 ? 0 : p->slot % shards;
  ShardHost* host = hosts_[p->shard].get();
  if (host == nullptr) {
    p->kind = Prepared::Kind::kElsewhere;
    return;
  }
  p->kind = Prepared::Kind::kHere;
  if (p->key_index >= 0) p->key.emplace(argv[p->key_index], p->slot);
}

}  // namespace skein::node
