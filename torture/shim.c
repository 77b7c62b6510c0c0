/* Stands between a program and the C library (LD_PRELOAD) and counts every call that changes something below one
 * folder. At call number `at` it kills the run (before the call, half-way through a write, or after it) or lets the
 * call fail. With a log it also writes down each such call with its data, for replaying power losses.
 *
 * All processes of a run share one page, the file named by TORTURE_STATE; `struct state` is its layout (and
 * faults.py's). One process is the target: the run itself, which is the one that is killed; what it started lives
 * on, and may still be there when the next run begins. Linux, 64 bit: the calls are made by number, so that the shim never meets itself.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum action { NOTHING, KILL_BEFORE, KILL_HALF, KILL_AFTER, FAIL_ONCE, FAIL_FROM };
enum op { REFUSED, CREATE, TRUNCATE, WRITE, SYNC, RENAME, UNLINK, RMDIR, MKDIR, CHMOD, LINK, SYMLINK };

struct state {
    uint64_t count;    /* calls so far */
    uint64_t at;       /* the call at which `action` is taken; 0: none */
    int32_t action;
    int32_t error;     /* errno of a call that is made to fail */
    int32_t target;    /* process id of the run; 0 until it comes */
    int32_t hit;       /* 1 when call `at` was reached */
    int32_t hit_op;
    int32_t others;    /* 1: calls of processes that the run started count, too */
    int32_t claim;     /* 1: the first process to come is the target; 0: the one that arms itself */
    char hit_path[256];
    char root[512];    /* the folder that is watched */
    char log[512];     /* where changes are written down; empty: nowhere */
};

struct record {
    uint32_t magic, op;
    int32_t pid;
    uint32_t first, second; /* lengths of the two paths */
    uint64_t offset, length;
};

static struct state *shared;
static int log_fd = -1;

