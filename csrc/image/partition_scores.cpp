#include "image/partition_scores.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"

namespace unet {
namespace {

struct Overlap {
  std::int32_t truth, proposal;
  std::int64_t pixels;
};

// The pairs of objects that share pixels, by truth's object, then the proposal's.
struct Contingency {
  std::vector<Overlap> overlaps;
  int truths = 1, proposals = 1;  // objects and the border
};

std::int32_t largest_number(Plane<const std::int32_t> labels, const char* name) {
  std::int32_t largest = 0, smallest = 0;
  for (int y = 0; y < labels.h; ++y) {
    const auto [low, high] = std::minmax_element(labels.row(y), labels.row(y) + labels.w);
    smallest = std::min(smallest, *low);
    largest = std::max(largest, *high);
  }
  const std::int64_t pixels = static_cast<std::int64_t>(labels.h) * labels.w;
  if (smallest < 0 || largest > pixels) {
    fail("partition_scores",
         std::string(name) + " must hold object numbers from 0 to the number " + "of pixels");
  }
  return largest;
}

Contingency contingency(Plane<const std::int32_t> truth, Plane<const std::int32_t> proposal) {
  Contingency table;
  table.truths += largest_number(truth, "truth");
  table.proposals += largest_number(proposal, "proposal");

  // Pixels sorted by truth's object; then the proposal's objects are counted for one at a time.
  const int W = truth.w;
  std::vector<std::int64_t> start(static_cast<std::size_t>(table.truths) + 1, 0);
  for (int y = 0; y < truth.h; ++y) {
    for (int x = 0; x < W; ++x) ++start[truth.row(y)[x] + 1];
  }
  for (int i = 0; i < table.truths; ++i) start[i + 1] += start[i];
  std::vector<std::int32_t> sorted(static_cast<std::size_t>(truth.h) * W);
  std::vector<std::int64_t> next(start.begin(), start.end() - 1);
  for (int y = 0; y < truth.h; ++y) {
    for (int x = 0; x < W; ++x) sorted[next[truth.row(y)[x]]++] = proposal.row(y)[x];
  }
  std::vector<std::int64_t> pixels(table.proposals, 0);
  std::vector<std::int32_t> met;
  for (int i = 0; i < table.truths; ++i) {
    met.clear();
    for (std::int64_t k = start[i]; k < start[i + 1]; ++k) {
      if (pixels[sorted[k]]++ == 0) met.push_back(sorted[k]);
    }
    std::sort(met.begin(), met.end());
    for (const std::int32_t j : met) {
      table.overlaps.push_back({i, j, pixels[j]});
      pixels[j] = 0;
    }
  }
  return table;
}

std::int64_t pairs_of(std::int64_t pixels) { return pixels * (pixels - 1) / 2; }

PairCounts standard_pairs(const Contingency& table, std::int64_t pixels) {
  std::vector<std::int64_t> truth(table.truths, 0), proposal(table.proposals, 0);
  std::int64_t together = 0, in_truth = 0, in_proposal = 0;
  for (const Overlap& overlap : table.overlaps) {
    truth[overlap.truth] += overlap.pixels;
    proposal[overlap.proposal] += overlap.pixels;
    together += pairs_of(overlap.pixels);
  }
  for (const std::int64_t size : truth) in_truth += pairs_of(size);
  for (const std::int64_t size : proposal) in_proposal += pairs_of(size);
  const std::int64_t apart = pairs_of(pixels) - in_truth - in_proposal + together;
  return {static_cast<double>(together), static_cast<double>(apart),
          static_cast<double>(in_proposal - together), static_cast<double>(in_truth - together)};
}

double x_log_x(double x) { return x > 0 ? x * std::log(x) : 0.0; }

void restricted_scores(const Contingency& table, PartitionScores& scores) {
  double n = 0;
  for (const Overlap& overlap : table.overlaps) {
    if (overlap.truth > 0) n += static_cast<double>(overlap.pixels);
  }
  std::vector<double> a(table.truths, 0.0), b(table.proposals, 0.0);  // b[0] is s
  double squares_ab = 0, logs_ab = 0;
  for (const Overlap& overlap : table.overlaps) {
    if (overlap.truth == 0) continue;
    const double p = static_cast<double>(overlap.pixels) / n;
    a[overlap.truth] += p;
    b[overlap.proposal] += p;
    if (overlap.proposal > 0) {
      squares_ab += p * p;
      logs_ab += x_log_x(p);
    }
  }
  double squares_a = 0, squares_b = 0, logs_a = 0, logs_b = 0;
  for (int i = 1; i < table.truths; ++i) {
    squares_a += a[i] * a[i];
    logs_a += x_log_x(a[i]);
  }
  for (int j = 1; j < table.proposals; ++j) {
    squares_b += b[j] * b[j];
    logs_b += x_log_x(b[j]);
  }
  const double single_squares = b[0] / n, single_logs = b[0] * std::log(n);
  squares_ab += single_squares;
  squares_b += single_squares;
  logs_ab -= single_logs;
  logs_b -= single_logs;

  const double pairs = n * n;
  PairCounts& counts = scores.restricted;
  counts.tp = squares_ab * pairs;
  counts.fp = squares_b * pairs - counts.tp;
  counts.fn = squares_a * pairs - counts.tp;
  counts.tn = pairs - counts.tp - counts.fp - counts.fn;
  scores.entropies = {-logs_a, -logs_b, logs_b - logs_ab, logs_a - logs_ab,
                      logs_a + logs_b - 2.0 * logs_ab};
}

}  // namespace

PartitionScores partition_scores(Plane<const std::int32_t> truth,
                                 Plane<const std::int32_t> proposal) {
  if (truth.h != proposal.h || truth.w != proposal.w) {
    fail("partition_scores", "truth and proposal must have the same shape");
  }
  const Contingency table = contingency(truth, proposal);
  PartitionScores scores{};
  scores.standard = standard_pairs(table, static_cast<std::int64_t>(truth.h) * truth.w);
  restricted_scores(table, scores);
  return scores;
}

}  // namespace unet
