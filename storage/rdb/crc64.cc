#include "storage/rdb/crc64.h"

#include <isa-l/crc64.h>

namespace skein::storage {

// ISA-L inverts what goes in and what comes out, which this undoes.
uint64_t RdbCrc64(uint64_t crc, std::string_view bytes) {
  return ~crc64_jones_refl(~crc, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
}

}  // namespace skein::storage