static void attach(const char *path)
{
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    void *page = mmap(NULL, sizeof(struct state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (page == MAP_FAILED)
        return;
    shared = page;
    log_fd = -1;
    if (shared->claim)
        __sync_bool_compare_and_swap(&shared->target, 0, (int32_t)getpid());
}

/* For a process that was forked ready-made: called through ctypes. */
void torture_arm(const char *path)
{
    attach(path);
    if (shared)
        shared->target = getpid();
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("TORTURE_STATE");
    if (path)
        attach(path);
}

static int absolute(int folder, const char *path, char *out)
{
    if (path[0] == '/')
        return snprintf(out, PATH_MAX, "%s", path) < PATH_MAX;
    char base[PATH_MAX];
    if (folder == AT_FDCWD) {
        if (!getcwd(base, sizeof base))
            return 0;
    } else {
        char name[64];
        snprintf(name, sizeof name, "/proc/self/fd/%d", folder);
        ssize_t n = readlink(name, base, sizeof base - 1);
        if (n < 0)
            return 0;
        base[n] = 0;
    }
    return snprintf(out, PATH_MAX, "%.2000s/%.2000s", base, path) < PATH_MAX;
}

static int below(const char *path)
{
    size_t n = strlen(shared->root);
    return n && strncmp(path, shared->root, n) == 0 && (path[n] == '/' || path[n] == 0);
}

static int watched_at(int folder, const char *path, char *out)
{
    int keep = errno, yes = shared && path && absolute(folder, path, out) && below(out);
    errno = keep;
    return yes;
}

static int watched_fd(int fd, char *out)
{
    if (!shared)
        return 0;
    int keep = errno;
    char name[64];
    struct stat found;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(name, out, PATH_MAX - 1);
    if (n > 0)
        out[n] = 0;
    int yes = n > 0 && below(out) && fstat(fd, &found) == 0 && (S_ISREG(found.st_mode) || S_ISDIR(found.st_mode));
    errno = keep;
    return yes;
}

/* End the run; a process that it started goes on. The page may be another run's by now, with no target yet: a zero
 * would end this whole process group. */
static void end(void)
{
    int32_t target = shared->target;
    if (target <= 0)
        return;
    kill(target, SIGKILL);
    if (target == getpid())
        for (;;)
            pause();
}

/* Count one call; return the action to take at it. */
static int step(int op, const char *path)
{
    if (!shared->target)
        return NOTHING;
    if (shared->target != getpid() && !shared->others)
        return NOTHING;
    uint64_t number = __sync_add_and_fetch(&shared->count, 1);
    if (!shared->at || number < shared->at || (number > shared->at && shared->action != FAIL_FROM))
        return NOTHING;
    if (number == shared->at) {
        shared->hit = 1;
        shared->hit_op = op;
        snprintf(shared->hit_path, sizeof shared->hit_path, "%.255s", path);
    }
    if (shared->action == KILL_BEFORE)
        end();
    return shared->action;
}

static void note(int op, const char *first, const char *second, uint64_t offset, const void *data, uint64_t length)
{
    if (!shared->log[0])
        return;
    int keep = errno;
    if (log_fd < 0)
        log_fd = syscall(SYS_openat, AT_FDCWD, shared->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    struct record head = {0x746f7274, op, getpid(), strlen(first), second ? strlen(second) : 0, offset, length};
    struct iovec parts[4] = {{&head, sizeof head}, {(void *)first, head.first}, {(void *)second, head.second},
                             {(void *)data, data ? length : 0}};
    if (log_fd >= 0)
        syscall(SYS_writev, log_fd, parts, 4);
    errno = keep;
}

#define FAILS(act) ((act) == FAIL_ONCE || (act) == FAIL_FROM)
#define FAIL                     \
    do {                         \
        errno = shared->error;   \
        return -1;               \
    } while (0)

static int opened(int folder, const char *path, int flags, mode_t mode)
{
    char whole[PATH_MAX];
    int changes = (flags & (O_CREAT | O_TRUNC)) && (flags & O_TMPFILE) != O_TMPFILE;
    if (!changes || !watched_at(folder, path, whole))
        return syscall(SYS_openat, folder, path, flags, mode);
    struct stat found;
    int keep = errno, existed = lstat(whole, &found) == 0;
    errno = keep;
    if (existed && !(flags & O_TRUNC) && !(flags & O_EXCL)) /* opens what is there: no change */
        return syscall(SYS_openat, folder, path, flags, mode);
    int op = existed ? TRUNCATE : CREATE, act = step(op, whole);
    if (FAILS(act))
        FAIL;
    int fd = syscall(SYS_openat, folder, path, flags, mode);
    note(fd < 0 ? REFUSED : op, whole, NULL, 0, NULL, 0);
    if (act == KILL_AFTER || act == KILL_HALF)
        end();
    return fd;
}

#define MODE                              \
    mode_t mode = 0;                      \
    if (flags & (O_CREAT | __O_TMPFILE)) {\
        va_list more;                     \
        va_start(more, flags);            \
        mode = va_arg(more, int);         \
        va_end(more);                     \
    }

int open(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE return opened(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE return opened(folder, path, flags, mode); }
int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int __open_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
int __openat_2(int folder, const char *path, int flags) { return opened(folder, path, flags, 0); }
int __openat64_2(int folder, const char *path, int flags) { return opened(folder, path, flags, 0); }

static uint64_t position(int fd)
{
    struct stat found;
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && (flags & O_APPEND) && fstat(fd, &found) == 0)
        return found.st_size;
    off_t at = lseek(fd, 0, SEEK_CUR);
    return at < 0 ? 0 : (uint64_t)at;
}

/* `offset` -1: at the file's own position. */
static ssize_t written(int fd, const void *data, size_t length, int64_t offset)
{
    char whole[PATH_MAX];
    if (!watched_fd(fd, whole))
        return offset < 0 ? syscall(SYS_write, fd, data, length) : syscall(SYS_pwrite64, fd, data, length, offset);
    int act = step(WRITE, whole);
    if (FAILS(act))
        FAIL;
    uint64_t at = offset < 0 ? position(fd) : (uint64_t)offset;
    size_t wanted = act == KILL_HALF ? length / 2 : length;
    ssize_t n = offset < 0 ? syscall(SYS_write, fd, data, wanted) : syscall(SYS_pwrite64, fd, data, wanted, offset);
    note(WRITE, whole, NULL, at, data, n > 0 ? n : 0);
    if (act == KILL_AFTER || act == KILL_HALF)
        end();
    return n;
}

ssize_t write(int fd, const void *data, size_t length) { return written(fd, data, length, -1); }
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return written(fd, data, length, offset); }
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) { return written(fd, data, length, offset); }

/* A vector is written piece by piece: each piece is then a call of its own. */
ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    char whole[PATH_MAX];
    if (!watched_fd(fd, whole))
        return syscall(SYS_writev, fd, pieces, count);
    ssize_t total = 0;
    for (int i = 0; i < count; i++) {
        ssize_t n = written(fd, pieces[i].iov_base, pieces[i].iov_len, -1);
        if (n < 0)
            return total ? total : n;
        total += n;
        if ((size_t)n < pieces[i].iov_len)
            break;
    }
    return total;
}

