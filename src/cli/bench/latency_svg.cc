#include "cli/bench/latency_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "cli/bench/svg.h"

namespace tessera {
namespace {

constexpr double kWidth = 860, kHeight = 460, kLeft = 60, kRight = 250, kTop = 60, kBottom = 60;
constexpr double kSmallestMs = 1e-3;

// From percent to pixel.
double Height(double percent) {
  return kHeight - kBottom - percent / 100 * (kHeight - kBottom - kTop);
}

struct Curve {
  const char* name;
  std::vector<double> milliseconds;
};

std::vector<Curve> Curves(const LoadReport& report) {
  std::vector<Curve> curves = {{"first token (TTFT)", {}},
                               {"per token (TPOT)", {}},
                               {"between tokens (ITL)", {}},
                               {"whole request", {}}};
  for (const LoadResult& result : report.results) {
    if (!result.complete) continue;
    curves[0].milliseconds.push_back(1000 * result.first_token);
    if (result.output_tokens >= 2) {
      curves[1].milliseconds.push_back(1000 * SecondsPerToken(result));
    }
    for (const double interval : result.intervals) {
      curves[2].milliseconds.push_back(1000 * interval);
    }
    curves[3].milliseconds.push_back(1000 * result.last_token);
  }
  std::erase_if(curves, [](const Curve& curve) { return curve.milliseconds.empty(); });
  for (Curve& curve : curves) {
    std::sort(curve.milliseconds.begin(), curve.milliseconds.end());
    for (double& value : curve.milliseconds) value = std::max(value, kSmallestMs);
  }
  return curves;
}

std::string Draw(const Curve& curve, const svg::LogAxis& x, const char* colour) {
  std::string points;
  for (int step = 0; step <= 400; ++step) {  // quarter percents: enough for the eye
    const double percent = step / 4.0;
    points +=
        fmt::format("{:.1f},{:.1f} ", x(Percentile(curve.milliseconds, percent)), Height(percent));
  }
  std::string drawing = fmt::format(
      "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>\n", points, colour);
  for (const int percent : {50, 90, 99}) {
    const double value = Percentile(curve.milliseconds, percent);
    drawing += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" fill=\"{}\"><title>{}: p{} {:.3g} "
        "ms</title></circle>\n",
        x(value), Height(percent), colour, curve.name, percent, value);
  }
  return drawing;
}

}  // namespace

std::string LatencySvg(const LoadReport& report, const std::string& title) {
  const Json json = ReportJson(report);
  const auto number = [&](const char* name) { return json[name].get<double>(); };
  std::string drawing = svg::Begin(kWidth, kHeight);
  drawing += svg::Text(kLeft, 20, title);
  drawing +=
      svg::Text(kLeft, 38,
                fmt::format("{} of {} requests complete in {:.1f} s: {:.2f} requests/s ({:.2f} "
                            "within the limits), {:.0f} output tokens/s",
                            number("complete"), number("requests"), number("seconds"),
                            number("requests_per_second"), number("good_requests_per_second"),
                            number("output_tokens_per_second")));
  const std::vector<Curve> curves = Curves(report);
  if (curves.empty()) return drawing + "</svg>\n";

  double smallest = curves[0].milliseconds.front(), largest = smallest;
  for (const Curve& curve : curves) {
    smallest = std::min(smallest, curve.milliseconds.front());
    largest = std::max(largest, curve.milliseconds.back());
  }
  const svg::LogAxis x(smallest, largest, kLeft, kWidth - kRight);
  for (double power = x.low(); power <= x.high(); ++power) {
    const double value = std::pow(10, power);
    drawing += svg::Line(x(value), Height(0), x(value), Height(100), svg::kGrid);
    drawing += svg::Text(x(value), Height(0) + 18, fmt::format("{:g}", value), "middle");
  }
  for (const int percent : {0, 25, 50, 75, 90, 99}) {
    drawing += svg::Line(x.begin(), Height(percent), x.end(), Height(percent), svg::kGrid);
    drawing += svg::Text(x.begin() - 8, Height(percent) + 4, fmt::format("{} %", percent), "end");
  }
  drawing += svg::Text((x.begin() + x.end()) / 2, kHeight - 20, "milliseconds", "middle");
  double legend = kTop + 20;
  for (size_t i = 0; i < curves.size(); ++i) {
    const char* colour = svg::kColours[i % svg::kColours.size()];
    drawing += Draw(curves[i], x, colour);
    drawing += svg::Line(x.end() + 16, legend - 4, x.end() + 32, legend - 4,
                         fmt::format("stroke=\"{}\" stroke-width=\"3\"", colour).c_str());
    drawing += svg::Text(x.end() + 38, legend, curves[i].name);
    drawing +=
        svg::Text(x.end() + 38, legend + 15,
                  fmt::format("p50 {:.3g}, p99 {:.3g} ms", Percentile(curves[i].milliseconds, 50),
                              Percentile(curves[i].milliseconds, 99)),
                  "start", "#666");
    legend += 40;
  }
  return drawing + "</svg>\n";
}

}  // namespace tessera
