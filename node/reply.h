// Writes replies in RESP2 or RESP3 at the end of a buffer.
// Source: the RESP specification; RESP2 forms of RESP3 types as Redis 7.2 gives them.
#ifndef SKEIN_NODE_REPLY_H_
#define SKEIN_NODE_REPLY_H_

#include <cstdint>
#include <string_view>

#include "node/buffer.h"

namespace skein::node {

class ReplyWriter {
 public:
  // `out` outlives the writer. `resp` is 2 or 3.
  ReplyWriter(Buffer* out, int resp) : out_(out), resp_(resp) {}

  int resp() const { return resp_; }
  void set_resp(int resp) { resp_ = resp; }
  Buffer* buffer() { return out_; }

  void Ok() { out_->Append("+OK\r\n"); }
  void Status(std::string_view text);
  // `text` begins with its code ("ERR syntax error", "WRONGTYPE …"); line breaks in it become spaces.
  void Error(std::string_view text);
  void Integer(int64_t n);
  void Bulk(std::string_view bytes);
  void BulkInteger(int64_t n);                                    // the number as a bulk string
  void Null();                                                    // RESP2 "$-1", RESP3 "_"
  void NullArray();                                               // RESP2 "*-1", RESP3 "_"
  void Array(size_t n);                                           // n elements follow
  void Map(size_t pairs);                                         // RESP2: array of 2n
  void Set(size_t n);                                             // RESP2: array
  void Push(size_t n);                                            // RESP2: array
  void Double(double d);                                          // RESP2: bulk, shortest form that reads back the same
  void Bool(bool b);                                              // RESP2: integer 1 or 0
  void Verbatim(std::string_view format, std::string_view text);  // format: "txt"; RESP2: bulk
  // Bytes that are RESP already.
  void Raw(std::string_view bytes) { out_->Append(bytes); }

  // Error replies that many commands share.
  void WrongType();     // WRONGTYPE Operation against a key holding the wrong kind of value
  void SyntaxError();   // ERR syntax error
  void NotAnInteger();  // ERR value is not an integer or out of range
  void NoSuchKey();     // ERR no such key

 private:
  void Header(char type, uint64_t n);

  Buffer* out_;
  int resp_;
};

}  // namespace skein::node

#endif  // SKEIN_NODE_REPLY_H_