static void note_copied(const char *whole, uint64_t at, ssize_t n)
{
    if (n <= 0)
        note(WRITE, whole, NULL, at, NULL, 0);
    if (n <= 0 || !shared->log[0])
        return;
    char *data = malloc(n);
    int fd = syscall(SYS_openat, AT_FDCWD, whole, O_RDONLY | O_CLOEXEC, 0);
    int read = data && fd >= 0 && syscall(SYS_pread64, fd, data, n, at) == n;
    note(WRITE, whole, NULL, at, data, read ? n : 0);
    if (fd >= 0)
        syscall(SYS_close, fd);
    free(data);
}

ssize_t sendfile(int out, int in, off_t *offset, size_t length)
{
    char whole[PATH_MAX];
    if (!watched_fd(out, whole))
        return syscall(SYS_sendfile, out, in, offset, length);
    int act = step(WRITE, whole);
    if (FAILS(act))
        FAIL;
    uint64_t at = position(out);
    ssize_t n = syscall(SYS_sendfile, out, in, offset, length);
    note_copied(whole, at, n);
    if (act == KILL_AFTER || act == KILL_HALF)
        end();
    return n;
}
ssize_t sendfile64(int out, int in, off64_t *offset, size_t length) { return sendfile(out, in, offset, length); }

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t length, unsigned flags)
{
    char whole[PATH_MAX];
    if (!watched_fd(out, whole))
        return syscall(SYS_copy_file_range, in, from, out, to, length, flags);
    int act = step(WRITE, whole);
    if (FAILS(act))
        FAIL;
    uint64_t at = to ? (uint64_t)*to : position(out);
    ssize_t n = syscall(SYS_copy_file_range, in, from, out, to, length, flags);
    note_copied(whole, at, n);
    if (act == KILL_AFTER || act == KILL_HALF)
        end();
    return n;
}

/* Make a call that has no half-way, with everything around it. */
#define AROUND(op, first, second, offset, call)         \
    do {                                                \
        int act = step(op, first);                      \
        if (FAILS(act))                                 \
            FAIL;                                       \
        long result = call;                             \
        note(result < 0 ? REFUSED : op, first, second, offset, NULL, 0); \
        if (act == KILL_AFTER || act == KILL_HALF)      \
            end();                                     \
        return result;                                  \
    } while (0)

int ftruncate(int fd, off_t length)
{
    char whole[PATH_MAX];
    if (!watched_fd(fd, whole))
        return syscall(SYS_ftruncate, fd, length);
    AROUND(TRUNCATE, whole, NULL, length, syscall(SYS_ftruncate, fd, length));
}
int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

