// Loaded before the C library (LD_PRELOAD): one call of the program under test fails, or every one from then on.
// SAT_FAULT=CALL:N:HOW names the call ("write", "open", ...), which one of them, and HOW it fails: an errno by name,
// "SHORT" for half of what was asked, with "+" behind it from then on. SAT_FAULT_COUNT: a file that gets their number.
// Uses nothing that allocates, so that allocations can be made to fail too.
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
}

namespace {

struct Fault {
  char call[16] = {};
  long first = 0;
  int error = EIO;
  bool half = false, for_ever = false, ready = false;
};
Fault fault;
long count = 0;

int errno_named(const char* name, size_t length) {
  struct Name {
    const char* name;
    int error;
  };
  constexpr Name kNames[] = {{"ENOSPC", ENOSPC}, {"EINTR", EINTR},   {"ENOMEM", ENOMEM}, {"EACCES", EACCES},
                             {"EMFILE", EMFILE}, {"EDQUOT", EDQUOT}, {"EAGAIN", EAGAIN}, {"ENOSYS", ENOSYS}};
  for (const Name& each : kNames) {
    if (strlen(each.name) == length && strncmp(each.name, name, length) == 0) return each.error;
  }
  return EIO;
}

[[gnu::constructor]] void prepare() {
  if (fault.ready) return;
  fault.ready = true;
  const char* text = getenv("SAT_FAULT");
  const char* colon = text ? strchr(text, ':') : nullptr;
  if (!colon || size_t(colon - text) >= sizeof fault.call) return;
  memcpy(fault.call, text, size_t(colon - text));
  char* how = nullptr;
  fault.first = strtol(colon + 1, &how, 10);
  if (*how == ':') ++how;
  const size_t length = strcspn(how, "+");
  fault.for_ever = how[length] == '+';
  fault.half = strncmp(how, "SHORT", length) == 0;
  fault.error = errno_named(how, length);
}

[[gnu::destructor]] void tell() {
  const char* path = getenv("SAT_FAULT_COUNT");
  if (!path) return;
  char digits[24];
  size_t length = sizeof digits;
  for (long left = __atomic_load_n(&count, __ATOMIC_SEQ_CST); left > 0 || length == sizeof digits; left /= 10) {
    digits[--length] = char('0' + left % 10);
  }
  const long file = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  syscall(SYS_write, file, digits + length, sizeof digits - length);
}

/// Counts a call; true where it is to fail, with errno set.
bool hit(const char* call) {
  prepare();
  if (strcmp(call, fault.call) != 0) return false;
  const long now = __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
  if (fault.first == 0 || (fault.for_ever ? now < fault.first : now != fault.first)) return false;
  errno = fault.error;
  return true;
}

template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

/// How much a call may move, or -1 where it is to fail.
ssize_t allowed(const char* call, size_t asked) {
  if (!hit(call)) return ssize_t(asked);
  return fault.half ? ssize_t(asked > 1 ? asked / 2 : asked) : -1;
}

}  // namespace

