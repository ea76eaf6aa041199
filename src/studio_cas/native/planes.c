/* Byte planes (docs/format.md): numbers of 2, 4 or 8 bytes, little-endian, the sign bit rotated to the bottom, in groups
 * of 1, 2, 4 or 8 neighbouring bytes, the lowest first.
 *
 * Numbers go through a block that stays in the first cache: each loop over it is one that compilers make vectors of. */
#include "native.h"

#include <math.h>
#include <string.h>

#define BLOCK 1024 /* numbers */

/* Numbers at any address: the payload of a chunk begins where it begins. */
typedef uint16_t __attribute__((aligned(1), may_alias)) any16;
typedef uint32_t __attribute__((aligned(1), may_alias)) any32;
typedef uint64_t __attribute__((aligned(1), may_alias)) any64;

/* For numbers of one width: `take` rotates a block of them, `put` rotates it back; `narrow` and `widen` are one group. */
#define LOOPS(bits, type)                                                                                             \
    STUDIO_INLINE void take##bits(const uint8_t *data, uint##bits##_t *block, size_t count) {                         \
        const type *numbers = (const type *)data;                                                                     \
        for (size_t i = 0; i < count; i++) {                                                                          \
            const uint##bits##_t n = numbers[i];                                                                      \
            block[i] = (uint##bits##_t)((uint##bits##_t)(n << 1) | (uint##bits##_t)(n >> (bits - 1)));                \
        }                                                                                                             \
    }                                                                                                                 \
    STUDIO_INLINE void put##bits(uint8_t *data, const uint##bits##_t *block, size_t count) {                          \
        type *numbers = (type *)data;                                                                                 \
        for (size_t i = 0; i < count; i++) {                                                                          \
            const uint##bits##_t n = block[i];                                                                        \
            numbers[i] = (uint##bits##_t)((uint##bits##_t)(n >> 1) | (uint##bits##_t)(n << (bits - 1)));              \
        }                                                                                                             \
    }                                                                                                                 \
    STUDIO_INLINE void narrow##bits(const uint##bits##_t *block, size_t count, int size, int shift, uint8_t *out) {   \
        if (size == 1)                                                                                                \
            for (size_t i = 0; i < count; i++) out[i] = (uint8_t)(block[i] >> shift);                                 \
        else if (size == 2)                                                                                           \
            for (size_t i = 0; i < count; i++) ((any16 *)out)[i] = (uint16_t)(block[i] >> shift);                     \
        else if (size == 4)                                                                                           \
            for (size_t i = 0; i < count; i++) ((any32 *)out)[i] = (uint32_t)(block[i] >> shift);                     \
        else                                                                                                          \
            for (size_t i = 0; i < count; i++) ((any64 *)out)[i] = (uint64_t)block[i];                                \
    }                                                                                                                 \
    STUDIO_INLINE void widen##bits(uint##bits##_t *block, size_t count, int size, int shift, const uint8_t *plane) {  \
        if (size == 1)                                                                                                \
            for (size_t i = 0; i < count; i++) block[i] |= (uint##bits##_t)((uint##bits##_t)plane[i] << shift);       \
        else if (size == 2)                                                                                           \
            for (size_t i = 0; i < count; i++)                                                                        \
                block[i] |= (uint##bits##_t)((uint##bits##_t)((const any16 *)plane)[i] << shift);                     \
        else if (size == 4)                                                                                           \
            for (size_t i = 0; i < count; i++)                                                                        \
                block[i] |= (uint##bits##_t)((uint##bits##_t)((const any32 *)plane)[i] << shift);                     \
        else                                                                                                          \
            for (size_t i = 0; i < count; i++) block[i] |= (uint##bits##_t)((const any64 *)plane)[i];                 \
    }                                                                                                                 \
    STUDIO_INLINE void split##bits(const uint8_t *data, size_t count, const uint8_t *sizes, int groups,               \
                                   uint8_t *const *outs) {                                                            \
        uint##bits##_t block[BLOCK];                                                                                  \
        for (size_t at = 0; at < count; at += BLOCK) {                                                                \
            const size_t here = count - at < BLOCK ? count - at : BLOCK;                                              \
            take##bits(data + at * (bits / 8), block, here);                                                          \
            for (int group = 0, shift = 0; group < groups; shift += 8 * sizes[group++])                               \
                narrow##bits(block, here, sizes[group], shift, outs[group] + at * sizes[group]);                      \
        }                                                                                                             \
    }                                                                                                                 \
    STUDIO_INLINE void merge##bits(uint8_t *data, size_t count, const uint8_t *sizes, int groups,                     \
                                   const uint8_t *const *planes) {                                                    \
        uint##bits##_t block[BLOCK];                                                                                  \
        for (size_t at = 0; at < count; at += BLOCK) {                                                                \
            const size_t here = count - at < BLOCK ? count - at : BLOCK;                                              \
            memset(block, 0, here * sizeof block[0]);                                                                 \
            for (int group = 0, shift = 0; group < groups; shift += 8 * sizes[group++])                               \
                widen##bits(block, here, sizes[group], shift, planes[group] + at * sizes[group]);                     \
            put##bits(data + at * (bits / 8), block, here);                                                           \
        }                                                                                                             \
    }

LOOPS(16, any16)
LOOPS(32, any32)
LOOPS(64, any64)

#define BY_WIDTH(work, data, planes)                                                                                  \
    if (width == 2)                                                                                                   \
        work##16(data, count, sizes, groups, planes);                                                                 \
    else if (width == 4)                                                                                              \
        work##32(data, count, sizes, groups, planes);                                                                 \
    else                                                                                                              \
        work##64(data, count, sizes, groups, planes)

static void split_any(const uint8_t *data, size_t count, int width, const uint8_t *sizes, int groups,
                      uint8_t *const *outs) {
    BY_WIDTH(split, data, outs);
}

STUDIO_AVX2 static void split_avx2(const uint8_t *data, size_t count, int width, const uint8_t *sizes, int groups,
                                   uint8_t *const *outs) {
    BY_WIDTH(split, data, outs);
}

static void merge_any(uint8_t *data, size_t count, int width, const uint8_t *sizes, int groups,
                      const uint8_t *const *planes) {
    BY_WIDTH(merge, data, planes);
}

STUDIO_AVX2 static void merge_avx2(uint8_t *data, size_t count, int width, const uint8_t *sizes, int groups,
                                   const uint8_t *const *planes) {
    BY_WIDTH(merge, data, planes);
}

/* The `count` numbers at `data`, of 2, 4 or 8 bytes, into `groups` groups of sizes[] bytes, which add up to the width:
 * group n goes to outs[n]. No out may overlap the numbers. */
STUDIO_API void studio_split(const uint8_t *data, size_t count, int width, const uint8_t *sizes, int groups,
                             uint8_t *const *outs) {
    if (STUDIO_HAS_AVX2)
        split_avx2(data, count, width, sizes, groups, outs);
    else
        split_any(data, count, width, sizes, groups, outs);
}

/* The other way: `count` numbers to `data`, made of planes[n], group by group. */
STUDIO_API void studio_merge(uint8_t *data, size_t count, int width, const uint8_t *sizes, int groups,
                             const uint8_t *const *planes) {
    if (STUDIO_HAS_AVX2)
        merge_avx2(data, count, width, sizes, groups, planes);
    else
        merge_any(data, count, width, sizes, groups, planes);
}

/* The entropy of each byte of the `count` rotated numbers at `data`, lowest first, in bits, to found[width]. With the
 * correction of Miller and Madow: a small sample shows less entropy than its source has. */
STUDIO_API void studio_entropies(const uint8_t *data, size_t count, int width, double *found) {
    static const uint8_t ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    uint32_t counts[8][256];
    uint8_t planes[8][BLOCK], *outs[8];
    memset(counts, 0, sizeof counts);
    for (int plane = 0; plane < width; plane++) outs[plane] = planes[plane];
    for (size_t at = 0; at < count; at += BLOCK) {
        const size_t here = count - at < BLOCK ? count - at : BLOCK;
        studio_split(data + at * (size_t)width, here, width, ones, width, outs);
        for (int plane = 0; plane < width; plane++)
            for (size_t i = 0; i < here; i++) counts[plane][planes[plane][i]]++;
    }
    for (int plane = 0; plane < width; plane++) {
        double bits = 0;
        int distinct = 0;
        for (int value = 0; value < 256; value++) {
            if (!counts[plane][value]) continue;
            const double share = (double)counts[plane][value] / (double)count;
            bits -= share * log2(share);
            distinct++;
        }
        found[plane] = bits + (distinct - 1) / (2.0 * (double)count * 0.6931);
    }
}

STUDIO_API int studio_native_version(void) { return STUDIO_NATIVE_VERSION; }
