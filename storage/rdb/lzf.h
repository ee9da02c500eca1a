// LZF, the compression of strings in RDB files.
//
// A sequence of pieces. A byte below 32 begins bytes to be taken as they are, one more than it says. Otherwise what
// follows is a copy of what has been made before: its upper three bits are the size less 2, its lower five and the next
// byte how far back it begins, less 1; with 7 for the size another byte stands between them and is added to it.
#ifndef SKEIN_STORAGE_RDB_LZF_H_
#define SKEIN_STORAGE_RDB_LZF_H_

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace skein::storage {

// One thread at a time. The result depends on the input alone.
class LzfCompressor {
 public:
  // Compresses `in` to at most `room` bytes at `out`. The size, or 0 if that is not enough.
  size_t Compress(std::string_view in, char* out, size_t room);

 private:
  // Where three bytes were seen last, by their hash: a position plus base_. What is below base_ is of an earlier input,
  // so nothing has to be cleared between small inputs.
  std::vector<uint32_t> seen_;
  uint32_t base_ = 1;
};

// Whether `compressed` bytes can be the form of `size` bytes: three bytes make 264 at most. To be asked before memory
// is taken for what a hostile length claims. Any thread.
bool LzfPlausible(uint64_t compressed, uint64_t size);

// Decompresses `in` to exactly `size` bytes at `out`. False if that is not what it holds. Any thread.
bool LzfDecompress(std::string_view in, char* out, size_t size);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_RDB_LZF_H_
