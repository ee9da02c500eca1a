// Reads one incr file from front to back and judges what it finds.
#ifndef SKEIN_STORAGE_AOF_READER_H_
#define SKEIN_STORAGE_AOF_READER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

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

  // Goes on at an offset where a record, or a mark before one, is known to start, at `lsn`. Before the first Next.
  void Seek(uint64_t offset, Lsn lsn) {
    offset_ = offset;
    lsn_ = lsn;
  }

  enum class Found : uint8_t {
    kRecord,  // record() and body(), checked, valid until the next call
    kEnd,     // the file ends after a whole record
    kDamage,  // what stands at offset() is no whole record: damage() says why. A torn tail, or worse
  };
  // Goes to the next record; passes over marks. After kEnd and kDamage not called again. Errors, which name file,
  // offset and LSN: DataLoss for intact bytes that cannot be right (an LSN that does not follow, L10), Unimplemented
  // for a kind of record that this version does not know, others for failed reads.
  absl::StatusOr<Found> Next();

  // A record of a batch. The body's view lives until the next call of Next or NextBatch.
  struct Item {
    RecordHeader header;
    std::string_view body;
    uint64_t offset;  // in the file
  };
  // As Next, but takes as many records, `limit` at most, as stand whole in the memory that one read filled. kRecord:
  // there is at least one in `*items`. What comes after them (end, damage, an error) is told by the next call.
  absl::StatusOr<Found> NextBatch(size_t limit, std::vector<Item>* items);

  // The file is being written to: looks again how large it is. After kEnd or kDamage Next may be called once more.
  absl::Status Grow();

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
  std::string Describe(std::string_view what) const { return Describe(offset_, lsn_, what); }
  std::string Describe(uint64_t offset, Lsn lsn, std::string_view what) const;

 private:
  AofReader(std::unique_ptr<File> file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}

  // A view of `size` bytes at `offset`, fewer at the end of the file; valid until the next call.
  absl::StatusOr<std::string_view> View(uint64_t offset, uint64_t size);
  Found Damaged(std::string_view why);
  // Whether the next record, with marks before it, can be taken without moving the window.
  bool NextIsInWindow() const;

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
  std::optional<absl::StatusOr<Found>> held_back_;  // what NextBatch found behind its records
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_AOF_READER_H_
