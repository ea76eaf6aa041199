/* Batches of small files: the system calls of each, one after another, without the interpreter between them.
 *
 * Only what goes as it nearly always goes is done here. Anything else is told by a status, and Python does that file
 * again from the beginning, with its rules and its messages. No call waits: files are opened with O_NONBLOCK. */
#include "native.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifdef __APPLE__
#define st_mtim st_mtimespec
#define st_ctim st_ctimespec
#endif

#define LONGEST 1024 /* bytes of a name: on Linux 255, but some file systems in user space allow more */

enum { DONE = 0, UNUSUAL = 1 };

typedef struct { /* as Python's struct "=4q" */
    int64_t size, mtime_ns, ctime_ns, mode;
} studio_row;

/* Of times that no file has by itself, before 1677 or after 2262, something: whoever compares them finds them different. */
static int64_t nanoseconds(struct timespec moment) {
    return (int64_t)((uint64_t)moment.tv_sec * 1000000000u + (uint64_t)moment.tv_nsec);
}

static int fits(struct timespec moment) { return moment.tv_sec > -9000000000 && moment.tv_sec < 9000000000; }

static int64_t now(void) {
    struct timespec moment;
    clock_gettime(CLOCK_REALTIME, &moment);
    return nanoseconds(moment);
}

/* Exactly `size` bytes from the open file to `data`: 0, or -1 where there are fewer, or an error. */
static int read_all(int file, uint8_t *data, size_t size) {
    while (size) {
        const ssize_t count = read(file, data, size);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return -1;
        data += count;
        size -= (size_t)count;
    }
    return 0;
}

#if defined(F_SETLEASE) && defined(F_SETSIG)
/* Whether nobody has the file open for writing: 1, 0, or -1 where the system does not say (steady.py: unwritten). */
static int unwritten(int file) {
    if (fcntl(file, F_SETSIG, SIGURG) < 0) return -1;
    if (fcntl(file, F_SETLEASE, F_RDLCK) < 0) return errno == EAGAIN ? 0 : -1;
    return fcntl(file, F_SETLEASE, F_UNLCK) < 0 ? -1 : 1;
}

/* One file that holds still, as steady.py says it: read, then the lease, then the same stat as `expected`, which was old
 * enough when the reading began. */
static int read_steady(int file, uint8_t *data, const studio_row *expected, int64_t tick_ns, int *leases) {
    struct stat status;
    const int64_t started = now();
    if (read_all(file, data, (size_t)expected->size)) return UNUSUAL;
    const int alone = unwritten(file);
    if (alone < 0) *leases = 0;
    if (alone != 1 || fstat(file, &status)) return UNUSUAL;
    const int64_t mtime = nanoseconds(status.st_mtim), ctime = nanoseconds(status.st_ctim);
    if (!S_ISREG(status.st_mode) || status.st_size != expected->size || mtime != expected->mtime_ns ||
        ctime != expected->ctime_ns)
        return UNUSUAL;
    const int64_t touched = mtime > started || ctime > mtime ? ctime : mtime;
    return started - touched <= tick_ns ? UNUSUAL : DONE;
}

/* Read `count` files below the open folder `root`: `paths` one after another, each ended by a zero byte, as they were when
 * the scan saw them (`rows`), into `data`, each at the sum of the sizes before. The rest of statuses stays as it is where
 * the system grants no leases: how many files were looked at. */
