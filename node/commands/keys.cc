// Where the keys of a command stand, by its key specifications.
// Source: the Redis documentation, "Command key specifications".
#include <cstdint>

#include "node/command.h"
#include "node/util/numbers.h"
#include "node/util/words.h"

namespace skein::node {
namespace {

// The first argument that the specification speaks of; 0 if the keyword is not there. A positive start searches
// forward, a negative one backward from the end, as the specification says of "startfrom".
int64_t BeginSearch(const KeySpec& spec, Args argv) {
  if (spec.keyword == nullptr) return spec.index;
  const int64_t argc = static_cast<int64_t>(argv.size());
  const int step = spec.index >= 0 ? 1 : -1;
  for (int64_t i = spec.index >= 0 ? spec.index : argc + spec.index; i > 0 && i < argc; i += step) {
    if (IsWord(argv[static_cast<size_t>(i)], spec.keyword)) return i + 1;
  }
  return 0;
}

// Appends the keys of one specification.
bool KeysOf(const KeySpec& spec, Args argv, std::vector<uint32_t>* positions) {
  const int64_t argc = static_cast<int64_t>(argv.size());
  const int64_t begin = BeginSearch(spec, argv);
  if (begin == 0) return true;  // an optional part that is absent
  int64_t first = begin, last = 0, step = 1;
  if (spec.by_keynum) {
    const int64_t at = begin + spec.keynum_index;
    int64_t count = 0;
    if (at >= argc || !ParseInt64(argv[static_cast<size_t>(at)], &count) || count < 0 || count > argc) return false;
    first = begin + spec.first_key;
    step = spec.keynum_step;
    last = first + (count - 1) * step;
  } else {
    step = spec.step;
    if (spec.last_key >= 0) {
      last = begin + spec.last_key;
    } else if (spec.limit <= 1) {
      last = argc + spec.last_key;
    } else {
      last = begin + (argc - begin) / spec.limit + spec.last_key;
    }
  }
  if (first >= argc && last >= first) return false;
  if (last >= argc) return false;
  for (int64_t i = first; i <= last; i += step) positions->push_back(static_cast<uint32_t>(i));
  return true;
}

}  // namespace

bool FindKeys(const CommandSpec& spec, Args argv, std::vector<uint32_t>* positions) {
  positions->clear();
  for (const KeySpec& keys : spec.keys) {
    if ((keys.flags & KeySpec::kNotKey) != 0) continue;
    if (!KeysOf(keys, argv, positions)) {
      positions->clear();
      return false;
    }
  }
  return true;
}

}  // namespace skein::node
