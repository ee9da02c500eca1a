// What the engine holds and accepts at most. Anything from the wire past these is refused and counted.
#ifndef SKEIN_BUS_ENGINE_LIMITS_H_
#define SKEIN_BUS_ENGINE_LIMITS_H_

#include <cstddef>
#include <cstdint>

namespace skein::bus {

inline constexpr size_t kMaxNodes = 16384;              // members; NodeIndex has room for them
inline constexpr size_t kMaxHandshakes = 256;           // addresses met and not yet proven
inline constexpr size_t kMaxForgotten = 16384;          // ids not to be learnt anew (lesson L41)
inline constexpr size_t kMaxSeeds = 64;                 // names and addresses in cluster-seeds
inline constexpr size_t kMaxLookups = 4;                // names being resolved at once
inline constexpr size_t kMaxSeedAddresses = 64;         // of one name, greeted at once
inline constexpr size_t kMaxStrangers = 1024;           // ids of other clusters that seeds have led to
inline constexpr int64_t kForgetMs = 60000;             // for how long, as Redis does
inline constexpr size_t kMaxGoneLinks = 16384;          // links whose late events must not bring them back (L41)
inline constexpr size_t kMaxRecordBytes = 8192;         // one NodeRecord
inline constexpr size_t kMaxRecordsBytes = 256u << 10;  // of records in one message that we send
inline constexpr size_t kMaxHostName = 253;             // DNS
inline constexpr size_t kMaxIpText = 45;                // INET6_ADDRSTRLEN without the NUL
inline constexpr size_t kMaxPositions = 1024;           // storage shards of one node
inline constexpr size_t kMaxStateBytes = 64u << 20;     // the persisted state
inline constexpr uint64_t kMaxVersionJump = uint64_t{1} << 32;  // of a record between two sightings
// Ranges in a record before it uses the bitmap, which takes 2048 bytes.
inline constexpr size_t kMaxRangesInRecord = 400;
inline constexpr uint32_t kFewOwners = 2;         // so many primaries with slots need witnesses to outlive one of them
inline constexpr size_t kMaxWitnesses = 8;        // in a record
inline constexpr size_t kMaxPastElectorates = 4;  // of this node, that others may still believe in
inline constexpr size_t kMaxVotes = 1024;         // votes given that are remembered; older epochs get none
inline constexpr size_t kMaxAskedVotes = 4096;    // requests that wait for their primary to be seen as failed
inline constexpr size_t kMaxPending = 1024;       // operator requests waiting for the disk or the data plane

}  // namespace skein::bus

#endif  // SKEIN_BUS_ENGINE_LIMITS_H_
