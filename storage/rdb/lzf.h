// LZF, the compression of strings in RDB files: liblzf, with sizes and errors in our words. Any thread.
#ifndef SKEIN_STORAGE_RDB_LZF_H_
#define SKEIN_STORAGE_RDB_LZF_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace skein::storage {

// Compresses `in` to at most `room` bytes at `out`. The size, or 0 if that is not enough. Which of several right forms
// it takes is not the same every time: the library begins with a table that it does not clear.
size_t LzfCompress(std::string_view in, char* out, size_t room);

// Whether `compressed` bytes can be the form of `size` bytes: three bytes make 264 at most. To be asked before memory
// is taken for what a hostile length claims.
bool LzfPlausible(uint64_t compressed, uint64_t size);

// Decompresses `in` to exactly `size` bytes at `out`. False if that is not what it holds.
bool LzfDecompress(std::string_view in, char* out, size_t size);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_RDB_LZF_H_
