// The kinds of bus messages, as the table of bodies in bus.proto gives them: for frame headers and for counters by
// type.
#ifndef SKEIN_BUS_LINK_MESSAGE_KIND_H_
#define SKEIN_BUS_LINK_MESSAGE_KIND_H_

#include <cstdint>
#include <memory>
#include <string>

namespace skein::proto {
class BusMessage;
}

namespace skein::bus {

using MessagePtr = std::shared_ptr<const proto::BusMessage>;

// The field number of the message's body, 1..255; 0 if it has none that this build knows.
uint8_t MessageKind(const proto::BusMessage& message);
bool IsKnownKind(uint8_t kind);
// Belongs on links of the class for publishing, and nowhere else.
constexpr bool IsPublishKind(uint8_t kind) { return kind >= 20 && kind <= 29; }
// The body's field name ("ping"); "unknown" if there is none of that number. Lives for ever.
const std::string& MessageKindName(uint8_t kind);

}  // namespace skein::bus

#endif  // SKEIN_BUS_LINK_MESSAGE_KIND_H_
