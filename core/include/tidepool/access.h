// SPDX-License-Identifier: Apache-2.0
//
// The C interface of access entries and domains: what the pool knows of how its tensors and their
// parts are used. The words, and what counts and what does not, are explained in access.hpp.
// Included by <tidepool.h>; its rules about errors, threads and `size` hold here too.
#pragma once

#include <tidepool/c_types.h>

#ifdef __cplusplus
extern "C" {
#endif

// Names one domain of one pool for ever; 0 names none.
typedef uint64_t tidepool_domain;

// C has no scopes for enumerators: they carry the macros' prefix and case.
// NOLINTBEGIN(readability-identifier-naming)
enum {
  TIDEPOOL_ACCESS_OCCURRENCE = 0,  // an index counts each time
  TIDEPOOL_ACCESS_ONCE = 1,        // one time in a batch
  TIDEPOOL_ACCESS_WEIGHTED = 2     // each time with its weight
};

enum { TIDEPOOL_ORDER_TICK = 0, TIDEPOOL_ORDER_COUNT = 1, TIDEPOOL_ORDER_SCORE = 2 };
// NOLINTEND(readability-identifier-naming)

#define TIDEPOOL_WHOLE_TENSOR UINT32_MAX

typedef struct tidepool_domain_options {
  size_t size;
  size_t elements;      // 1..2^32 - 64
  uint32_t standalone;  // not 0: elements are entries of their own from the beginning
  // Of standalone elements:
  tidepool_device where;
  tidepool_category category;    // default: temporary
  tidepool_lifecycle lifecycle;  // default: that of the category
  uint16_t reserved;
  uint32_t reserved_too;
} tidepool_domain_options;

// What was used. Exactly one of tensors, keys and indices is not NULL.
typedef struct tidepool_access_batch {
  size_t size;
  size_t count;  // of tensors, keys or indices
  const tidepool_tensor_id* tensors;
  const uint64_t* keys;
  const void* indices;  // of int32_t, or int64_t if indices_are_wide
  tidepool_domain where;
  uint32_t indices_are_wide;
  uint32_t mode;            // TIDEPOOL_ACCESS_...
  uint64_t tick;            // the caller's clock; 0: the latest that the pool has seen
  const uint32_t* weights;  // one for each id in mode weighted, else NULL
  const uint8_t* mask;      // one for each id, or each token of a layout; 0 leaves out; or NULL
  // Indices that stand as [layers, tokens, k]; tokens 0: no layout.
  size_t layers;
  size_t tokens;
  size_t k;
  size_t token_stride;    // in indices; 0: k
  size_t layer_stride;    // in indices; 0: tokens * token_stride
  size_t extent;          // elements of one layer; 0: all from its base on
  const uint64_t* bases;  // first element of each layer; NULL: layer * extent
} tidepool_access_batch;

// ids == recorded + deferred + padding + masked + out_of_range + stale + duplicates
typedef struct tidepool_access_report {
  size_t size;
  uint64_t recorded;
  uint64_t deferred;  // another thread adds them; queries see them all the same
  uint64_t padding;
  uint64_t masked;
  uint64_t out_of_range;
  uint64_t stale;
  uint64_t duplicates;
} tidepool_access_report;

typedef struct tidepool_access_info {
  size_t size;
  tidepool_tensor_id id;     // 0: an element of a standalone domain
  tidepool_domain bound_to;  // 0: none
  uint64_t index;            // in that domain
  uint64_t count;            // UINT64_MAX: saturated
  uint64_t tick;
  double score;
  uint32_t part;  // TIDEPOOL_WHOLE_TENSOR: the tensor itself
  tidepool_device where;
  tidepool_category category;
  tidepool_lifecycle lifecycle;
  uint16_t reserved;
  uint32_t reserved_too;
} tidepool_access_info;

// Which entries a query looks at; NULL: all.
typedef struct tidepool_access_filter {
  size_t size;
  tidepool_domain within;          // 0: everywhere
  uint64_t categories[4];          // bit c % 64 of word c / 64; none: all
  uint64_t lifecycles;             // bits 1 << TIDEPOOL_LIFECYCLE_... but AUTOMATIC; none: all
  const tidepool_device* devices;  // NULL: all
  size_t device_count;
} tidepool_access_filter;

typedef struct tidepool_category_accesses {
  size_t size;
  uint64_t entries;
  uint64_t count;  // sum of their counts, at most UINT64_MAX
} tidepool_category_accesses;

// Entries by age == now - tick: [0] is age 0, [b] ages 2^(b-1) .. 2^b - 1.
typedef struct tidepool_access_ages {
  size_t size;
  uint64_t now;
  uint64_t entries[65];
} tidepool_access_ages;

// Sums over all batches since the pool was made, what was deferred included where it went.
typedef struct tidepool_access_totals {
  size_t size;
  uint64_t batches;
  uint64_t recorded;
  uint64_t padding;
  uint64_t masked;
  uint64_t out_of_range;
  uint64_t stale;
  uint64_t duplicates;
  uint64_t deferred;   // of all, how many another thread added
  uint64_t saturated;  // entries whose count stays at its end: more than that, unknown
  uint64_t rebases;    // times that a table's scores were shifted
} tidepool_access_totals;

// Told of every batch that is not empty, after it was recorded, by the thread that recorded it,
// outside all locks; so it may ask the pool, and what it records itself is told to it, too. The
// batch and what it points to are valid during the call. Must not throw.
typedef struct tidepool_access_predictor {
  size_t size;
  void (*observe)(const tidepool_access_batch* batch, void* context);  // not NULL
  void* context;
} tidepool_access_predictor;

// Gives a tensor an entry, and entries for `parts` parts; 0: the tensor only.
// Errors: stale_id, invalid_argument (another number of parts, bound), out_of_memory.
TIDEPOOL_EXPORT tidepool_status tidepool_track(tidepool_pool* pool, tidepool_tensor_id id,
                                               uint32_t parts);
// Errors: invalid_argument, unknown_device, out_of_memory, too_many.
TIDEPOOL_EXPORT tidepool_status tidepool_domain_create(tidepool_pool* pool,
                                                       const tidepool_domain_options* options,
                                                       tidepool_domain* out);
// Errors: not_found.
TIDEPOOL_EXPORT tidepool_status tidepool_domain_drop(tidepool_pool* pool, tidepool_domain which);
// Elements first, first + 1, ... stand for these tensors from now on; id 0: for none.
// Errors, nothing changed: stale_id, not_found, invalid_argument.
TIDEPOOL_EXPORT tidepool_status tidepool_bind(tidepool_pool* pool, tidepool_domain to, size_t first,
                                              const tidepool_tensor_id* ids, size_t count);
// The same for parts [first_part, first_part + count) of a tensor; count 0: all from first_part on.
TIDEPOOL_EXPORT tidepool_status tidepool_bind_parts(tidepool_pool* pool, tidepool_domain to,
                                                    size_t first, tidepool_tensor_id id,
                                                    uint32_t first_part, uint32_t count);
// Adds what was used. report may be NULL. Errors, nothing recorded: invalid_argument, not_found,
// out_of_memory. Cost: one uncontended lock and about 1 ns for each id.
TIDEPOOL_EXPORT tidepool_status tidepool_record_access(tidepool_pool* pool,
                                                       const tidepool_access_batch* batch,
                                                       tidepool_access_report* report);
// Adds at once what threads left for each other. Queries do it by themselves.
TIDEPOOL_EXPORT tidepool_status tidepool_flush_access(tidepool_pool* pool);
// One entry, by tensor and part, or by domain and index. Pre: out->size is set. Errors: not_found.
TIDEPOOL_EXPORT tidepool_status tidepool_access_of(const tidepool_pool* pool, tidepool_tensor_id id,
                                                   uint32_t part, tidepool_access_info* out);
TIDEPOOL_EXPORT tidepool_status tidepool_access_at(const tidepool_pool* pool,
                                                   tidepool_domain within, uint64_t index,
                                                   tidepool_access_info* out);
// Questions about many entries. They see every batch whose tidepool_record_access returned before.
// Cost: a look at every entry. Errors, nothing written: invalid_argument (also a filter with a bit
// of no lifecycle), out_of_memory.

// The first *count entries in an order (TIDEPOOL_ORDER_...), coldest or hottest first, written to
// out[0], out[1], ..., which lie out->size bytes apart; *count becomes their number. Pre: out->size
// is set, unless *count is 0. With room for all entries (tidepool_accesses_by_category counts them)
// these are all of them in order: what access_tracker::ranked answers in C++.
TIDEPOOL_EXPORT tidepool_status tidepool_coldest(const tidepool_pool* pool, uint32_t order,
                                                 const tidepool_access_filter* filter,
                                                 tidepool_access_info* out, size_t* count);
TIDEPOOL_EXPORT tidepool_status tidepool_hottest(const tidepool_pool* pool, uint32_t order,
                                                 const tidepool_access_filter* filter,
                                                 tidepool_access_info* out, size_t* count);
// Entries last used before `tick`: *found becomes their number (may be NULL), and the coldest of
// them by tick are written as by tidepool_coldest.
TIDEPOOL_EXPORT tidepool_status tidepool_older_than(const tidepool_pool* pool, uint64_t tick,
                                                    const tidepool_access_filter* filter,
                                                    tidepool_access_info* out, size_t* count,
                                                    size_t* found);
// out[c] becomes the sums of category c, for all c below *count; *count becomes at most 256. They
// lie out->size bytes apart. Pre: out->size is set, unless *count is 0.
TIDEPOOL_EXPORT tidepool_status tidepool_accesses_by_category(const tidepool_pool* pool,
                                                              const tidepool_access_filter* filter,
                                                              tidepool_category_accesses* out,
                                                              size_t* count);
// Pre: out->size is set.
TIDEPOOL_EXPORT tidepool_status tidepool_age_histogram(const tidepool_pool* pool,
                                                       const tidepool_access_filter* filter,
                                                       tidepool_access_ages* out);
// Cost: a look at every domain. Pre: out->size is set. Errors: invalid_argument.
TIDEPOOL_EXPORT tidepool_status tidepool_total_accesses(const tidepool_pool* pool,
                                                        tidepool_access_totals* out);
// Copies the callback; NULL detaches. Pre: no other thread records or sets a predictor meanwhile.
// Errors, the former stays: invalid_argument.
TIDEPOOL_EXPORT tidepool_status
tidepool_set_access_predictor(tidepool_pool* pool, const tidepool_access_predictor* predictor);
// Fetches the first bytes of these tensors' data into this processor's cache; a hint.
TIDEPOOL_EXPORT tidepool_status tidepool_prefetch(const tidepool_pool* pool,
                                                  const tidepool_tensor_id* ids, size_t count,
                                                  size_t bytes);

#ifdef __cplusplus
}
#endif
