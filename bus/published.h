// A message that was published, on its way between the node and the bus.
#ifndef SKEIN_BUS_PUBLISHED_H_
#define SKEIN_BUS_PUBLISHED_H_

#include <cstddef>
#include <string>

namespace skein::bus {

struct PublishedMessage {
  bool sharded = false;  // SPUBLISH: for this node's replica group; else PUBLISH: for every member
  std::string channel, message;
  size_t bytes() const { return channel.size() + message.size(); }
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_PUBLISHED_H_
