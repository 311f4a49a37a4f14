// SPDX-License-Identifier: Apache-2.0
//
// Random numbers that are the same on every machine, and Zipf's law by them. Not for cryptography.
// Sources: SplitMix64 (S. Vigna, public domain); rejection-inversion (W. Hoermann and G.
// Derflinger, ACM TOMACS 6(3), 1996), which takes the same time for any number of elements.
#pragma once

#include <cmath>
#include <cstdint>

namespace tidepool::bench::streams {

class generator {
 public:
  using result_type = std::uint64_t;
  explicit generator(std::uint64_t seed) noexcept : state_(seed) {}

  std::uint64_t operator()() noexcept {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  static constexpr std::uint64_t min() noexcept { return 0; }
  static constexpr std::uint64_t max() noexcept { return UINT64_MAX; }
  /// 0 .. n - 1. Pre: 1 <= n < 2^32.
  std::uint64_t below(std::uint64_t n) noexcept { return ((*this)() >> 32) * n >> 32; }
  /// [0, 1).
  double unit() noexcept { return static_cast<double>((*this)() >> 11) * 0x1p-53; }

 private:
  std::uint64_t state_;
};

/// Ranks 0 .. n - 1, rank r with a probability proportional to (r + 1)^-exponent.
class zipf {
 public:
  /// Pre: n >= 1, exponent > 0.
  zipf(std::uint64_t n, double exponent) noexcept
      : n_(static_cast<double>(n)),
        exponent_(exponent),
        first_(integral(1.5) - 1),
        last_(integral(n_ + 0.5)),
        near_(2 - inverse(integral(2.5) - std::exp(-exponent * std::log(2.0)))) {}

  std::uint64_t operator()(generator& random) const noexcept {
    for (;;) {
      const double u = last_ + random.unit() * (first_ - last_);
      const double x = inverse(u);
      const double k = std::fmin(std::fmax(std::floor(x + 0.5), 1), n_);
      if (k - x <= near_ || u >= integral(k + 0.5) - std::exp(-exponent_ * std::log(k))) {
        return static_cast<std::uint64_t>(k) - 1;
      }
    }
  }

 private:
  // Of x^-exponent, and its inverse; both continuous where the exponent is 1.
  [[nodiscard]] double integral(double x) const noexcept {
    const double log_x = std::log(x);
    const double t = (1 - exponent_) * log_x;
    return (std::fabs(t) > 1e-8 ? std::expm1(t) / t : 1 + t / 2) * log_x;
  }
  [[nodiscard]] double inverse(double u) const noexcept {
    const double t = std::fmax(u * (1 - exponent_), -1.0);
    return std::exp((std::fabs(t) > 1e-8 ? std::log1p(t) / t : 1 - t / 2) * u);
  }

  double n_;
  double exponent_;
  double first_;
  double last_;
  double near_;
};

}  // namespace tidepool::bench::streams
