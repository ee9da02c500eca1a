// The elements of the RDB format: bytes, lengths, strings.
#ifndef SKEIN_STORAGE_RDB_READER_H_
#define SKEIN_STORAGE_RDB_READER_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "storage/rdb/input.h"

namespace skein::storage {

// Every call returns false if what it reads is not there or is malformed; status() then says why, and the reader is
// done.
class RdbReader {
 public:
  // Both outlive the reader.
  RdbReader(RdbInput* in, uint64_t max_string) : in_(in), max_string_(max_string) {}

  // A number, its lowest byte first.
  template <typename T>
  bool Little(T* number) {
    const char* const at = in_->Take(sizeof(T));
    if (at == nullptr) {
      Truncated();
      return false;
    }
    std::memcpy(number, at, sizeof(T));
    return true;
  }
  // A length, which must not be the mark of an encoded string.
  bool Length(uint64_t* length);
  // A string, however it is written. `*text` is a view of the input, which lives until the next call, or of *storage.
  bool String(std::string* storage, std::string_view* text);

  const absl::Status& status() const { return status_; }

 private:
  // A length, or (*encoded) how the string that follows is written.
  bool LengthOrEncoding(uint64_t* length, bool* encoded);
  template <typename T>
  bool Integer(std::string* storage, std::string_view* text);
  bool Compressed(std::string* storage, std::string_view* text);
  bool SizeAllowed(uint64_t size);
  bool Truncated();
  bool Fail(absl::Status status);

  RdbInput* const in_;
  const uint64_t max_string_;
  absl::Status status_;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_RDB_READER_H_