// A call with a plain signature: it fails as `family`, with `failed` as its result.
#define SAT_FAILING(result, name, parameters, arguments, family, failed) \
  extern "C" result name parameters {                                    \
    if (hit(family)) return failed;                                      \
    static auto* const next = real<result parameters>(#name);            \
    return next arguments;                                               \
  }
// One that moves `size` bytes at most.
#define SAT_MOVING(name, parameters, arguments, family)        \
  extern "C" ssize_t name parameters {                         \
    static auto* const next = real<ssize_t parameters>(#name); \
    const ssize_t most = allowed(family, size);                \
    if (most < 0) return -1;                                   \
    size = size_t(most);                                       \
    return next arguments;                                     \
  }
// open() and its kin, whose last argument is there only where a file may be made.
#define SAT_OPENING(name, parameters, before, kind) \
  extern "C" int name parameters {                  \
    mode_t mode = 0;                                \
    if ((flags & (O_CREAT | __O_TMPFILE)) != 0) {   \
      va_list rest;                                 \
      va_start(rest, flags);                        \
      mode = mode_t(va_arg(rest, int));             \
      va_end(rest);                                 \
    }                                               \
    if (hit("open")) return -1;                     \
    static auto* const next = real<kind>(#name);    \
    return next before;                             \
  }

SAT_OPENING(open, (const char* path, int flags, ...), (path, flags, mode), int(const char*, int, ...))
SAT_OPENING(open64, (const char* path, int flags, ...), (path, flags, mode), int(const char*, int, ...))
SAT_OPENING(openat, (int at, const char* path, int flags, ...), (at, path, flags, mode),
            int(int, const char*, int, ...))
SAT_FAILING(int, mkostemp, (char* name, int flags), (name, flags), "open", -1)
SAT_MOVING(read, (int file, void* bytes, size_t size), (file, bytes, size), "read")
SAT_MOVING(pread, (int file, void* bytes, size_t size, off_t at), (file, bytes, size, at), "read")
SAT_MOVING(pread64, (int file, void* bytes, size_t size, off_t at), (file, bytes, size, at), "read")
SAT_MOVING(write, (int file, const void* bytes, size_t size), (file, bytes, size), "write")
SAT_MOVING(pwrite, (int file, const void* bytes, size_t size, off_t at), (file, bytes, size, at), "write")
SAT_MOVING(pwrite64, (int file, const void* bytes, size_t size, off_t at), (file, bytes, size, at), "write")
SAT_FAILING(int, fsync, (int file), (file), "fsync", -1)
SAT_FAILING(int, rename, (const char* from, const char* to), (from, to), "rename", -1)
SAT_FAILING(int, renameat2, (int from_at, const char* from, int to_at, const char* to, unsigned flags),
            (from_at, from, to_at, to, flags), "rename", -1)
SAT_FAILING(int, unlink, (const char* path), (path), "unlink", -1)
SAT_FAILING(int, unlinkat, (int at, const char* path, int flags), (at, path, flags), "unlink", -1)
SAT_FAILING(int, mkdir, (const char* path, mode_t mode), (path, mode), "mkdir", -1)
SAT_FAILING(char*, mkdtemp, (char* name), (name), "mkdir", nullptr)
SAT_FAILING(int, flock, (int file, int how), (file, how), "flock", -1)
SAT_FAILING(int, chmod, (const char* path, mode_t mode), (path, mode), "chmod", -1)
SAT_FAILING(DIR*, opendir, (const char* path), (path), "opendir", nullptr)
SAT_FAILING(DIR*, fdopendir, (int file), (file), "opendir", nullptr)
SAT_FAILING(struct dirent*, readdir, (DIR * folder), (folder), "readdir", nullptr)
SAT_FAILING(int, stat, (const char* path, struct stat* status), (path, status), "stat", -1)
SAT_FAILING(int, lstat, (const char* path, struct stat* status), (path, status), "stat", -1)
SAT_FAILING(int, fstat, (int file, struct stat* status), (file, status), "stat", -1)
SAT_FAILING(void*, mmap, (void* at, size_t size, int protection, int flags, int file, off_t from),
            (at, size, protection, flags, file, from), "mmap", MAP_FAILED)
SAT_FAILING(int, posix_fallocate, (int file, off_t from, off_t size), (file, from, size), "fallocate", fault.error)
SAT_FAILING(int, pthread_create, (pthread_t * thread, const pthread_attr_t* how, void* (*body)(void*), void* argument),
            (thread, how, body, argument), "thread", EAGAIN)

/// A disk without room: the call works, and tells of no free block.
extern "C" int statvfs(const char* path, struct statvfs* room) {
  static auto* const next = real<int(const char*, struct statvfs*)>("statvfs");
  const int status = next(path, room);
  if (hit("statvfs")) room->f_bavail = 0;
  return status;
}

extern "C" {
void* malloc(size_t size) { return hit("malloc") ? nullptr : __libc_malloc(size); }
void* calloc(size_t many, size_t size) { return hit("malloc") ? nullptr : __libc_calloc(many, size); }
void* realloc(void* block, size_t size) { return hit("malloc") ? nullptr : __libc_realloc(block, size); }
void* aligned_alloc(size_t alignment, size_t size) {
  return hit("malloc") ? nullptr : __libc_memalign(alignment, size);
}
int posix_memalign(void** block, size_t alignment, size_t size) {
  *block = hit("malloc") ? nullptr : __libc_memalign(alignment, size);
  return *block ? 0 : ENOMEM;
}
}
