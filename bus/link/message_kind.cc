#include "bus/link/message_kind.h"

#include <array>

#include "proto/bus.pb.h"

namespace skein::bus {
namespace {

constexpr size_t kKinds = 256;

const std::array<std::string, kKinds>& Names() {
  static const auto* names = [] {
    auto* table = new std::array<std::string, kKinds>;
    const google::protobuf::OneofDescriptor* body = proto::BusMessage::descriptor()->FindOneofByName("body");
    for (int i = 0; i < body->field_count(); ++i) {
      auto number = static_cast<size_t>(body->field(i)->number());
      if (number < kKinds) (*table)[number] = body->field(i)->name();
    }
    return table;
  }();
  return *names;
}

}  // namespace

uint8_t MessageKind(const proto::BusMessage& message) {
  auto number = static_cast<size_t>(message.body_case());
  return number < kKinds ? static_cast<uint8_t>(number) : 0;
}

bool IsKnownKind(uint8_t kind) { return !Names()[kind].empty(); }

const std::string& MessageKindName(uint8_t kind) {
  static const auto* unknown = new std::string("unknown");
  return IsKnownKind(kind) ? Names()[kind] : *unknown;
}

}  // namespace skein::bus
