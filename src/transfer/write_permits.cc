#include "transfer/write_permits.h"

#include <atomic>
#include <utility>

#include "base/check.h"
#include "base/random.h"

namespace dynamo::transfer {
namespace {

uint32_t place_of(PermitId permit) {
  return static_cast<uint32_t>(permit % WritePermits::kMostOpen);
}

std::atomic_ref<uint64_t> open_at(std::byte* table, uint32_t place) {
  return std::atomic_ref(reinterpret_cast<uint64_t*>(table)[place]);
}

std::atomic_ref<uint64_t> used_by(std::byte* table, uint32_t writer) {
  std::byte* const lines = table + WritePermits::kMostOpen * 8;
  return std::atomic_ref(*reinterpret_cast<uint64_t*>(lines + size_t{writer} * 64));
}

// The first that is taken is the lowest.
std::vector<uint32_t> all_below(size_t count) {
  std::vector<uint32_t> all;
  for (size_t one = count; one > 0; --one) all.push_back(static_cast<uint32_t>(one - 1));
  return all;
}

}  // namespace

bool PermitWriter::begin(PermitId permit) {
  if (table_ == nullptr) return true;
  if (permit == kNoPermit) return false;
  used_by(table_, number_).store(permit, std::memory_order_seq_cst);
  if (open_at(table_, place_of(permit)).load(std::memory_order_seq_cst) == permit) return true;
  end();
  return false;
}

void PermitWriter::end() {
  if (table_ != nullptr) used_by(table_, number_).store(0, std::memory_order_release);
}

WritePermits::WritePermits(SharedMemory memory)
    : memory_(std::move(memory)),
      random_(random_number()),
      open_(kMostOpen, kNoPermit),
      free_places_(all_below(kMostOpen)),
      free_writers_(all_below(kMostWriters)) {}

Result<std::unique_ptr<WritePermits>> WritePermits::create() {
  TRY(SharedMemory memory, SharedMemory::create(kMappedBytes));
  return std::unique_ptr<WritePermits>(new WritePermits(std::move(memory)));
}

PermitId WritePermits::open() {
  MutexLock lock(mutex_);
  if (free_places_.empty()) return kNoPermit;
  const uint32_t place = free_places_.back();
  free_places_.pop_back();
  PermitId permit = kNoPermit;
  while (permit < kMostOpen) permit = random_() / kMostOpen * kMostOpen + place;
  open_[place] = permit;
  open_at(memory_.data(), place).store(permit, std::memory_order_seq_cst);
  return permit;
}

void WritePermits::close(PermitId permit) {
  MutexLock lock(mutex_);
  const uint32_t place = place_of(permit);
  CHECK(std::exchange(open_[place], kNoPermit) == permit && permit != kNoPermit);
  open_at(memory_.data(), place).store(0, std::memory_order_seq_cst);
  free_places_.push_back(place);
}

bool WritePermits::is_used(PermitId permit) const {
  for (uint32_t writer = 0; writer < kMostWriters; ++writer)
    if (used_by(memory_.data(), writer).load(std::memory_order_seq_cst) == permit) return true;
  return false;
}

std::optional<uint32_t> WritePermits::add_writer() {
  MutexLock lock(mutex_);
  if (free_writers_.empty()) return std::nullopt;
  const uint32_t number = free_writers_.back();
  free_writers_.pop_back();
  return number;
}

void WritePermits::remove_writer(uint32_t number) {
  used_by(memory_.data(), number).store(0, std::memory_order_release);
  MutexLock lock(mutex_);
  free_writers_.push_back(number);
}

}  // namespace dynamo::transfer
