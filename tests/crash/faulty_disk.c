/* Makes a disk fail on request: loaded into a node with LD_PRELOAD, it stands between the node and what it writes and
 * syncs under SKEIN_FAULT_DIR. The file that SKEIN_FAULT_CONTROL names is read at each call; its lines are
 *
 *   CALL fail ERRNO     the call fails
 *   CALL delay MILLIS   it takes so long, or until the file no longer says so
 *   CALL short BYTES    a write writes so much at most
 *
 * where CALL is pwritev, fdatasync, fsync or ftruncate. Other calls and other files are left alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { kTextSize = 1024, kStepMillis = 20 };

static int Concerned(int fd) {
  const char* const dir = getenv("SKEIN_FAULT_DIR");
  if (dir == NULL) return 0;
  char link[64];
  char path[4096];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, path, sizeof(path) - 1);
  if (size < 0) return 0;
  path[size] = '\0';
  return strncmp(path, dir, strlen(dir)) == 0;
}

/* The number behind "CALL ACTION " in the control file; -1 if there is none. */
static long Asked(const char* call, const char* action) {
  const char* const name = getenv("SKEIN_FAULT_CONTROL");
  if (name == NULL) return -1;
  const int fd = open(name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  char text[kTextSize];
  const ssize_t size = read(fd, text, sizeof(text) - 1);
  close(fd);
  if (size <= 0) return -1;
  text[size] = '\0';
  char* rest = NULL;
  for (char* line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
    char its_call[32];
    char its_action[32];
    long number = 0;
    if (sscanf(line, "%31s %31s %ld", its_call, its_action, &number) == 3 && strcmp(its_call, call) == 0 &&
        strcmp(its_action, action) == 0) {
      return number;
    }
  }
  return -1;
}

/* Waits if asked to. Whether the call is to fail, with errno set. */
static int Fails(int fd, const char* call) {
  const int before = errno;
  if (!Concerned(fd)) {
    errno = before;
    return 0;
  }
  for (long waited = 0; waited < Asked(call, "delay"); waited += kStepMillis) {
    struct timespec left = {0, kStepMillis * 1000000};
    while (nanosleep(&left, &left) != 0) {
    }
  }
  const long error = Asked(call, "fail");
  errno = error > 0 ? (int)error : before;
  return error > 0;
}

static void* Real(const char* name) {
  void* const found = dlsym(RTLD_NEXT, name);
  if (found == NULL) abort();
  return found;
}

ssize_t pwritev(int fd, const struct iovec* pieces, int count, off_t offset) {
  ssize_t (*real)(int, const struct iovec*, int, off_t);
  *(void**)&real = Real("pwritev");
  if (Fails(fd, "pwritev")) return -1;
  const long most = Concerned(fd) ? Asked("pwritev", "short") : -1;
  if (most <= 0 || count <= 0) return real(fd, pieces, count, offset);
  struct iovec first = pieces[0];
  if (first.iov_len > (size_t)most) first.iov_len = (size_t)most;
  return real(fd, &first, 1, offset);
}

ssize_t pwritev64(int fd, const struct iovec* pieces, int count, off64_t offset) {
  return pwritev(fd, pieces, count, offset);
}

int fdatasync(int fd) {
  int (*real)(int);
  *(void**)&real = Real("fdatasync");
  return Fails(fd, "fdatasync") ? -1 : real(fd);
}

int fsync(int fd) {
  int (*real)(int);
  *(void**)&real = Real("fsync");
  return Fails(fd, "fsync") ? -1 : real(fd);
}

int ftruncate(int fd, off_t size) {
  int (*real)(int, off_t);
  *(void**)&real = Real("ftruncate");
  return Fails(fd, "ftruncate") ? -1 : real(fd, size);
}
