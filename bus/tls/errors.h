// OpenSSL's error queue, which is per thread, in words.
#ifndef SKEIN_BUS_TLS_ERRORS_H_
#define SKEIN_BUS_TLS_ERRORS_H_

#include <string>

namespace skein::bus {

struct SslError {
  int library, reason;  // ERR_LIB_… and its reason; 0: the queue was empty
  std::string words;
};

// The first error of the TLS library in the calling thread's queue, else the oldest of the others, or `otherwise` if
// there is none. Empties the queue.
SslError TakeSslError(const char* otherwise);

}  // namespace skein::bus

#endif  // SKEIN_BUS_TLS_ERRORS_H_
