// Best fit by warmth. A list of free spans is short (tens), so it is searched from end to end.
#include "sat/tensor/memory/page_arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <iterator>
#include <new>

namespace sat {

namespace {

constexpr int64_t kHugePage = 2 << 20;
constexpr int64_t kAddresses = 256 << 20;  // asked for at a time, in bytes; they cost nothing before they are used

int64_t whole_huge_pages(int64_t bytes) { return (bytes + kHugePage - 1) / kHugePage * kHugePage; }

/// Addresses of `bytes` bytes, multiples of a huge page, at `wanted` if the system agrees; null if it has none.
char* map_pages(char* wanted, int64_t bytes) {
  const auto map_at = [](char* hint, int64_t size) {
    void* pages = mmap(hint, size_t(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return pages == MAP_FAILED ? nullptr : static_cast<char*>(pages);
  };
  char* pages = map_at(wanted, bytes);
  if (pages && reinterpret_cast<uintptr_t>(pages) % kHugePage != 0) {
    munmap(pages, size_t(bytes));
    pages = map_at(nullptr, bytes + kHugePage);
    if (pages) {
      const int64_t before = -reinterpret_cast<intptr_t>(pages) & (kHugePage - 1);
      if (before > 0) munmap(pages, size_t(before));
      pages += before;
      if (before < kHugePage) munmap(pages + bytes, size_t(kHugePage - before));
    }
  }
  if (pages) madvise(pages, size_t(bytes), MADV_HUGEPAGE);
  return pages;
}

}  // namespace

void* PageArena::take(int64_t bytes) {
  // Room for what give(), cool() and carve() will insert, so that they cannot fail.
  free_.reserve(free_.size() + size_t(in_use_) + 8);
  Place place = best_place(bytes);
  if (!place.at) {
    map(whole_huge_pages(bytes));
    place = best_place(bytes);
  }
  carve(place.at, bytes);
  ++in_use_;
  return place.at;
}

void PageArena::give(void* block, int64_t bytes) noexcept {
  --in_use_;
  warm_ += bytes;
  insert({static_cast<char*>(block), bytes, true});
}

/// The gap and the place in it where most warm pages are; of equals the one in the shortest gap.
PageArena::Place PageArena::best_place(int64_t bytes) const {
  Place best;
  for (size_t first = 0, last; first < free_.size(); first = last) {
    last = first + 1;
    while (last < free_.size() && free_[last].first == free_[last - 1].last()) ++last;
    char *const begin = free_[first].first, *const end = free_[last - 1].last();
    if (end - begin < bytes) continue;
    const auto consider = [&](char* at) {
      if (at < begin || end - at < bytes) return;
      int64_t warm = 0;
      for (size_t i = first; i < last; ++i) {
        const int64_t shared = std::min(at + bytes, free_[i].last()) - std::max(at, free_[i].first);
        if (free_[i].warm && shared > 0) warm += shared;
      }
      if (warm > best.warm || (warm == best.warm && end - begin < best.run)) best = {at, warm, end - begin};
    };
    for (size_t i = first; i < last; ++i) {
      consider(free_[i].first);
      consider(free_[i].last() - bytes);
    }
  }
  return best;
}

/// Addresses for one more block, and for some that follow: below the lowest gap where the system lets us, so that they
/// make one.
void PageArena::map(int64_t bytes) {
  char* const wanted = free_.empty() ? nullptr : free_.front().first - std::max(bytes, kAddresses);
  char* pages = nullptr;
  for (int64_t size : {std::max(bytes, kAddresses), bytes}) {
    pages = map_pages(wanted, size);
    if (!pages) unmap();
    if (!pages) pages = map_pages(nullptr, size);
    if (pages) return insert({pages, size, false});
  }
  throw std::bad_alloc();
}

/// Takes an interval out of the free spans.
void PageArena::carve(char* first, int64_t bytes) noexcept {
  char* const last = first + bytes;
  auto span = std::find_if(free_.begin(), free_.end(), [&](const Span& s) { return s.last() > first; });
  while (span != free_.end() && span->first < last) {
    const Span whole = *span;
    if (whole.warm) warm_ -= std::min(last, whole.last()) - std::max(first, whole.first);
    span = free_.erase(span);
    if (whole.first < first) span = std::next(free_.insert(span, {whole.first, first - whole.first, whole.warm}));
    if (whole.last() > last) span = std::next(free_.insert(span, {last, whole.last() - last, whole.warm}));
  }
}

void PageArena::insert(Span span) noexcept {
  auto after = std::find_if(free_.begin(), free_.end(), [&](const Span& s) { return s.first > span.first; });
  if (after != free_.end() && after->first == span.last() && after->warm == span.warm) {
    span.bytes += after->bytes;
    after = free_.erase(after);
  }
  if (after != free_.begin() && std::prev(after)->last() == span.first && std::prev(after)->warm == span.warm) {
    std::prev(after)->bytes += span.bytes;
  } else {
    free_.insert(after, span);
  }
}

void PageArena::cool(int64_t most) noexcept {
  while (warm_ > most) {
    const auto warmth = [](const Span& s) { return s.warm ? s.bytes : 0; };
    const Span span = *std::max_element(free_.begin(), free_.end(),
                                        [&](const Span& a, const Span& b) { return warmth(a) < warmth(b); });
    // From its end, and huge pages whole: the system would take them apart.
    const auto end = reinterpret_cast<uintptr_t>(span.last());
    const int64_t wanted = warm_ - most + int64_t((end - uintptr_t(warm_ - most)) % kHugePage);
    const int64_t bytes = std::min(span.bytes, wanted);
    char* const first = span.last() - bytes;
    madvise(first, size_t(bytes), MADV_DONTNEED);
    carve(first, bytes);
    insert({first, bytes, false});
  }
}

void PageArena::unmap() noexcept {
  for (const Span& span : free_) {
    munmap(span.first, size_t(span.bytes));
  }
  free_.clear();
  warm_ = 0;
}

}  // namespace sat
