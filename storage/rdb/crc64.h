// The checksum of RDB files and DUMP payloads: CRC-64 with the Jones polynomial, reflected, nothing inverted, from 0.
#ifndef SKEIN_STORAGE_RDB_CRC64_H_
#define SKEIN_STORAGE_RDB_CRC64_H_

#include <cstdint>
#include <string_view>

namespace skein::storage {

// The checksum of what `crc` is the checksum of, followed by `bytes`. Any thread.
uint64_t RdbCrc64(uint64_t crc, std::string_view bytes);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_RDB_CRC64_H_
