#include "storage/rdb/decoder.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include "absl/strings/escaping.h"
#include "fmt/format.h"
#include "storage/rdb/crc64.h"
#include "storage/rdb/format.h"
#include "storage/rdb/input.h"
#include "storage/rdb/reader.h"

namespace skein::storage {
namespace {

struct Head {
  bool valkey;
  int version;
};

bool ParseHead(std::string_view bytes, Head* head) {
  if (bytes.size() < rdb::kHeadSize) return false;
  bytes = bytes.substr(0, rdb::kHeadSize);
  head->valkey = bytes.starts_with(rdb::kValkeyMagic);
  if (!head->valkey && !bytes.starts_with(rdb::kRedisMagic)) return false;
  bytes.remove_prefix(head->valkey ? rdb::kValkeyMagic.size() : rdb::kRedisMagic.size());
  head->version = 0;
  for (const char c : bytes) {
    if (c < '0' || c > '9') return false;
    head->version = head->version * 10 + (c - '0');
  }
  return true;
}

// As much of a name as a message should hold, printable.
std::string Quoted(std::string_view name) {
  constexpr size_t kMost = 100;
  return fmt::format("'{}{}", absl::CHexEscape(std::string(name.substr(0, kMost))), name.size() > kMost ? "...'" : "'");
}

// The name that a function library's source begins with: "#!lua name=mylib". Empty if it does not say.
std::string_view LibraryName(std::string_view source) {
  const std::string_view line = source.substr(0, source.find('\n'));
  constexpr std::string_view kName = "name=";
  const size_t at = line.find(kName);
  if (!line.starts_with("#!") || at == std::string_view::npos) return {};
  const std::string_view name = line.substr(at + kName.size());
  return name.substr(0, name.find_first_of(" \t\r"));
}

// One reading of one file.
class Reading {
 public:
  Reading(RdbFileInput* in, const RdbDecoderOptions& options, RdbVisitor* visitor)
      : in_(in), options_(options), visitor_(visitor), reader_(in, options.max_string) {}

  absl::Status Run();
  const RdbInfo& info() const { return info_; }
  // Where the element begins that was read last.
  uint64_t element() const { return element_; }

 private:
  absl::Status ReadHead();
  absl::Status Aux();
  absl::Status SelectDb();
  absl::Status SizeHint();
  absl::Status Expiry(bool millis);
  absl::Status Idle();
  absl::Status Frequency();
  absl::Status SlotInfo();
  absl::Status Item(uint8_t type);
  absl::Status Refuse(uint8_t type, std::string_view key);
  absl::Status RefuseLibrary(bool named);
  absl::Status RefuseModuleData();
  absl::Status RefuseSlotImport();
  absl::Status End();