STUDIO_API int studio_read(int root, int count, const char *paths, const studio_row *rows, int64_t tick_ns,
                           uint8_t *data, uint8_t *statuses) {
    int leases = 1, index = 0;
    for (; index < count && leases; index++) {
        const int file = openat(root, paths, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        statuses[index] = UNUSUAL;
        if (file >= 0) {
            statuses[index] = (uint8_t)read_steady(file, data, &rows[index], tick_ns, &leases);
            close(file);
        }
        paths += strlen(paths) + 1;
        data += rows[index].size;
    }
    return index;
}
#else
STUDIO_API int studio_read(int root, int count, const char *paths, const studio_row *rows, int64_t tick_ns,
                           uint8_t *data, uint8_t *statuses) {
    (void)root, (void)count, (void)paths, (void)rows, (void)tick_ns, (void)data, (void)statuses;
    (void)now, (void)read_all;
    return 0;
}
#endif

typedef struct { /* as Python's struct "=4q" */
    int64_t offset, size, mtime_ns, mode;
} studio_file;

static int write_all(int file, const uint8_t *data, size_t size) {
    while (size) {
        const ssize_t count = write(file, data, size);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return -1;
        data += count;
        size -= (size_t)count;
    }
    return 0;
}

/* Make `count` files below the open folder `root`, none of which may be there: `paths` as above, the bytes of each at its
 * offset in `data`. rows[column * count + n] is what stat says then: size, times, inode, device. How many were made; where
 * one failed, *failure is why, or 0 where it could not be made at all, and Python shall try. */
STUDIO_API int studio_write(int root, int count, const char *paths, const studio_file *files, const uint8_t *data,
                            uint64_t *rows, int *failure) {
    *failure = 0;
    for (int index = 0; index < count; index++, paths += strlen(paths) + 1) {
        const studio_file wanted = files[index];
        const int file =
            openat(root, paths, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, (mode_t)wanted.mode);
        if (file < 0) return index;
        struct timespec moment = {.tv_sec = wanted.mtime_ns / 1000000000, .tv_nsec = wanted.mtime_ns % 1000000000};
        if (moment.tv_nsec < 0) {
            moment.tv_sec--;
            moment.tv_nsec += 1000000000;
        }
        const struct timespec moments[2] = {moment, moment};
        struct stat status;
        if (write_all(file, data + wanted.offset, (size_t)wanted.size) || futimens(file, moments) ||
            fstat(file, &status)) {
            *failure = errno;
            close(file);
            return index;
        }
        close(file);
        const uint64_t row[5] = {(uint64_t)status.st_size, (uint64_t)nanoseconds(status.st_mtim),
                                 (uint64_t)nanoseconds(status.st_ctim), status.st_ino, status.st_dev};
        for (int column = 0; column < 5; column++) rows[column * count + index] = row[column];
    }
    return count;
}

/* Begin to list the open folder: what studio_list wants, or NULL, with errno. */
STUDIO_API void *studio_list_begin(int folder) {
    const int own = fcntl(folder, F_DUPFD_CLOEXEC, 0);
    DIR *opened = own < 0 ? NULL : fdopendir(own);
    if (!opened && own >= 0) close(own);
    return opened;
}

STUDIO_API void studio_list_end(void *opened) { closedir(opened); }

/* The next at most `count` names in a folder: `prefix` and the name to names[*names_size], each ended by a zero byte; there
 * is room for one at least. A regular file gets 1 as its kind, 2 where its owner may execute it, and rows[column * count + n]
 * what lstat says: size, times, inode, device. Anything else is of kind 255. How many there were, 0 at the end, or -errno;
 * *names_size is what was used. */
STUDIO_API int studio_list(void *opened, const char *prefix, int count, char *names, size_t *names_size, uint8_t *kinds,
                           uint64_t *rows) {
    const size_t prefix_length = strlen(prefix), last = *names_size - prefix_length - LONGEST - 1;
    size_t used = 0;
    int found = 0;
    while (found < count && used <= last) {
        struct stat status;
        errno = 0;
        const struct dirent *entry = readdir(opened);
        if (!entry && errno) return -errno;
        if (!entry) break;
        const char *name = entry->d_name;
        if (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]))) continue;
        const size_t length = strlen(name);
        if (length > LONGEST) return -ENAMETOOLONG;
        memcpy(names + used, prefix, prefix_length);
        memcpy(names + used + prefix_length, name, length + 1);
        used += prefix_length + length + 1;
        kinds[found] = 255;
        if (!fstatat(dirfd(opened), name, &status, AT_SYMLINK_NOFOLLOW) && S_ISREG(status.st_mode) &&
            fits(status.st_mtim) && fits(status.st_ctim)) {
            const uint64_t row[5] = {(uint64_t)status.st_size, (uint64_t)nanoseconds(status.st_mtim),
                                     (uint64_t)nanoseconds(status.st_ctim), status.st_ino, status.st_dev};
            kinds[found] = status.st_mode & S_IXUSR ? 2 : 1;
            for (int column = 0; column < 5; column++) rows[column * count + found] = row[column];
        }
        found++;
    }
    *names_size = used;
    return found;
}
