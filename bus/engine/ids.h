// Node ids (20 random bytes, 40 hex digits to people) and the engine's only source of randomness.
#ifndef SKEIN_BUS_ENGINE_IDS_H_
#define SKEIN_BUS_ENGINE_IDS_H_

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace skein::bus {

// Mixes 64 bits so that each depends on all (the finalizer of SplitMix64, Steele et al. 2014).
inline uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// SplitMix64: small, fast, good enough for ids (from a random seed), jitter and the choice of peers.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() { return Mix(state_ += 0x9e3779b97f4a7c15ULL); }
  // Uniform in [0, n); n > 0. The bias of the modulus does not matter for small n.
  uint64_t Below(uint64_t n) { return Next() % n; }

 private:
  uint64_t state_;
};

class NodeId {
 public:
  NodeId() = default;  // all zero: nobody
  static NodeId Make(Random* random);
  // Exactly 20 bytes, not all zero; else nothing (lesson L42).
  static std::optional<NodeId> FromBytes(std::string_view bytes);
  // Exactly 40 lower-case hex digits.
  static std::optional<NodeId> FromHex(std::string_view hex);

  std::string_view bytes() const { return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()}; }
  std::string Bytes() const { return std::string(bytes()); }
  std::string Hex() const;
  bool empty() const { return *this == NodeId(); }
  // Which of the 64 digest buckets it belongs to.
  int bucket() const { return bytes_[0] >> 2; }
  uint64_t Hash() const {
    Halves h = Words();
    return Mix(h.a ^ Mix(h.b ^ Mix(h.c)));
  }

  friend bool operator==(const NodeId& a, const NodeId& b) { return a.Words() == b.Words(); }
  friend std::strong_ordering operator<=>(const NodeId& a, const NodeId& b) {
    return std::memcmp(a.bytes_.data(), b.bytes_.data(), a.bytes_.size()) <=> 0;
  }
  template <typename H>
  friend H AbslHashValue(H h, const NodeId& id) {
    return H::combine(std::move(h), id.Hash());
  }

 private:
  // Compared as words: ids are compared, above all with nobody's, wherever nodes are walked.
  struct Halves {
    uint64_t a, b;
    uint32_t c;
    bool operator==(const Halves&) const = default;
  };
  Halves Words() const {
    Halves h;
    std::memcpy(&h.a, bytes_.data(), 8);
    std::memcpy(&h.b, bytes_.data() + 8, 8);
    std::memcpy(&h.c, bytes_.data() + 16, 4);
    return h;
  }

  std::array<uint8_t, 20> bytes_{};
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_ENGINE_IDS_H_
