// Whole records in a piece of memory, as they travel from one log to another.
//
// The checksums of a record may be unset there: who carries it has a checksum of his own, and the log that takes it
// fills them in. Pure; any thread.
#ifndef SKEIN_STORAGE_RECORDS_H_
#define SKEIN_STORAGE_RECORDS_H_

#include <cstddef>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "storage/record.h"
#include "storage/types.h"

namespace skein::storage {

// How many of the bytes are whole records: the length of the longest such prefix. Looks at lengths only.
size_t WholeRecords(std::string_view bytes);

// A record in a piece of memory.
struct RecordView {
  RecordHeader header;
  std::string_view bytes;  // header and body
  std::string_view body() const { return bytes.substr(kRecordHeaderSize); }
};

// Takes the records apart, the first of which must start at `at`: adds them to `*records`, and the reigns that they
// begin to `*reigns` (null: not wanted). InvalidArgument, with the LSN and what is wrong, if they are not whole records
// that follow each other, of known kinds and forms. What the effects in a body say is not looked at.
absl::Status TakeRecords(std::string_view bytes, Lsn at, std::vector<RecordView>* records, std::vector<Reign>* reigns);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_RECORDS_H_
