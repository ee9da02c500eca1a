// notify-keyspace-events: which changes of keys are published, and on which channels.
// Source: the Redis documentation of keyspace notifications.
#ifndef SKEIN_NODE_PUBSUB_KEYSPACE_EVENTS_H_
#define SKEIN_NODE_PUBSUB_KEYSPACE_EVENTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace skein::node {

// A set of these; 0: nothing is published.
enum KeyspaceEvents : uint32_t {
  kByKey = 1u << 0,     // K: to __keyspace@<db>__:<key>
  kByEvent = 1u << 1,   // E: to __keyevent@<db>__:<event>
  kGeneric = 1u << 2,   // g: DEL, EXPIRE, RENAME, …
  kStrings = 1u << 3,   // $
  kLists = 1u << 4,     // l
  kSets = 1u << 5,      // s
  kHashes = 1u << 6,    // h
  kSorted = 1u << 7,    // z
  kExpired = 1u << 8,   // x
  kEvicted = 1u << 9,   // e
  kStreams = 1u << 10,  // t
  kModules = 1u << 11,  // d
};

// nullopt: there is no such letter, or no such events here (m: misses, n: new keys).
std::optional<uint32_t> ParseKeyspaceEvents(std::string_view letters);
// As CONFIG GET shows it: "A" for all classes, then K and E.
std::string FormatKeyspaceEvents(uint32_t events);
// The class of an event, by its name: one of the bits from kGeneric on.
uint32_t ClassOfEvent(std::string_view event);

}  // namespace skein::node

#endif  // SKEIN_NODE_PUBSUB_KEYSPACE_EVENTS_H_
