// Loaded before a node (LD_PRELOAD): makes the disk fail while a test wants it to. In the folder that SKEIN_FAULTS names a
// file called `fsync` makes fdatasync fail with EIO, one called `write` makes pwritev fail with ENOSPC; each for files whose
// path contains what stands in it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int fails(const char* what, int fd) {
  const char* folder = getenv("SKEIN_FAULTS");
  if (folder == NULL) return 0;
  char path[PATH_MAX], wanted[256], link[64], of[PATH_MAX];
  snprintf(path, sizeof(path), "%s/%s", folder, what);
  const int control = open(path, O_RDONLY | O_CLOEXEC);
  if (control < 0) return 0;
  const ssize_t n = read(control, wanted, sizeof(wanted) - 1);
  close(control);
  wanted[n > 0 ? n : 0] = '\0';
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, of, sizeof(of) - 1);
  of[length > 0 ? length : 0] = '\0';
  return strstr(of, wanted) != NULL;
}

int fdatasync(int fd) {
  if (fails("fsync", fd)) {
    errno = EIO;
    return -1;
  }
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  return real(fd);
}

ssize_t pwritev(int fd, const struct iovec* pieces, int count, off_t offset) {
  if (fails("write", fd)) {
    errno = ENOSPC;
    return -1;
  }
  ssize_t (*real)(int, const struct iovec*, int, off_t) =
      (ssize_t(*)(int, const struct iovec*, int, off_t))dlsym(RTLD_NEXT, "pwritev");
  return real(fd, pieces, count, offset);
}