int fallocate(int fd, int mode, off_t offset, off_t length)
{
    char whole[PATH_MAX];
    if (!watched_fd(fd, whole))
        return syscall(SYS_fallocate, fd, mode, offset, length);
    AROUND(TRUNCATE, whole, NULL, offset + length, syscall(SYS_fallocate, fd, mode, offset, length));
}
int fallocate64(int fd, int mode, off64_t offset, off64_t length) { return fallocate(fd, mode, offset, length); }

int fsync(int fd)
{
    char whole[PATH_MAX];
    if (!watched_fd(fd, whole))
        return syscall(SYS_fsync, fd);
    AROUND(SYNC, whole, NULL, 0, syscall(SYS_fsync, fd));
}
int fdatasync(int fd)
{
    char whole[PATH_MAX];
    if (!watched_fd(fd, whole))
        return syscall(SYS_fdatasync, fd);
    AROUND(SYNC, whole, NULL, 0, syscall(SYS_fdatasync, fd));
}

int renameat2(int from, const char *old, int to, const char *new, unsigned flags)
{
    char one[PATH_MAX], two[PATH_MAX];
    int first = watched_at(from, old, one), second = watched_at(to, new, two);
    if (!first && !second)
        return syscall(SYS_renameat2, from, old, to, new, flags);
    AROUND(RENAME, one, two, 0, syscall(SYS_renameat2, from, old, to, new, flags));
}
int renameat(int from, const char *old, int to, const char *new) { return renameat2(from, old, to, new, 0); }
int rename(const char *old, const char *new) { return renameat2(AT_FDCWD, old, AT_FDCWD, new, 0); }

int unlinkat(int folder, const char *path, int flags)
{
    char whole[PATH_MAX];
    if (!watched_at(folder, path, whole))
        return syscall(SYS_unlinkat, folder, path, flags);
    AROUND(flags & AT_REMOVEDIR ? RMDIR : UNLINK, whole, NULL, 0, syscall(SYS_unlinkat, folder, path, flags));
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int folder, const char *path, mode_t mode)
{
    char whole[PATH_MAX];
    if (!watched_at(folder, path, whole))
        return syscall(SYS_mkdirat, folder, path, mode);
    AROUND(MKDIR, whole, NULL, 0, syscall(SYS_mkdirat, folder, path, mode));
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int fchmodat(int folder, const char *path, mode_t mode, int flags)
{
    char whole[PATH_MAX];
    if (flags || !watched_at(folder, path, whole))
        return syscall(SYS_fchmodat, folder, path, mode, flags);
    AROUND(CHMOD, whole, NULL, mode, syscall(SYS_fchmodat, folder, path, mode, 0));
}
int chmod(const char *path, mode_t mode) { return fchmodat(AT_FDCWD, path, mode, 0); }
int fchmod(int fd, mode_t mode)
{
    char whole[PATH_MAX];
    if (!watched_fd(fd, whole))
        return syscall(SYS_fchmod, fd, mode);
    AROUND(CHMOD, whole, NULL, mode, syscall(SYS_fchmod, fd, mode));
}

int linkat(int from, const char *old, int to, const char *new, int flags)
{
    char one[PATH_MAX], two[PATH_MAX];
    int first = watched_at(from, old, one), second = watched_at(to, new, two);
    if (!first && !second)
        return syscall(SYS_linkat, from, old, to, new, flags);
    AROUND(LINK, one, two, 0, syscall(SYS_linkat, from, old, to, new, flags));
}
int link(const char *old, const char *new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }

int symlinkat(const char *old, int to, const char *new)
{
    char whole[PATH_MAX];
    if (!watched_at(to, new, whole))
        return syscall(SYS_symlinkat, old, to, new);
    AROUND(SYMLINK, whole, old, 0, syscall(SYS_symlinkat, old, to, new));
}
int symlink(const char *old, const char *new) { return symlinkat(old, AT_FDCWD, new); }
