// Any bytes as an RDB file, as the payload of RESTORE, and as keys and values to be written: refused, or read to the
// end with every key whole; and what is written is read back as it was.
//
// The first byte chooses.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "glog/logging.h"
#include "storage/rdb/crc64.h"
#include "storage/rdb/decoder.h"
#include "storage/rdb/encoder.h"
#include "storage/rdb/rdb_testing.h"

namespace skein::storage {
namespace {

constexpr uint64_t kMaxString = 1 << 20;

// With the checksum that it should have had, damage is found by what it means or not at all.
void ReadFile(std::string_view bytes, bool verify) {
  Remembered seen;
  const auto info = ReadBytes(bytes, &seen, {.now = 1, .verify_checksum = verify, .max_string = kMaxString});
  if (!info.ok()) {
    CHECK(absl::IsDataLoss(info.status()) || absl::IsUnimplemented(info.status())) << info.status();
    return;
  }
  CHECK_EQ(info->keys, seen.items.size());
  CHECK_LE(info->size, bytes.size());
  // What was read can be written, and is then the same.
  std::string again;
  RdbEncoder encoder({}, &again);
  encoder.Begin();
  for (Remembered::Item& item : seen.items) {
    RdbItem view;
    view.db = item.db;
    view.key = item.key;
    view.string = item.value;
    view.expire_at = item.expire_at;
    encoder.Add(view);
    item.access = 0;
  }
  encoder.End();
  Remembered twice;
  CHECK(ReadBytes(again, &twice).ok());
  CHECK(twice.items == seen.items);
}

void ReadPayload(std::string_view bytes) {
  std::string storage;
  const auto raw = DecodeDumpPayload(bytes, &storage);
  CHECK(raw.ok() || absl::IsInvalidArgument(raw.status()) || absl::IsUnimplemented(raw.status()));
  // The same with a footer that is right.
  std::string payload(bytes);
  payload.append("\x0a\0", 2);
  const uint64_t crc = RdbCrc64(0, payload);
  payload.append(reinterpret_cast<const char*>(&crc), sizeof(crc));
  const auto item = DecodeDumpPayload(payload, &storage);
  if (!item.ok()) return;
  std::string other;
  const std::string again = EncodeDumpPayload(*item);
  CHECK(DecodeDumpPayload(again, &other)->string == item->string);
}

// Words with a byte in front of each that says how long it is.
void Write(std::string_view bytes) {
  std::string file;
  RdbEncoder encoder({.compress = bytes.size() % 3 != 0}, &file);
  encoder.Begin();
  Remembered expected;
  std::string taken;
  for (uint32_t n = 0; !bytes.empty(); ++n) {
    const auto take = [&] {
      if (bytes.empty()) return std::string();
      const size_t size =
          std::min<size_t>(static_cast<unsigned char>(bytes[0]) * (n % 4 == 3 ? 16 : 1), bytes.size() - 1);
      std::string word(bytes.substr(1, size));
      bytes.remove_prefix(size + 1);
      return word;
    };
    Remembered::Item item{n % 7 == 6 ? n : 0, take(), take(), n % 2 == 0 ? kNoExpiry : int64_t{n} << (n % 40), 0};
    RdbItem view;
    view.db = item.db;
    view.key = item.key;
    view.string = item.value;
    view.expire_at = item.expire_at;
    encoder.Add(view);
    expected.items.push_back(std::move(item));
    if (n % 3 == 0) {
      taken += file;
      file.clear();
    }
  }
  encoder.End();
  taken += file;
  Remembered seen;
  const auto info = ReadBytes(taken, &seen);
  CHECK(info.ok()) << info.status();
  CHECK(seen.items == expected.items);
}

}  // namespace
}  // namespace skein::storage

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skein::storage;  // NOLINT: the whole file is about it
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  // A file as it is: the corpus is real files.
  if (bytes.starts_with("REDIS") || bytes.starts_with("VALKEY")) {
    ReadFile(bytes, true);
    ReadFile(bytes, false);
    return 0;
  }
  if (bytes.empty()) return 0;
  const char choice = bytes[0];
  bytes.remove_prefix(1);
  if (choice % 2 == 0) {
    ReadPayload(bytes);
  } else {
    Write(bytes);
  }
  return 0;
}
