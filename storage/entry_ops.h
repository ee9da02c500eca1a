// Making, changing and freeing entries. For the keyspace only: commands change values through the shard's effects.
#ifndef SKEIN_STORAGE_ENTRY_OPS_H_
#define SKEIN_STORAGE_ENTRY_OPS_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "storage/entry.h"

namespace skein::storage {

// Strings up to this size stand in the entry itself; longer ones in an allocation of their own, with room to grow.
inline constexpr size_t kEmbedLimit = 512;
// Strings up to this size are called "embstr", longer ones "raw" (as Redis names them).
inline constexpr size_t kEmbeddedNameLimit = 44;

// What a string entry shall hold.
struct StringValue {
  // A number if the text is one, else the text.
  static StringValue Of(std::string_view text) {
    StringValue v;
    v.text = text;
    v.is_integer = ParseCanonicalInteger(text, &v.integer);
    return v;
  }
  static StringValue Of(int64_t number) {
    StringValue v;
    v.is_integer = true;
    v.integer = number;
    return v;
  }
  bool is_integer = false;
  int64_t integer = 0;
  std::string_view text;
};

class EntryOps {
 public:
  // A new entry; the caller owns it until it is in a table.
  static Entry* NewString(std::string_view key, const StringValue& value, UnixMillis expire_at, uint32_t access);
  // Gives the entry this value and expiry within the memory it has; false, and nothing changed, if the result would
  // belong in another size class or if `value` points into the entry.
  static bool RewriteString(Entry* entry, const StringValue& value, UnixMillis expire_at);
  // Sets or (kNoExpiry) clears the expiry. Returns the entry, or the one that replaces it (the old one is freed).
  static Entry* WithExpiry(Entry* entry, UnixMillis expire_at);
  // Resizes a string to `new_size` bytes as "raw", keeping what it held and adding zero bytes. Sets *data to its bytes.
  // Returns the entry, or the one that replaces it (the old one is freed).
  static Entry* EditString(Entry* entry, size_t new_size, char** data);
  // A deep copy under another key.
  static Entry* CopyAs(const Entry* entry, std::string_view key);
  // The same value and expiry under another key; frees `entry`.
  static Entry* RenameAs(Entry* entry, std::string_view key);
  static void Free(Entry* entry);

  // ---- Entries on their way in a snapshot (storage/snapshot_chunk.h) ----
  // A packed entry is a copy of one, to be read through Entry's accessors, in memory that its maker owns, aligned as an
  // Entry. Strings up to kPackLimit stand in it; it is one of the owners of a longer one, until Unpack. How a value is
  // carried is decided here, by its type and form: by copy, by reference, and, for a value too large for either, in
  // slices of its own: its bucket is saved at once with a reference to the value, which then has a version of its own.
  static constexpr size_t kPackLimit = 4096;
  // What Pack will write, a multiple of alignof(Entry).
  static size_t PackedSize(const Entry* entry);
  // The shard's thread. Returns the bytes of the value it now shares, as the allocator counts them; 0: none.
  static size_t Pack(const Entry* entry, char* to);
  // The same of a packed entry: how far on the next one stands.
  static size_t Stride(const Entry* packed);
  // Gives up the share in the value, if there is one. Any thread, once.
  static void Unpack(const Entry* packed);

 private:
  struct Blob;
  friend class Entry;

  static size_t SizeOf(size_t key_size, bool has_expiry, size_t value_size);
  static size_t SizeOf(const Entry* entry);
  static Entry* New(std::string_view key, UnixMillis expire_at, uint32_t access, ValueType type, Entry::Form form,
                    size_t value_size);
  static char* Value(Entry* entry) { return const_cast<char*>(entry->value()); }
  static Blob* GetBlob(const Entry* entry);
  static void SetBlob(Entry* entry, Blob* blob);
  static Blob* NewBlob(size_t size, size_t capacity);
  static void DropBlob(Blob* blob);
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_ENTRY_OPS_H_
