// What the node calls itself.
#ifndef SKEIN_NODE_VERSION_H_
#define SKEIN_NODE_VERSION_H_

namespace skein::node {

inline constexpr char kSkeinVersion[] = "0.1.0";
// The Redis whose commands, replies and file formats are spoken: clients choose features by it (HELLO, INFO
// redis_version).
inline constexpr char kRedisVersion[] = "7.2.4";

}  // namespace skein::node

#endif  // SKEIN_NODE_VERSION_H_
