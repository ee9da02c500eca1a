// Joins the families into the one command table and answers look-ups in it.
//
// The table is open addressing over cache-line sized slots, at most a quarter full, built once at the first use. A name
// of up to 16 bytes is two overlapping 8-byte loads; case is folded by setting bit 5 for the hash, and the comparison
// ignores that bit only where the name has a letter. The multiplier of the hash is chosen so that nearly every name
// sits in its home slot.
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "glog/logging.h"
#include "node/commands/families.h"
#include "node/util/words.h"

namespace skein::node {
namespace {

struct Word {
  uint64_t head = 0, tail = 0;
};

uint64_t Load64(const char* p) {
  uint64_t v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

uint64_t Load32(const char* p) {
  uint32_t v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

// The first and the last eight bytes; shorter words are spread over `head` alone. Covers every byte up to 16.
Word LoadWord(std::string_view s) {
  const char* p = s.data();
  const size_t n = s.size();
  if (n >= 8) return {Load64(p), Load64(p + n - 8)};
  if (n >= 4) return {Load32(p) | Load32(p + n - 4) << 32, 0};
  if (n == 0) return {};
  const auto byte = [p](size_t i) { return static_cast<uint64_t>(static_cast<unsigned char>(p[i])); };
  return {byte(0) | byte(n / 2) << 8 | byte(n - 1) << 16, 0};
}

// 0x20 where the name has a letter, so that either case of it compares equal.
std::string LetterMask(std::string_view lower_name) {
  std::string mask(lower_name);
  for (char& c : mask) c = c >= 'a' && c <= 'z' ? 0x20 : 0;
  return mask;
}

class Table {
 public:
  Table() {
    std::vector<Entry> entries;
    for (const auto family : {StringCommands(), GenericCommands(), ExpireCommands(), SerializationCommands(),
                              WaitCommands(), ConnectionCommands(), ServerCommands(), PersistenceCommands(),
                              PubsubCommands(), ReplicationCommands(), ClusterCommands(), CommandCommands()}) {
      for (const CommandSpec& spec : family) {
        all_.push_back(&spec);
        entries.push_back({&spec, nullptr});
        for (const CommandSpec& sub : spec.subcommands) entries.push_back({&sub, &spec});
      }
    }
    CHECK(!entries.empty());
    size_t size = 16;
    while (size < entries.size() * 4) size *= 2;
    shift_ = 64 - std::countr_zero(size);
    // Seeds are tried until no name has to be looked for further than in the slot beside its own.
    uint64_t best_seed = 0;
    size_t best = std::numeric_limits<size_t>::max();
    for (uint64_t seed = 1; seed <= 64 && best > 1; ++seed) {
      const size_t longest = Build(entries, size, seed);
      if (longest < best) {
        best = longest;
        best_seed = seed;
      }
    }
    Build(entries, size, best_seed);
  }

  const CommandSpec* Find(std::string_view name, const CommandSpec* container) const {
    const Word w = LoadWord(name);
    for (size_t i = Hash(w, name.size(), container);; i = (i + 1) & (slots_.size() - 1)) {
      const Slot& s = slots_[i];
      if (s.spec == nullptr) return nullptr;
      if ((((s.word.head ^ w.head) & ~s.mask.head) | ((s.word.tail ^ w.tail) & ~s.mask.tail)) == 0 &&
          s.size == name.size() && s.container == container && (name.size() <= 16 || IsWord(name, s.spec->name))) {
        return s.spec;
      }
    }
  }

  std::span<const CommandSpec* const> all() const { return all_; }

 private:
  struct Entry {
    const CommandSpec* spec;
    const CommandSpec* container;
  };
  struct alignas(64) Slot {
    Word word, mask;
    const CommandSpec* spec = nullptr;
    const CommandSpec* container = nullptr;
    size_t size = 0;
  };

  size_t Hash(const Word& w, size_t size, const CommandSpec* container) const {
    constexpr uint64_t kFold = 0x2020202020202020;
    uint64_t h = (w.head | kFold) * multiplier_;
    h ^= std::rotr((w.tail | kFold) * multiplier_, 29) + size;
    h ^= reinterpret_cast<uintptr_t>(container) >> 3;
    return (h * multiplier_) >> shift_;
  }

  // Fills the slots; how far the farthest name is from its home.
  size_t Build(const std::vector<Entry>& entries, size_t size, uint64_t seed) {
    multiplier_ = seed * 0x9e3779b97f4a7c15 | 1;
    slots_.assign(size, Slot{});
    size_t longest = 0;
    for (const Entry& e : entries) {
      const std::string_view name = e.spec->name;
      const Word w = LoadWord(name);
      size_t i = Hash(w, name.size(), e.container), steps = 0;
      for (; slots_[i].spec != nullptr; i = (i + 1) & (size - 1), ++steps) {
        CHECK(slots_[i].container != e.container || name != slots_[i].spec->name) << "two commands named " << name;
      }
      slots_[i].word = w;
      slots_[i].mask = LoadWord(LetterMask(name));
      slots_[i].spec = e.spec;
      slots_[i].container = e.container;
      slots_[i].size = name.size();
      longest = std::max(longest, steps);
    }
    return longest;
  }

  std::vector<const CommandSpec*> all_;
  std::vector<Slot> slots_;
  uint64_t multiplier_ = 1;
  int shift_ = 0;
};

const Table& TheTable() {
  static const Table* table = new Table();  // never destroyed: threads may still look up while the process ends
  return *table;
}

// At most `limit` bytes, up to the first zero byte: how much of a client's word an error text repeats.
std::string_view Excerpt(std::string_view word, size_t limit) {
  word = word.substr(0, limit);
  return word.substr(0, word.find('\0'));
}

constexpr size_t kExcerpt = 128;

}  // namespace

const CommandSpec* FindCommand(Args argv) {
  if (argv.empty()) return nullptr;
  const CommandSpec* spec = TheTable().Find(argv[0], nullptr);
  if (spec == nullptr || spec->subcommands.empty() || argv.size() < 2) return spec;
  const CommandSpec* sub = TheTable().Find(argv[1], spec);
  return sub != nullptr ? sub : spec;
}

const CommandSpec* FindCommandByName(std::string_view name) {
  const size_t bar = name.find('|');
  const CommandSpec* spec = TheTable().Find(name.substr(0, bar), nullptr);
  if (spec == nullptr || bar == std::string_view::npos) return spec;
  return TheTable().Find(name.substr(bar + 1), spec);
}

std::span<const CommandSpec* const> AllCommands() { return TheTable().all(); }

void UnknownCommand(Args argv, ReplyWriter* reply) {
  const std::string_view name = argv.empty() ? std::string_view() : argv[0];
  std::string text;
  if (argv.size() >= 2 && TheTable().Find(name, nullptr) != nullptr) {
    text = "ERR unknown subcommand '" + std::string(Excerpt(argv[1], kExcerpt)) + "'. Try ";
    for (char c : name) text += UpperAscii(c);
    text += " HELP.";
  } else {
    std::string args;
    for (size_t i = 1; i < argv.size() && args.size() < kExcerpt; ++i) {
      args += "'" + std::string(Excerpt(argv[i], kExcerpt - args.size())) + "' ";
    }
    text = "ERR unknown command '" + std::string(Excerpt(name, kExcerpt)) + "', with args beginning with: " + args;
  }
  reply->Error(text);
}

void WrongArity(const CommandSpec& spec, ReplyWriter* reply) {
  std::string text = "ERR wrong number of arguments for '";
  if (spec.parent != nullptr) text.append(spec.parent).append("|");
  text.append(spec.name).append("' command");
  reply->Error(text);
}

}  // namespace skein::node
