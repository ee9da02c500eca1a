// What the process says of itself.
#ifndef SKEIN_NODE_CONFIG_VERSION_H_
#define SKEIN_NODE_CONFIG_VERSION_H_

namespace skein::node {

inline constexpr char kSkeinVersion[] = "0.1.0";
// The Redis whose commands, replies and fields a client may expect (HELLO, INFO).
inline constexpr char kRedisVersion[] = "7.2.4";

}  // namespace skein::node

#endif  // SKEIN_NODE_CONFIG_VERSION_H_
