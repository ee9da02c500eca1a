// Hash slots: which of the 16384 slots a key belongs to.
// Source: Redis Cluster specification, "Key distribution model" and "Hash tags".
#ifndef SKEIN_STORAGE_SLOT_H_
#define SKEIN_STORAGE_SLOT_H_

#include <cstdint>
#include <string_view>

namespace skein::storage {

inline constexpr uint32_t kSlots = 16384;

// CRC16/XMODEM (polynomial 0x1021, initial value 0) of `bytes`.
uint16_t Crc16(std::string_view bytes);

// The part of `key` that is hashed: what stands between the first '{' and the first '}' after it, if that is not empty;
// else the whole key. A view into `key`.
std::string_view HashTag(std::string_view key);

// The slot of `key`, 0..kSlots-1. Any thread.
inline uint16_t KeySlot(std::string_view key) { return Crc16(HashTag(key)) & (kSlots - 1); }

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_SLOT_H_
