// View::ages: how long ago members were heard of, two a byte, in units and rounded up, so that nobody is taken for
// fresher than it is. In large clusters this is a good part of all the work a bus has, hence the pairs, and a product
// in the place of a quotient.
#ifndef SKEIN_BUS_ENGINE_AGES_H_
#define SKEIN_BUS_ENGINE_AGES_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace skein::bus {

inline constexpr int64_t kAgeOld = 15;  // so many units, more, or never

// Ages at `now_ms`, in units of `unit_ms`, 1 to 280 million, of `count` members of whom the times are known; they stand
// in `ages` from the `at`th on, after what has been written there.
inline void WriteAges(const int64_t* heard_ms, size_t count, int64_t now_ms, int64_t unit_ms, size_t at, char* ages) {
  const int64_t oldest = now_ms - (kAgeOld - 1) * unit_ms - 1, round_up = now_ms + unit_ms - 1;
  // Of units above 16 seconds an age of whole ones can become one more.
  const uint64_t inverse = (uint64_t{1} << 32) / static_cast<uint64_t>(unit_ms) + 1;
  const auto age = [&](int64_t ms) {
    return static_cast<uint64_t>(round_up - std::clamp(ms, oldest, now_ms)) * inverse >> 32;
  };
  const int64_t* const end = heard_ms + count;
  if (at % 2 != 0 && heard_ms < end) ages[at++ / 2] |= static_cast<char>(age(*heard_ms++) << 4);
  char* out = ages + at / 2;
  for (; end - heard_ms > 1; heard_ms += 2) *out++ = static_cast<char>(age(heard_ms[0]) | age(heard_ms[1]) << 4);
  if (heard_ms < end) *out = static_cast<char>(age(*heard_ms));
}

using AgeTimes = std::array<int64_t, kAgeOld + 1>;

// When whoever has an age was heard of; the oldest: INT64_MIN.
inline AgeTimes TimesOfAges(int64_t now_ms, int64_t unit_ms) {
  AgeTimes times;
  for (int64_t age = 0; age < kAgeOld; ++age) times[static_cast<size_t>(age)] = now_ms - age * unit_ms;
  times[kAgeOld] = INT64_MIN;
  return times;
}

// Brings the times of `count` members, who stand in `ages` from the `at`th on, up to what is said there.
inline void ReadAges(const AgeTimes& times, const char* ages, size_t at, size_t count, int64_t* heard_ms) {
  const auto byte = [&](size_t i) -> size_t { return static_cast<uint8_t>(ages[i / 2]); };
  const auto take = [&](int64_t* known, size_t age) { *known = std::max(*known, times[age]); };
  const size_t end = at + count;
  if (at % 2 != 0 && at < end) take(heard_ms++, byte(at++) >> 4);
  for (; at + 1 < end; at += 2, heard_ms += 2) {
    const size_t both = byte(at);
    take(heard_ms, both & kAgeOld);
    take(heard_ms + 1, both >> 4);
  }
  if (at < end) take(heard_ms, byte(at) & kAgeOld);
}

}  // namespace skein::bus

#endif  // SKEIN_BUS_ENGINE_AGES_H_
