// A count that is held up by tokens: taking one counts up, destroying it counts down, moving it moves the duty. So no
// path can forget to count down, and no count can wrap. One thread.
#ifndef SKEIN_BUS_LINK_COUNT_TOKEN_H_
#define SKEIN_BUS_LINK_COUNT_TOKEN_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>

namespace skein::bus {

// Must outlive its tokens.
class TokenCount {
 public:
  class Token {
   public:
    Token() = default;
    explicit Token(TokenCount* count) : count_(count) { ++count_->value_; }
    Token(Token&& other) noexcept : count_(std::exchange(other.count_, nullptr)) {}
    Token& operator=(Token&& other) noexcept {
      if (this != &other) {
        Release();
        count_ = std::exchange(other.count_, nullptr);
      }
      return *this;
    }
    ~Token() { Release(); }
    void Release() {
      if (TokenCount* count = std::exchange(count_, nullptr)) --count->value_;
    }

   private:
    TokenCount* count_ = nullptr;
  };

  uint64_t value() const { return value_; }
  Token Take() { return Token(this); }

 private:
  uint64_t value_ = 0;
};

// The same, a count a key; a key whose count falls to zero is forgotten in the same step (L39). Must outlive its
// tokens.
class KeyedCount {
 public:
  class Token {
   public:
    Token() = default;
    Token(KeyedCount* counts, const std::string& key)
        : counts_(counts), at_(counts->values_.try_emplace(key, 0).first) {
      ++at_->second;
    }
    Token(Token&& other) noexcept : counts_(std::exchange(other.counts_, nullptr)), at_(other.at_) {}
    Token& operator=(Token&& other) noexcept {
      if (this != &other) {
        Release();
        counts_ = std::exchange(other.counts_, nullptr);
        at_ = other.at_;
      }
      return *this;
    }
    ~Token() { Release(); }
    void Release() {
      KeyedCount* counts = std::exchange(counts_, nullptr);
      if (counts != nullptr && --at_->second == 0) counts->values_.erase(at_);
    }

   private:
    KeyedCount* counts_ = nullptr;
    std::map<std::string, uint64_t>::iterator at_;
  };

  uint64_t value(const std::string& key) const {
    auto found = values_.find(key);
    return found == values_.end() ? 0 : found->second;
  }
  size_t keys() const { return values_.size(); }
  Token Take(const std::string& key) { return Token(this, key); }

 private:
  std::map<std::string, uint64_t> values_;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_LINK_COUNT_TOKEN_H_
