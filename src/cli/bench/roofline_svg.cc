#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cli/bench/attention_report.h"

namespace tessera {

namespace {

constexpr double kWidth = 860, kHeight = 520, kLeft = 80, kRight = 210, kTop = 40, kBottom = 60;
constexpr const char* kColours[] = {"#1b6ca8", "#c8553d", "#3a7d44",
                                    "#7b4fa3", "#b38600", "#555555"};

// A logarithmic axis, ends rounded to powers of ten.
struct Axis {
  double low, high;   // log10
  double begin, end;  // pixels
  Axis(double smallest, double largest, double from, double to)
      : low(std::floor(std::log10(smallest))),
        high(std::max(low + 1, std::ceil(std::log10(largest)))),
        begin(from),
        end(to) {}
  double operator()(double value) const {
    return begin + (std::log10(value) - low) / (high - low) * (end - begin);
  }
};

std::string Escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else {
      out += c;
    }
  }
  return out;
}

std::string Text(double x, double y, const std::string& text, const char* anchor = "start",
                 const char* colour = "#222") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" fill=\"{}\">{}</text>\n",
                     x, y, anchor, colour, Escaped(text));
}

std::string Line(double x1, double y1, double x2, double y2, const char* style) {
  return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>\n", x1, y1,
                     x2, y2, style);
}

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
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} "
      "{1}\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" "
      "fill=\"white\"/>\n",
      kWidth, kHeight);
  svg += Text(kLeft, 20, report.layer);
  svg += Text(kLeft, 35, fmt::format("{}, {} threads", report.machine, report.threads));
  if (points.empty()) return svg + "</svg>\n";

  const double ridge = report.multiply_rate / bandwidth;
  const Axis x(low_x / 1.5, std::max(high_x, ridge) * 1.5, kLeft, kWidth - kRight);
  const Axis y(low_y / 1.5, report.multiply_rate * 1e-9 * 1.5, kHeight - kBottom, kTop + 10);
  const char* grid = "stroke=\"#ddd\"";
  for (double e = x.low; e <= x.high; ++e) {
    const double at = x(std::pow(10, e));
    svg += Line(at, y.begin, at, y.end, grid);
    svg += Text(at, y.begin + 18, fmt::format("{:g}", std::pow(10, e)), "middle");
  }
  for (double e = y.low; e <= y.high; ++e) {
    const double at = y(std::pow(10, e));
    svg += Line(x.begin, at, x.end, at, grid);
    svg += Text(x.begin - 8, at + 4, fmt::format("{:g}", std::pow(10, e)), "end");
  }
  svg += Text((x.begin + x.end) / 2, kHeight - 15, "operations per byte of cache", "middle");
  svg += Text(8, kTop + 8, "GFLOP/s");

  const char* roof = "stroke=\"#222\" stroke-width=\"2\"";
  const double left = std::pow(10, x.low), right = std::pow(10, x.high);
  const double peak = report.multiply_rate * 1e-9;
  const double start = std::max(left, std::pow(10, y.low) / (bandwidth * 1e-9));
  svg += Line(x(start), y(start * bandwidth * 1e-9), x(ridge), y(peak), roof);
  svg += Line(x(ridge), y(peak), x(right), y(peak), roof);
  svg +=
      Text(x.end + 6, y(peak) + 4, fmt::format("{:.0f} GFLOP/s, {}", peak, report.multiply_kind));
  svg += Text(x.end + 6, y(peak) + 22, fmt::format("{:.1f} GB/s", bandwidth * 1e-9));

  std::vector<std::string> backends;
  for (const AttentionMeasurement* m : points) {
    auto known = std::find(backends.begin(), backends.end(), m->backend);
    if (known == backends.end()) known = backends.insert(backends.end(), m->backend);
    const auto index = static_cast<size_t>(known - backends.begin());
    const char* colour = kColours[index % std::size(kColours)];
    const double px = x(m->operations / m->kv_bytes), py = y(m->operations / m->seconds * 1e-9);
    svg += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\" fill=\"{}\"><title>{} {}: {:.0f}% of its "
        "bound</title></circle>\n",
        px, py, colour, Escaped(m->workload), Escaped(m->backend),
        100 * m->bound_seconds / m->seconds);
    if (index == 0) svg += Text(px + 8, py - 6, m->workload);
  }
  for (size_t i = 0; i < backends.size(); ++i) {
    const double at = y(peak) + 50 + 18 * static_cast<double>(i);
    const char* colour = kColours[i % std::size(kColours)];
    svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\" fill=\"{}\"/>\n", x.end + 12,
                       at - 4, colour);
    svg += Text(x.end + 22, at, backends[i]);
  }
  return svg + "</svg>\n";
}

}  // namespace tessera
