/* What the compiled loops offer to Python: no memory is kept, nothing is allocated, no lock is taken.
 * `VERSION` in __init__.py is the same number: a library that an older source tree left behind is not used. */
#ifndef STUDIO_NATIVE_H
#define STUDIO_NATIVE_H

#include <stddef.h>
#include <stdint.h>

#define STUDIO_NATIVE_VERSION 1
#define STUDIO_API __attribute__((visibility("default")))

/* With GCC and clang on x86-64 a loop is compiled twice, and the processor is asked once which one it can run. */
#if defined(__x86_64__) && defined(__GNUC__)
#define STUDIO_AVX2 __attribute__((target("avx2")))
#define STUDIO_HAS_AVX2 __builtin_cpu_supports("avx2")
#else
#define STUDIO_AVX2
#define STUDIO_HAS_AVX2 0
#endif
#define STUDIO_INLINE static inline __attribute__((always_inline))

#endif
