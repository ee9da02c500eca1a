#include "node/pubsub/keyspace_events.h"

#include <algorithm>
#include <iterator>

namespace skein::node {
namespace {

struct Letter {
  char letter;
  uint32_t bit;
};
constexpr Letter kClasses[] = {{'g', kGeneric}, {'$', kStrings}, {'l', kLists},   {'s', kSets},    {'h', kHashes},
                               {'z', kSorted},  {'x', kExpired}, {'e', kEvicted}, {'t', kStreams}, {'d', kModules}};
constexpr Letter kWhere[] = {{'K', kByKey}, {'E', kByEvent}};

constexpr uint32_t kAll = [] {
  uint32_t all = 0;
  for (const Letter& l : kClasses) all |= l.bit;
  return all;
}();

// Events of strings; those of other types bear the names of their commands, and come with them.
constexpr std::string_view kOfStrings[] = {"set", "setrange", "append", "incrby", "incrbyfloat"};

}  // namespace

std::optional<uint32_t> ParseKeyspaceEvents(std::string_view letters) {
  uint32_t events = 0;
  for (const char c : letters) {
    uint32_t bit = c == 'A' ? kAll : 0;
    for (const Letter& l : kClasses) bit |= l.letter == c ? l.bit : 0;
    for (const Letter& l : kWhere) bit |= l.letter == c ? l.bit : 0;
    if (bit == 0) return std::nullopt;
    events |= bit;
  }
  return events;
}

std::string FormatKeyspaceEvents(uint32_t events) {
  std::string letters;
  if ((events & kAll) == kAll) {
    letters += 'A';
  } else {
    for (const Letter& l : kClasses) {
      if ((events & l.bit) != 0) letters += l.letter;
    }
  }
  for (const Letter& l : kWhere) {
    if ((events & l.bit) != 0) letters += l.letter;
  }
  return letters;
}

uint32_t ClassOfEvent(std::string_view event) {
  if (std::find(std::begin(kOfStrings), std::end(kOfStrings), event) != std::end(kOfStrings)) return kStrings;
  if (event == "expired") return kExpired;
  if (event == "evicted") return kEvicted;
  return kGeneric;
}

}  // namespace skein::node
