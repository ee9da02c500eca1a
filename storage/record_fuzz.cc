// Any bytes as an incr file: reading ends, with whole records that follow one another, or a judgement; and what is read
// is what the bytes say. Input: one byte that says how much is repaired, then the file behind its header.
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "glog/logging.h"
#include "storage/aof_reader.h"

namespace {

using skein::storage::AofReader;
using skein::storage::kRecordHeaderSize;

class BytesFile : public skein::storage::File {
 public:
  explicit BytesFile(std::string bytes) : bytes_(std::move(bytes)) {}
  absl::StatusOr<size_t> ReadAt(uint64_t offset, char* out, size_t size) override {
    if (offset >= bytes_.size()) return size_t{0};
    return bytes_.copy(out, size, offset);
  }
  absl::Status WriteAt(uint64_t, const std::vector<iovec>&) override { return absl::InternalError("read only"); }
  absl::Status Truncate(uint64_t) override { return absl::InternalError("read only"); }
  absl::Status Sync() override { return absl::OkStatus(); }
  absl::StatusOr<uint64_t> Size() override { return bytes_.size(); }

 private:
  const std::string bytes_;
};

// Puts right checksums, LSNs and lengths into the first `count` records, so that the fuzzer gets behind them.
void Repair(std::string* bytes, int count) {
  size_t at = 0;
  uint64_t lsn = 0;
  for (; count > 0 && at + kRecordHeaderSize <= bytes->size(); --count) {
    char* const header = bytes->data() + at;
    uint64_t size;
    std::memcpy(&size, header + 24, sizeof(size));
    size = std::min<uint64_t>(size % 256, bytes->size() - at - kRecordHeaderSize);
    std::memcpy(header + 24, &size, sizeof(size));
    std::memcpy(header + 8, &lsn, sizeof(lsn));
    skein::storage::SumRecordHeader(header, skein::storage::Crc32c({header + kRecordHeaderSize, size}));
    at += kRecordHeaderSize + size;
    lsn += kRecordHeaderSize + size;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string records(reinterpret_cast<const char*>(data) + 1, size - 1);
  Repair(&records, data[0] & 7);
  skein::storage::FileHeader header;
  header.sequence = 1;
  header.salt = 0x4141414141414141;
  std::string bytes = skein::storage::EncodeFileHeader(header);
  if ((data[0] & 128) != 0) bytes.clear();  // the file header too
  const size_t body_at = bytes.size();
  bytes += records;
  auto opened = AofReader::Open(std::make_unique<BytesFile>(bytes), "fuzz");
  if (!opened.ok()) return 0;
  AofReader& reader = **opened;
  skein::storage::Lsn last = reader.lsn();
  uint64_t last_offset = reader.offset();
  CHECK(body_at == 0 || last_offset == body_at);
  while (true) {
    const auto found = reader.Next();
    if (!found.ok()) break;
    CHECK_LE(reader.offset(), bytes.size());
    if (*found != AofReader::Found::kRecord) {
      CHECK_EQ(reader.lsn(), last);
      CHECK(reader.HighestMarkAhead().ok());
      break;
    }
    CHECK_EQ(reader.record().lsn, last);
    CHECK_EQ(reader.lsn(), last + kRecordHeaderSize + reader.body().size());
    CHECK_GE(reader.offset(), last_offset + kRecordHeaderSize + reader.body().size());
    CHECK(bytes.compare(reader.offset() - reader.body().size(), reader.body().size(), reader.body()) == 0);
    last = reader.lsn();
    last_offset = reader.offset();
    std::string_view body = reader.body();
    std::vector<std::string_view> argv;
    while (skein::storage::TakeResp(&body, &argv)) CHECK(!argv.empty());
    skein::storage::DecodeReignRecord(reader.record(), reader.body()).status().IgnoreError();
  }
  return 0;
}
