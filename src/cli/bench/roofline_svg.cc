#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cli/bench/attention_report.h"
#include "cli/bench/svg.h"

namespace tessera {

namespace {

constexpr double kWidth = 860, kHeight = 520, kLeft = 80, kRight = 210, kTop = 50, kBottom = 60;

using svg::Escaped;
using svg::kColours;
using svg::Line;
using svg::LogAxis;
using svg::Text;

}  // namespace

std::string ToSvg(const AttentionReport& report) {
  std::vector<const AttentionMeasurement*> points;
  double bandwidth = 0;
  double low_x = std::numeric_limits<double>::infinity(), high_x = 0;
  double low_y = report.multiply_rate * 1e-9;
  for (const AttentionMeasurement& m : report.measurements) {
    if (!m.refusal.empty()) continue;
    points.push_back(&m);
    bandwidth = std::max(bandwidth, m.read_bytes_per_second);
    low_x = std::min(low_x, m.operations / m.kv_bytes);
    high_x = std::max(high_x, m.operations / m.kv_bytes);
    low_y = std::min(low_y, m.operations / m.seconds * 1e-9);
  }
  std::string drawing = svg::Begin(kWidth, kHeight);
  drawing += Text(kLeft, 20, report.layer);
  drawing += Text(kLeft, 35, fmt::format("{}, {} threads", report.machine, report.threads));
  if (points.empty()) return drawing + "</svg>\n";

  const double ridge = report.multiply_rate / bandwidth;
  const LogAxis x(low_x / 1.5, std::max(high_x, ridge) * 1.5, kLeft, kWidth - kRight);
  const LogAxis y(low_y / 1.5, report.multiply_rate * 1e-9 * 1.5, kHeight - kBottom, kTop + 10);
  for (double e = x.low(); e <= x.high(); ++e) {
    const double at = x(std::pow(10, e));
    drawing += Line(at, y.begin(), at, y.end(), svg::kGrid);
    drawing += Text(at, y.begin() + 18, fmt::format("{:g}", std::pow(10, e)), "middle");
  }
  for (double e = y.low(); e <= y.high(); ++e) {
    const double at = y(std::pow(10, e));
    drawing += Line(x.begin(), at, x.end(), at, svg::kGrid);
    drawing += Text(x.begin() - 8, at + 4, fmt::format("{:g}", std::pow(10, e)), "end");
  }
  drawing +=
      Text((x.begin() + x.end()) / 2, kHeight - 15, "operations per byte of cache", "middle");
  drawing += Text(8, kTop - 4, "GFLOP/s");

  const char* roof = "stroke=\"#222\" stroke-width=\"2\"";
  const double left = std::pow(10, x.low()), right = std::pow(10, x.high());
  const double peak = report.multiply_rate * 1e-9;
  const double start = std::max(left, std::pow(10, y.low()) / (bandwidth * 1e-9));
  drawing += Line(x(start), y(start * bandwidth * 1e-9), x(ridge), y(peak), roof);
  drawing += Line(x(ridge), y(peak), x(right), y(peak), roof);
  drawing +=
      Text(x.end() + 6, y(peak) + 4, fmt::format("{:.0f} GFLOP/s, {}", peak, report.multiply_kind));
  drawing += Text(x.end() + 6, y(peak) + 22, fmt::format("{:.1f} GB/s", bandwidth * 1e-9));

  std::vector<std::string> backends;
  for (const AttentionMeasurement* m : points) {
    auto known = std::find(backends.begin(), backends.end(), m->backend);
    if (known == backends.end()) known = backends.insert(backends.end(), m->backend);
    const auto index = static_cast<size_t>(known - backends.begin());
    const char* colour = kColours[index % kColours.size()];
    const double px = x(m->operations / m->kv_bytes), py = y(m->operations / m->seconds * 1e-9);
    drawing += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\" fill=\"{}\"><title>{} {}: {:.0f}% of its "
        "bound</title></circle>\n",
        px, py, colour, Escaped(m->workload), Escaped(m->backend),
        100 * m->bound_seconds / m->seconds);
    if (index == 0) drawing += Text(px + 8, py - 6, m->workload);
  }
  for (size_t i = 0; i < backends.size(); ++i) {
    const double at = y(peak) + 50 + 18 * static_cast<double>(i);
    const char* colour = kColours[i % kColours.size()];
    drawing += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\" fill=\"{}\"/>\n",
                           x.end() + 12, at - 4, colour);
    drawing += Text(x.end() + 22, at, backends[i]);
  }
  return drawing + "</svg>\n";
}

}  // namespace tessera
