#include "node/reply.h"

#include <charconv>
#include <cmath>
#include <cstring>

namespace skein::node {
namespace {

// "$12\r\n" and the like: at most 1 + 20 + 2 bytes.
constexpr size_t kHeaderRoom = 24;

inline char* PutHeader(char* p, char type, uint64_t n) {
  *p++ = type;
  if (n < 10) {
    *p++ = static_cast<char>('0' + n);
  } else {
    p = std::to_chars(p, p + 20, n).ptr;
  }
  *p++ = '\r';
  *p++ = '\n';
  return p;
}

}  // namespace

void ReplyWriter::Header(char type, uint64_t n) {
  char* p = out_->Reserve(kHeaderRoom);
  out_->Advance(PutHeader(p, type, n) - p);
}

void ReplyWriter::Status(std::string_view text) {
  out_->Append('+');
  out_->Append(text);
  out_->Append("\r\n");
}

void ReplyWriter::Error(std::string_view text) {
  char* p = out_->Reserve(text.size() + 3);
  *p++ = '-';
  for (char c : text) *p++ = (c == '\r' || c == '\n') ? ' ' : c;
  *p++ = '\r';
  *p++ = '\n';
  out_->Advance(text.size() + 3);
}

void ReplyWriter::Integer(int64_t n) {
  char* p = out_->Reserve(kHeaderRoom);
  char* start = p;
  *p++ = ':';
  p = std::to_chars(p, p + 20, n).ptr;
  *p++ = '\r';
  *p++ = '\n';
  out_->Advance(p - start);
}

void ReplyWriter::Bulk(std::string_view bytes) {
  char* start = out_->Reserve(kHeaderRoom + bytes.size() + 2);
  char* p = PutHeader(start, '$', bytes.size());
  if (!bytes.empty()) std::memcpy(p, bytes.data(), bytes.size());
  p += bytes.size();
  *p++ = '\r';
  *p++ = '\n';
  out_->Advance(p - start);
}

void ReplyWriter::BulkInteger(int64_t n) {
  char text[24];
  const char* end = std::to_chars(text, text + sizeof(text), n).ptr;
  Bulk({text, static_cast<size_t>(end - text)});
}

void ReplyWriter::Null() { out_->Append(resp_ == 2 ? std::string_view("$-1\r\n") : std::string_view("_\r\n")); }

void ReplyWriter::NullArray() { out_->Append(resp_ == 2 ? std::string_view("*-1\r\n") : std::string_view("_\r\n")); }

void ReplyWriter::Array(size_t n) { Header('*', n); }

void ReplyWriter::Map(size_t pairs) {
  if (resp_ == 2) {
    Header('*', pairs * 2);
  } else {
    Header('%', pairs);
  }
}

void ReplyWriter::Set(size_t n) { Header(resp_ == 2 ? '*' : '~', n); }

void ReplyWriter::Push(size_t n) { Header(resp_ == 2 ? '*' : '>', n); }

void ReplyWriter::Double(double d) {
  char text[40];
  size_t n;
  if (std::isnan(d)) {
    std::memcpy(text, "nan", n = 3);
  } else if (std::isinf(d)) {
    std::memcpy(text, d > 0 ? "inf" : "-inf", n = d > 0 ? 3 : 4);
  } else {
    n = std::to_chars(text, text + sizeof(text), d).ptr - text;
  }
  if (resp_ == 2) {
    Bulk({text, n});
    return;
  }
  out_->Append(',');
  out_->Append({text, n});
  out_->Append("\r\n");
}

void ReplyWriter::Bool(bool b) {
  if (resp_ == 2) {
    out_->Append(b ? std::string_view(":1\r\n") : std::string_view(":0\r\n"));
  } else {
    out_->Append(b ? std::string_view("#t\r\n") : std::string_view("#f\r\n"));
  }
}

void ReplyWriter::Verbatim(std::string_view format, std::string_view text) {
  if (resp_ == 2) {
    Bulk(text);
    return;
  }
  Header('=', format.size() + 1 + text.size());
  out_->Append(format);
  out_->Append(':');
  out_->Append(text);
  out_->Append("\r\n");
}

void ReplyWriter::WrongType() {
  out_->Append("-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
}
void ReplyWriter::SyntaxError() { out_->Append("-ERR syntax error\r\n"); }
void ReplyWriter::NotAnInteger() { out_->Append("-ERR value is not an integer or out of range\r\n"); }
void ReplyWriter::NoSuchKey() { out_->Append("-ERR no such key\r\n"); }

}  // namespace skein::node
