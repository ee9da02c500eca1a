// Reads one incr file from front to back and judges what it finds.
#ifndef SKEIN_STORAGE_AOF_READER_H_
#define SKEIN_STORAGE_AOF_READER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/file.h"
#include "storage/record.h"

namespace skein::storage {

class AofReader {
 public:
  // Reads and checks the file header. Errors name the file.
  static absl::StatusOr<std::unique_ptr<AofReader>> Open(std::unique_ptr<File> file, const std::string& path);

  const FileHeader& header() const { return header_; }

  enum class Found : uint8_t {
    kRecord,  // record() and body(), checked, valid until the next call
    kEnd,     // the file ends after a whole record
    kDamage,  // what stands at offset() is no whole record: damage() says why. A torn tail, or worse
  };
  // Goes to the next record; passes over marks. After kEnd and kDamage not called again. Errors, which name file,
  // offset and LSN: DataLoss for intact bytes that cannot be right (an LSN that does not follow, L10), Unimplemented
  // for a kind of record that this version does not know, others for failed reads.
  absl::StatusOr<Found> Next();

  const RecordHeader& record() const { return record_; }
  std::string_view body() const { return body_; }
  const std::string& damage() const { return damage_; }

  // Where the next item starts: file offset and LSN. After kEnd and kDamage, the end of what is whole.
  uint64_t offset() const { return offset_; }
  Lsn lsn() const { return lsn_; }
  uint64_t size() const { return size_; }
  // The highest durable LSN of the marks passed so far.
  Lsn marked() const { return marked_; }

  // The highest durable LSN of all marks from offset() to the end of the file, whatever stands around them; 0 if there
  // is none. For judging damage.
  absl::StatusOr<Lsn> HighestMarkAhead();

  // "PATH: at offset O (LSN L): what".
  std::string Describe(std::string_view what) const;

 private:
  AofReader(std::unique_ptr<File> file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}

  // A view of `size` bytes at `offset`, fewer at the end of the file; valid until the next call.
  absl::StatusOr<std::string_view> View(uint64_t offset, uint64_t size);
  Found Damaged(std::string_view why);

  const std::unique_ptr<File> file_;
  const std::string path_;
  FileHeader header_;
  uint64_t size_ = 0;
  uint64_t offset_ = 0;
  Lsn lsn_ = 0;
  Lsn marked_ = 0;
  RecordHeader record_;
  std::string_view body_;
  std::string damage_;
  std::string window_;  // the file's bytes from window_at_ on
  uint64_t window_at_ = 0;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_AOF_READER_H_
