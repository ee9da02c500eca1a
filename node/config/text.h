// Text helpers of the configuration: joining pieces, splitting and quoting lines as redis.conf does, numbers with
// units, near names. Pure functions, any thread. (The system's Abseil has a string_view of its own; these take the
// standard one.)
#ifndef SKEIN_NODE_CONFIG_TEXT_H_
#define SKEIN_NODE_CONFIG_TEXT_H_

#include <charconv>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace skein::node {

// A piece of text, or a number to be written as text.
class Piece {
 public:
  Piece(std::string_view text) : text_(text) {}    // NOLINT: a piece is its text
  Piece(const char* text) : text_(text) {}         // NOLINT
  Piece(const std::string& text) : text_(text) {}  // NOLINT
  template <std::integral Number>
  requires(!std::same_as<Number, bool> && !std::same_as<Number, char>) Piece(Number number) {  // NOLINT
    const auto end = std::to_chars(digits_, digits_ + sizeof digits_, number).ptr;
    text_ = {digits_, static_cast<size_t>(end - digits_)};
  }
  Piece(const Piece&) = delete;
  Piece& operator=(const Piece&) = delete;
  std::string_view text() const { return text_; }

 private:
  char digits_[24];
  std::string_view text_;
};

// The pieces, one behind the other.
std::string CatPieces(std::initializer_list<std::string_view> pieces);
template <typename... Pieces>
std::string Cat(const Pieces&... pieces) {
  return CatPieces({Piece(pieces).text()...});
}
template <typename... Pieces>
void Append(std::string* out, const Pieces&... pieces) {
  *out += CatPieces({Piece(pieces).text()...});
}

// With `between` between each two.
std::string Join(const std::vector<std::string>& words, std::string_view between);
std::string Lower(std::string_view text);
bool SameName(std::string_view a, std::string_view b);  // ignoring case

// Cuts at white space, without any quoting.
std::vector<std::string> SplitBlanks(std::string_view text);
// The lines of a text, without their ends; the last may be empty.
std::vector<std::string_view> SplitLines(std::string_view text);

// Splits a line into words at white space. A word may hold "…" with the escapes \n \r \t \b \a \\ \" \xHH, or '…' with
// \' only; a closing quote must be followed by white space or the end. nullopt: unbalanced quotes. Source: the
// redis.conf syntax.
std::optional<std::vector<std::string>> ReadWords(std::string_view line);

// The word as ReadWords reads it back: itself if it needs no quotes, else "…" with escapes.
std::string QuoteWord(std::string_view word);
// All words, quoted where needed, one space between.
std::string JoinWords(const std::vector<std::string>& words);

// "123", "10k", "10kb", "1gb", …: k, m, g are powers of 1000 and kb, mb, gb of 1024; any case. nullopt: malformed,
// negative, or more than 64 bits.
std::optional<uint64_t> ParseMemory(std::string_view text);
// The shortest form that ParseMemory reads back to `bytes`, in units of 1024: "1gb", "1000".
std::string FormatMemory(uint64_t bytes);

// Decimal, without white space or '+'. nullopt: malformed or out of range.
std::optional<int64_t> ParseInteger(std::string_view text);

// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`, ignoring case; `limit` + 1 if it
// takes more than `limit`.
uint32_t EditDistance(std::string_view a, std::string_view b, uint32_t limit);

// Glob match, ignoring case, as CONFIG GET matches names.
bool MatchName(const std::string& pattern, const std::string& name);

}  // namespace skein::node

#endif  // SKEIN_NODE_CONFIG_TEXT_H_
