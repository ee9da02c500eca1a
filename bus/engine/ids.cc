#include "bus/engine/ids.h"

namespace skein::bus {

NodeId NodeId::Make(Random* random) {
  NodeId id;
  do {
    for (auto& b : id.bytes_) b = static_cast<uint8_t>(random->Next() >> 24);
  } while (id.empty());
  return id;
}

std::optional<NodeId> NodeId::FromBytes(std::string_view bytes) {
  NodeId id;
  if (bytes.size() != id.bytes_.size()) return std::nullopt;
  std::memcpy(id.bytes_.data(), bytes.data(), bytes.size());
  if (id.empty()) return std::nullopt;
  return id;
}

std::optional<NodeId> NodeId::FromHex(std::string_view hex) {
  NodeId id;
  if (hex.size() != id.bytes_.size() * 2) return std::nullopt;
  for (size_t i = 0; i < hex.size(); ++i) {
    char c = hex[i];
    int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return std::nullopt;
    id.bytes_[i / 2] = static_cast<uint8_t>(id.bytes_[i / 2] << 4 | digit);
  }
  if (id.empty()) return std::nullopt;
  return id;
}

std::string NodeId::Hex() const {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex(bytes_.size() * 2, '0');
  for (size_t i = 0; i < bytes_.size(); ++i) {
    hex[2 * i] = kDigits[bytes_[i] >> 4];
    hex[2 * i + 1] = kDigits[bytes_[i] & 15];
  }
  return hex;
}

}  // namespace skein::bus