  RdbFileInput* const in_;
  const RdbDecoderOptions& options_;
  RdbVisitor* const visitor_;
  RdbReader reader_;
  RdbInfo info_;
  uint64_t element_ = 0;
  RdbItem item_;  // what has been said of the next key
  std::string key_;
  std::string value_;
};

absl::Status Reading::ReadHead() {
  const char* const bytes = in_->Take(rdb::kHeadSize);
  Head head{};
  if (bytes == nullptr || !ParseHead({bytes, rdb::kHeadSize}, &head)) {
    return absl::DataLossError("not an RDB file: it begins with neither REDIS nor VALKEY and a version");
  }
  info_.version = head.version;
  info_.valkey = head.valkey;
  const bool known = head.valkey ? head.version == rdb::kValkeyVersion
                                 : head.version >= rdb::kMinVersion && head.version <= rdb::kMaxRedisVersion;
  if (known) return absl::OkStatus();
  return absl::UnimplementedError(
      fmt::format("RDB version {}{} is not known: versions {} to {} of Redis and {} of Valkey are read", head.version,
                  head.valkey ? " of Valkey" : "", rdb::kMinVersion, rdb::kMaxRedisVersion, rdb::kValkeyVersion));
}

absl::Status Reading::Aux() {
  std::string_view text;
  if (!reader_.String(&key_, &text)) return reader_.status();
  if (text.data() != key_.data()) key_ = text;
  if (!reader_.String(&value_, &text)) return reader_.status();
  return visitor_->OnAux(key_, text);
}

absl::Status Reading::SelectDb() {
  uint64_t db;
  if (!reader_.Length(&db)) return reader_.status();
  if (db > std::numeric_limits<uint32_t>::max()) return absl::DataLossError(fmt::format("no database {}", db));
  item_.db = static_cast<uint32_t>(db);
  return absl::OkStatus();
}

absl::Status Reading::SizeHint() {
  uint64_t keys;
  uint64_t expiring;
  if (!reader_.Length(&keys) || !reader_.Length(&expiring)) return reader_.status();
  return visitor_->OnSizeHint(item_.db, keys, expiring);
}

absl::Status Reading::Expiry(bool millis) {
  if (millis) {
    if (!reader_.Little(&item_.expire_at)) return reader_.status();
  } else {
    int32_t seconds;
    if (!reader_.Little(&seconds)) return reader_.status();
    item_.expire_at = int64_t{seconds} * 1000;
  }
  if (item_.expire_at >= 0) return absl::OkStatus();
  return absl::DataLossError(fmt::format("an expiry at {}, before time began", item_.expire_at));
}

absl::Status Reading::Idle() {
  uint64_t seconds;
  if (!reader_.Length(&seconds)) return reader_.status();
  item_.access = AccessOfIdle(options_.now, seconds);
  return absl::OkStatus();
}

absl::Status Reading::Frequency() {
  uint8_t counter;
  if (!reader_.Little(&counter)) return reader_.status();
  item_.access = AccessOfFrequency(options_.now, counter);
  return absl::OkStatus();
}

absl::Status Reading::SlotInfo() {
  for (int i = 0; i < 3; ++i) {
    uint64_t ignored;
    if (!reader_.Length(&ignored)) return reader_.status();
  }
  return absl::OkStatus();
}

absl::Status Reading::Refuse(uint8_t type, std::string_view key) {
  const std::string_view name = rdb::TypeName(type, info_.valkey);
  std::string module;
  uint64_t id;
  if (type == rdb::kTypeModule && reader_.Length(&id)) module = fmt::format(" of module {}", rdb::ModuleName(id));
  return absl::UnimplementedError(
      fmt::format("key {} is a {}{}, which this version cannot hold", Quoted(key), name, module));
}

absl::Status Reading::Item(uint8_t type) {
  if (rdb::TypeName(type, info_.valkey).empty()) {
    return absl::DataLossError(fmt::format("neither a type nor an opcode is {}", type));
  }
  std::string_view text;
  if (!reader_.String(&key_, &text)) return reader_.status();
  // The value may push the key out of the window.
  if (text.data() != key_.data()) key_ = text;
  if (type != rdb::kTypeString) return Refuse(type, key_);
  if (!reader_.String(&value_, &item_.string)) {
    return absl::Status(reader_.status().code(),
                        fmt::format("the value of key {}: {}", Quoted(key_), std::string(reader_.status().message())));
  }
  item_.key = key_;
  ++info_.keys;
  absl::Status status = visitor_->OnItem(item_);
  item_.expire_at = kNoExpiry;
  item_.access = 0;
  return status;
}

absl::Status Reading::RefuseLibrary(bool named) {
  std::string_view text;
  if (!reader_.String(&value_, &text)) return reader_.status();
  const std::string_view name = named ? text : LibraryName(text);
  return absl::UnimplementedError(fmt::format("the function library {} cannot be held by this version", Quoted(name)));
}

absl::Status Reading::RefuseModuleData() {
  uint64_t id;
  if (!reader_.Length(&id)) return reader_.status();
  return absl::UnimplementedError(
      fmt::format("data of the module {} cannot be held by this version", rdb::ModuleName(id)));
}

absl::Status Reading::RefuseSlotImport() {
  std::string_view id;
  if (!reader_.String(&value_, &id)) return reader_.status();
  return absl::UnimplementedError(
      fmt::format("slots were being moved to this node (import {}), so that some of its keys are incomplete: let that "
                  "end, and save again",
                  Quoted(id)));
}

absl::Status Reading::End() {
  const uint64_t computed = in_->Checksum();
  uint64_t expected;
  if (!reader_.Little(&expected)) return reader_.status();
  info_.size = in_->offset();
  if (!options_.verify_checksum || expected == 0 || expected == computed) return absl::OkStatus();
  return absl::DataLossError(
      fmt::format("the checksum is {:016x}, but that of the bytes is {:016x}", expected, computed));
}

absl::Status Reading::Run() {
  const uint64_t start = in_->offset();
  element_ = start;
  absl::Status status = ReadHead();
  while (status.ok()) {
    element_ = in_->offset();
    uint8_t code;
    if (!reader_.Little(&code)) return reader_.status();
    switch (code) {
      case rdb::kEof:
        status = End();
        info_.size -= start;
        return status;
      case rdb::kSelectDb:
        status = SelectDb();
        break;
      case rdb::kExpireTime:
        status = Expiry(/*millis=*/false);
        break;
      case rdb::kExpireTimeMs:
        status = Expiry(/*millis=*/true);
        break;
      case rdb::kResizeDb:
        status = SizeHint();
        break;
      case rdb::kAux:
        status = Aux();
        break;
      case rdb::kFreq:
        status = Frequency();
        break;
      case rdb::kIdle:
        status = Idle();
        break;
      case rdb::kModuleAux:
        status = RefuseModuleData();
        break;
      case rdb::kFunctionPreGa:
        status = RefuseLibrary(/*named=*/true);
        break;
      case rdb::kFunction2:
        status = RefuseLibrary(/*named=*/false);
        break;
      case rdb::kSlotInfo:
        status = SlotInfo();
        break;
      case rdb::kSlotImport:
        status = RefuseSlotImport();
        break;
      default:
        status = Item(code);
    }
  }
  return status;
}

}  // namespace

absl::StatusOr<RdbInfo> ReadRdb(File* file, const std::string& path, uint64_t offset, const RdbDecoderOptions& options,
                                RdbVisitor* visitor) {
  const absl::StatusOr<uint64_t> size = file->Size();
  if (!size.ok()) return size.status();
  RdbFileInput in(file, offset, *size, options.verify_checksum, options.progress);
  Reading reading(&in, options, visitor);
  const absl::Status read = reading.Run();
  // What the file layer says is the cause, whatever it looked like from above.
  const absl::Status& status = in.status().ok() ? read : in.status();
  if (!status.ok()) {
    return absl::Status(status.code(),
                        fmt::format("{}: at byte {}: {}", path, reading.element(), std::string(status.message())));
  }
  if (options.progress) options.progress(in.offset());
  return reading.info();
}

bool LooksLikeRdb(std::string_view head) {
  Head parsed{};
  return ParseHead(head, &parsed);
}

absl::StatusOr<RdbItem> DecodeDumpPayload(std::string_view payload, std::string* storage) {
  const absl::Status wrong = absl::InvalidArgumentError("DUMP payload version or checksum are wrong");
  const absl::Status bad = absl::InvalidArgumentError("Bad data format");
  if (payload.size() < rdb::kFooterSize) return wrong;
  const std::string_view value = payload.substr(0, payload.size() - rdb::kFooterSize);
  uint16_t version;
  uint64_t checksum;
  std::memcpy(&version, payload.data() + value.size(), sizeof(version));
  std::memcpy(&checksum, payload.data() + value.size() + sizeof(version), sizeof(checksum));
  const bool valkey = version == rdb::kValkeyVersion;
  if ((version > rdb::kMaxRedisVersion && !valkey) ||
      checksum != RdbCrc64(0, payload.substr(0, value.size() + sizeof(version)))) {
    return wrong;
  }
  RdbInput in(value);
  RdbReader reader(&in, RdbDecoderOptions().max_string);
  uint8_t type;
  if (!reader.Little(&type)) return bad;
  const std::string_view name = rdb::TypeName(type, valkey);
  if (name.empty()) return bad;
  if (type != rdb::kTypeString) {
    return absl::UnimplementedError(fmt::format("the value is a {}, which this version cannot hold", name));
  }
  RdbItem item;
  if (!reader.String(storage, &item.string)) return bad;
  return item;
}

}  // namespace skein::storage
